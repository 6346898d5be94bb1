//! Checks of `[[baseline]]`: each entry alone, and together with the rest of the config.

use toml_edit::{InlineTable, Value};

use super::places::Places;
use super::sections::{BASELINE, Config};
use super::types::plain;
use super::values::{BaselineConfig, BaselineStart, LayerChoice};
use crate::run::controls::{CONTROLS, Control};

/// Most baselines of a run.
const MOST_BASELINES: usize = 32;

/// Returns the name of a teacher in an entry that is being read; `None` for the reference.
pub(super) fn teacher_mut(entry: &mut InlineTable) -> Option<&mut Value> {
    let objective = entry.get_mut("objective")?.as_inline_table_mut()?;
    let distill = objective.get_mut("distill")?.as_inline_table_mut()?;
    let teacher = distill.get_mut("teacher")?;
    (teacher.as_str() != Some("reference")).then_some(teacher)
}

/// Records problems of single entries.
pub(super) fn check_types(value: &Value, places: &mut Places) {
    let entries: Vec<&Value> = match value.as_array() {
        Some(list) => list.iter().collect(),
        None => {
            return places.bad(BASELINE, "baseline must be a list of sections [[baseline]]");
        }
    };
    if entries.len() > MOST_BASELINES {
        let n = entries.len();
        places.bad(
            BASELINE,
            format!("a run has at most {MOST_BASELINES} baselines, the config has {n}"),
        );
        return;
    }
    let mut wrong = false;
    for (i, entry) in entries.into_iter().enumerate() {
        let read = plain(entry).map(|entry| BaselineConfig::read(&entry));
        let Some(Err(problems)) = read else { continue };
        wrong = true;
        for (key, problem) in problems {
            let (key, entry) = (format!("{BASELINE}.{i}.{key}"), format!("{BASELINE}.{i}"));
            places.problem(&[&key, &entry, BASELINE], problem);
        }
    }
    if wrong {
        places.bad.insert(BASELINE.into());
    }
}

/// Records conflicts with the rest of the config. Checks that need a loaded reference are made once its shape is known.
pub(super) fn check(config: &Config, places: &mut Places) {
    let mut report = |i: usize, key: &str, message: String| {
        let (key, entry) = (format!("{BASELINE}.{i}.{key}"), format!("{BASELINE}.{i}"));
        places.problem(&[&key, &entry, BASELINE], message);
    };
    for (i, baseline) in config.baseline.iter().enumerate() {
        let name = &baseline.name;
        if config.baseline[..i].iter().any(|b| b.name == *name) {
            report(
                i,
                "name",
                format!("two baselines are named {name:?}; each needs a name of its own"),
            );
        }
        let is_taken = |c: &Control| [c.short, c.result, c.id].contains(&name.as_str());
        if name == "reference" || CONTROLS.iter().any(is_taken) {
            report(
                i,
                "name",
                format!("{name:?} is reserved for a model that every run has; choose another name"),
            );
        }
        if let BaselineStart::Layers {
            layers: Some(layers),
            ..
        } = &baseline.start
            && config.reference.train.is_some()
        {
            let all = config.model.n_layer;
            let beyond = match layers {
                LayerChoice::Auto => None,
                choice => choice.of(all).into_iter().find(|&layer| layer >= all),
            };
            if let Some(layer) = beyond {
                report(
                    i,
                    "start",
                    format!(
                        "baseline {name:?}: no layer {layer} in a reference of {all} (they count from 0)"
                    ),
                );
            }
        }
    }
    if let Some(only) = &config.policy.only_baseline
        && !places.bad.contains(BASELINE)
        && !config.baseline.iter().any(|b| b.name == *only)
    {
        let names: Vec<&str> = config.baseline.iter().map(|b| b.name.as_str()).collect();
        let known = match names.as_slice() {
            [] => "the config has no [[baseline]]".to_string(),
            names => format!("baselines are {}", names.join(", ")),
        };
        let hint = super::keys::best(only, names.into_iter(), 0.6)
            .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        places.problem(
            &["policy.only_baseline"],
            format!("policy.only_baseline: no baseline is named {only:?}; {known}{hint}"),
        );
    }
}
