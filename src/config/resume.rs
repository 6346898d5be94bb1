//! Decides what `train --resume` may change: compares the config of a run with the one it should continue with, by the
//! rules of the [table of keys](super::keys).
//!
//! Values are compared and stored as TOML text, so that checkpoints of any version can hold them.

use std::collections::BTreeMap;

use super::Config;
use super::keys::{self, Key, Need, OnResume, Stage};
use crate::text;

/// The TOML text of every key that a config gives, by the key's path.
pub type Values = BTreeMap<String, String>;

/// A value that differs from the run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: &'static Key,
    /// `None`: absent.
    pub old: Option<String>,
    pub new: Option<String>,
}

/// The source of a value that a resume should take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// `--set`.
    Set,
    /// The run's `config.toml`, which was edited.
    File,
}

/// Returns the values of a config.
pub fn values(config: &Config) -> Values {
    let mut config = config.clone();
    let spelled = std::mem::take(&mut config.spelled);
    for path in super::paths(&mut config) {
        // A checkpoint stores the variable and not its value; changed content is detected by its fingerprint.
        if let Some(written) = spelled.get(path) {
            path.clone_from(written);
        }
    }
    // TOML's integers end there; `check` refuses larger seeds.
    config.train.seed = config.train.seed.min(i64::MAX as u64);
    // A checked config can always be written.
    let root = toml::Value::try_from(&config).unwrap_or(toml::Value::Boolean(false));
    let text = |key: &Key| Some((key.path.into(), at(&root, key.path)?.to_string()));
    keys::KEYS.iter().filter_map(text).collect()
}

fn at<'a>(root: &'a toml::Value, path: &str) -> Option<&'a toml::Value> {
    path.split('.')
        .try_fold(root, |value, name| value.get(name))
}

fn parse(text: &str) -> Option<toml::Value> {
    let mut table = toml::from_str::<toml::Table>(&format!("x = {text}")).ok()?;
    table.remove("x")
}

/// Returns what differs between two sets of values. A key that the old set lacks had the default of the
/// programs that did not know it.
pub fn changes(old: &Values, new: &Values) -> Vec<Change> {
    let change = |key: &'static Key| {
        let mut former = keys::FORMER_DEFAULTS.iter();
        let former = former.find(|(path, _)| *path == key.path);
        let default = match (former, key.need) {
            (Some((_, value)), _) => Some((*value).to_string()),
            (None, Need::Default(value)) => Some(value()),
            (None, _) => None,
        };
        let had = old.get(key.path).cloned().or(default);
        let has = new.get(key.path).cloned();
        (had != has).then_some(Change {
            key,
            old: had,
            new: has,
        })
    };
    keys::KEYS.iter().filter_map(change).collect()
}

/// Returns `wanted` with the values of `phase` for the keys that change only with a new phase.
///
/// `phase` is empty where no phase has begun.
pub fn in_force(wanted: &Config, phase: &Values) -> Config {
    if phase.is_empty() {
        return wanted.clone();
    }
    let waiting = changes(phase, &values(wanted));
    let mut root = match toml::Table::try_from(wanted) {
        Ok(root) => root,
        Err(_) => return wanted.clone(),
    };
    for change in waiting {
        if let (OnResume::NewPhase(_), Some(old)) = (change.key.on_resume, change.old)
            && let Some(value) = parse(&old)
        {
            let (section, name) = change.key.parts();
            if let Some(table) = root.get_mut(section).and_then(toml::Value::as_table_mut) {
                table.insert(name.into(), value);
            }
        }
    }
    let in_force: Config = match root.try_into() {
        Ok(config) => config,
        Err(_) => return wanted.clone(),
    };
    Config {
        spelled: wanted.spelled.clone(),
        ..in_force
    }
}

impl Change {
    /// Describes an accepted change: `train.lr = 0.001 takes effect with the next step (was 0.01)`. `new` are the
    /// values of the resume.
    pub fn describe(&self, stage: Stage, new: &Values) -> String {
        let (old, value) = (shown(self.old.as_deref()), shown(self.new.as_deref()));
        let given = format!("{} = {value}", self.key.path);
        match self.key.on_resume {
            OnResume::NewPhase(_) => {
                format!(
                    "{given} takes effect with the next round; the present one keeps {old}, and so do \
                     controls that follow it"
                )
            }
            OnResume::SameContent => format!("{given} is read from now on (was {old})"),
            _ => match self.waits_for_round(stage, new) {
                Some(why) => format!("{given} takes effect in round 1{why} (was {old})"),
                None => format!("{given} takes effect with the next step (was {old})"),
            },
        }
    }

    /// Whether the value is one of the rounds that the reference does not use; with the key that the reference uses.
    fn waits_for_round(&self, stage: Stage, new: &Values) -> Option<String> {
        let (section, name) = self.key.parts();
        if section != "train" || stage >= Stage::Rounds {
            return None;
        }
        if stage == Stage::Measured {
            return Some(String::new());
        }
        let own = format!("reference.train.{name}");
        // A reference with its own peak has its own lowest rate.
        let peak = "reference.train.lr".to_string();
        let own = match name {
            "min_lr" if !new.contains_key(&own) => peak,
            _ => own,
        };
        new.contains_key(&own)
            .then(|| format!("; the reference follows {own}"))
    }

    /// Returns why the change is refused at this stage, if it is.
    fn refusal(&self, stage: Stage) -> Option<String> {
        match self.key.on_resume {
            OnResume::Free | OnResume::SameContent => None,
            OnResume::Refused(why) => Some(why.into()),
            OnResume::OffAfter(_) if self.new.as_deref() == Some("false") => None,
            OnResume::FreeUntil(end) | OnResume::OffAfter(end) | OnResume::NewPhase(end) => {
                (stage >= end).then(|| format!("{end}, and nothing that follows would use it"))
            }
        }
    }
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "absent".into(), |v| text::clean(v).into_owned())
}

/// Checks the changes of a resume. `given` returns where a key's new value comes from; `run` names the run in commands.
///
/// # Errors
/// The refusals, each with the key, both values, the reason, and what to do.
pub fn judge(
    changes: &[Change],
    stage: Stage,
    run: &str,
    given: impl Fn(&Key) -> Given,
) -> Result<(), super::ConfigError> {
    let mut problems = Vec::new();
    for change in changes {
        let Some(why) = change.refusal(stage) else {
            continue;
        };
        let path = change.key.path;
        let (old, new) = (shown(change.old.as_deref()), shown(change.new.as_deref()));
        let (place, remedy) = match given(change.key) {
            Given::Set => ("--set", format!("leave --set {path} out")),
            Given::File => (
                "config.toml",
                match change.old {
                    Some(_) => format!("put {path} = {old} back into the run's config.toml"),
                    None => format!("take {path} out of the run's config.toml"),
                },
            ),
        };
        let problem = format!(
            "{path} cannot change on a resume: it is {old} in this run, {place} makes it {new}, and {why}; \
             {remedy} to continue run {run}, or start a new run for another value"
        );
        problems.push(text::clean(&problem).into_owned());
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(super::ConfigError { problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "data.train = 'a.txt'\nreference.train = { steps = 10, lr = 0.5 }\n\
        [train]\nsteps = 20\nbatch_tokens = 128\nlr = 0.01\n";

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn changed(from: &str, to: &str) -> Vec<Change> {
        let new = BEFORE.replace(from, to);
        assert_ne!(new, BEFORE);
        changes(&values(&config(BEFORE)), &values(&config(&new)))
    }

    #[test]
    fn a_change_names_the_key_and_both_values() {
        assert_eq!(
            changes(&values(&config(BEFORE)), &values(&config(BEFORE))),
            []
        );
        let all = changed("lr = 0.01\n", "lr = 0.002\n[grow]\nstep = 1\n");
        let told: Vec<_> = all
            .iter()
            .map(|c| (c.key.path, c.old.as_deref(), c.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("train.lr", Some("0.01"), Some("0.002")),
                ("grow.step", Some("2"), Some("1"))
            ]
        );
        let gone = changed(", lr = 0.5 }", " }");
        assert_eq!(
            (gone[0].key.path, gone[0].new.as_ref()),
            ("reference.train.lr", None)
        );
        // A checkpoint of a program that did not know the key.
        let mut old = values(&config(BEFORE));
        old.remove("probe.tau");
        assert_eq!(changes(&old, &values(&config(BEFORE))), []);
        // Products were computed in f32 then, whatever the default is now.
        old.remove("train.dtype");
        let in_f32 = config(&format!("{BEFORE}dtype = 'f32'\n"));
        assert_eq!(changes(&old, &values(&in_f32)), []);
        let in_bf16 = config(&format!("{BEFORE}dtype = 'bf16'\n"));
        let told = &changes(&old, &values(&in_bf16))[0];
        assert_eq!(
            (told.key.path, told.old.as_deref()),
            ("train.dtype", Some("\"f32\""))
        );
    }

    #[test]
    fn a_phase_keeps_its_values_until_the_next_one() {
        let before = values(&config(BEFORE));
        let wanted = config(
            &BEFORE
                .replace("128", "256")
                .replace("lr = 0.01", "lr = 0.02"),
        );
        let now = in_force(&wanted, &before);
        assert_eq!((now.train.batch_tokens, now.train.lr), (128, 0.02));
        assert_eq!(in_force(&wanted, &values(&wanted)), wanted);
    }

    #[test]
    fn rules_depend_on_how_far_the_run_has_come() {
        let given = |_: &Key| Given::Set;
        let lr = changed("lr = 0.5", "lr = 0.05");
        judge(&lr, Stage::Reference, "r", given).unwrap();
        let refused = judge(&lr, Stage::Measured, "r", given)
            .unwrap_err()
            .to_string();
        for word in [
            "reference.train.lr",
            "it is 0.5",
            "makes it 0.05",
            "measured",
            "leave --set",
        ] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        let off = changed("lr = 0.01\n", "lr = 0.01\n[control]\nrandom = false\n");
        judge(&off, Stage::LastControl, "r", given).unwrap();
        let file = judge(
            &changed("lr = 0.01\n", "lr = 0.01\nseed = 1\n"),
            Stage::Reference,
            "r",
            |_| Given::File,
        );
        let file = file.unwrap_err().to_string();
        assert!(file.contains("put train.seed = 0 back"), "{file}");
    }

    #[test]
    fn when_a_change_takes_effect_is_said() {
        let say = |from: &str, to: &str, stage| {
            let new = values(&config(&BEFORE.replace(from, to)));
            changed(from, to)[0].describe(stage, &new)
        };
        assert_eq!(
            say("lr = 0.01", "lr = 0.02", Stage::Rounds),
            "train.lr = 0.02 takes effect with the next step (was 0.01)"
        );
        assert_eq!(
            say("lr = 0.01", "lr = 0.02", Stage::Reference),
            "train.lr = 0.02 takes effect in round 1; the reference follows reference.train.lr (was 0.01)"
        );
        assert!(say("128", "256", Stage::Rounds).contains("takes effect with the next round"));
    }

    /// Each rule is explained on the page.
    #[test]
    fn every_key_has_a_rule_that_the_page_explains() {
        let page = crate::config::keys_markdown();
        for key in keys::KEYS {
            let rule = key.on_resume.to_string();
            let row = format!("| `{}` |", key.parts().1);
            assert!(
                page.lines()
                    .any(|l| l.starts_with(&row) && l.contains(&format!(" | {rule} | "))),
                "{}: {rule}",
                key.path
            );
        }
    }
}
