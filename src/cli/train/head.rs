//! The first lines of a training without a dashboard, which explain the rest of the log.

use super::args::Args;
use super::outline;
use crate::config::{Config, PolicyMode, Source};
use crate::dashboard::plain::Lines;
use crate::model::DecoderConfig;
use crate::run::dir::RunDir;
use crate::run::event::dtype_words;
use crate::run::shared::SharedRun;
use crate::run::show::duration;
use crate::run::table;
use crate::text;
use crate::train::{Setup, plan};

impl Args {
    /// Returns the run's directory, config, device, dtype, data, phases, limits and policy, one fact a line, each with the time.
    pub(super) fn head(&self, setup: &Setup, dir: &RunDir, run: &SharedRun) -> String {
        let config = &setup.config;
        let known = run.with(|state| state.info.as_ref().map(|info| info.n_layer));
        let shape = shape(setup);
        let n_layer = known.or(shape.as_ref().map(|shape| shape.n_layer));
        let parameters = |layers: usize| {
            let scales = vec![1.0; layers];
            shape.as_ref().map(|s| s.with_layers(scales).parameters())
        };
        let directory = std::path::absolute(dir.path());
        let directory = directory.unwrap_or_else(|_| dir.path().into());
        let threads = table::plural(setup.threads, "thread");
        let reason = setup.dtype_reason.as_deref();
        let dtype = dtype_words(config.train.dtype.name(), reason);
        let mut facts = vec![
            ("run", dir.name()),
            ("directory", text::path(&directory)),
            ("config", self.config_words()),
            ("device", format!("{}, {threads}", setup.device_name)),
            ("dtype", dtype),
            ("data", data_words(setup)),
        ];
        let phases = outline::phases_with(config, n_layer, &parameters);
        facts.extend(phases.into_iter().map(|phase| ("phase", phase)));
        if let Some(resume) = &setup.resume {
            let from = resume.checkpoint.as_deref().unwrap_or("the start");
            facts.push(("resume", format!("from {from}")));
        }
        facts.push(("limits", limits_words(config)));
        facts.push(("policy", policy_words(setup)));
        if !setup.repeat.is_empty() {
            let count = table::plural(setup.repeat.len(), "decision");
            facts.push((
                "decisions",
                format!("{count} of another run, replayed at the same steps"),
            ));
        }
        facts.push(("commands", commands_words(dir)));
        let lines = Lines::local(dir);
        let line = |(name, fact)| lines.now(&format!("{name:<10} {fact}")) + "\n";
        facts.into_iter().map(line).collect()
    }

    /// Names the config's file or preset, and lists the command line's overrides.
    fn config_words(&self) -> String {
        let mut words = match (&self.config, &self.resume, &self.decisions) {
            (Some(word), ..) => match Source::named(word) {
                Ok(Source::Text { name, .. }) => format!("preset {name}"),
                _ => word.clone(),
            },
            (None, Some(_), _) => "the run's own config.toml".into(),
            (None, None, Some(run)) => format!("config of run {run}"),
            (None, None, None) => String::new(),
        };
        for set in self.overrides() {
            words.push_str(&format!(" --set {set}"));
        }
        words
    }
}

/// Returns the reference's shape, if it is known before a model is built.
fn shape(setup: &Setup) -> Option<DecoderConfig> {
    let tokenizer = &setup.dataset.tokenizer;
    match &setup.reference {
        // A reference that cannot be read is reported when the model is built.
        Some(path) => Some(plan::open_reference(path, tokenizer).ok()?.config),
        None => Some(plan::reference_shape(&setup.config, tokenizer)),
    }
}

fn data_words(setup: &Setup) -> String {
    let data = &setup.dataset;
    format!(
        "{} training tokens, {} for validation, tokenizer {}, {} tokens a step",
        table::count(data.train.len() as u64),
        table::count(data.val.len() as u64),
        data.tokenizer.name(),
        setup.config.train.batch_tokens
    )
}

fn limits_words(config: &Config) -> String {
    let p = &config.policy;
    let mut limits = Vec::new();
    if p.max_tokens > 0 {
        limits.push(format!("policy.max_tokens {}", table::count(p.max_tokens)));
    }
    if p.max_hours > 0.0 {
        let time = duration(3600.0 * p.max_hours);
        limits.push(format!("policy.max_hours {} ({time})", p.max_hours));
    }
    match limits.is_empty() {
        true => "none (policy.max_tokens, policy.max_hours)".into(),
        false => limits.join(", "),
    }
}

/// Describes who decides, and what happens if a decision is not answered.
fn policy_words(setup: &Setup) -> String {
    let p = &setup.config.policy;
    let left = format!(
        "after {} min without anyone attached, a checkpoint and exit code 75",
        p.unattended_minutes
    );
    match setup.policy {
        PolicyMode::Auto => {
            "auto: grows while the model is worse than the reference, without questions".into()
        }
        PolicyMode::Pause => {
            format!("pause: at a round's end the run pauses until it is answered; {left}")
        }
        PolicyMode::Ask => {
            let most = match p.max_overrun_steps {
                0 => setup.config.train.steps,
                n => n,
            };
            format!(
                "ask: at a round's end training continues until it is answered, and pauses {most} steps over budget; then {left}"
            )
        }
    }
}

fn commands_words(dir: &RunDir) -> String {
    let run = dir.argument();
    format!("heirloom ctl {run} status, heirloom attach {run}, heirloom watch {run}")
}
