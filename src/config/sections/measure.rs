//! `[eval]` and `[probe]`: what is measured.

use crate::config::declare::section;
use crate::config::key::OnResume::{Free, FreeUntil};
use crate::config::key::Stage::Measured;
use crate::config::rules::{
    MOST_WINDOWS, at_least, count, given, path, positive_share, samples, share, tasks,
};

section! {
    /// The fixed, evenly strided pass over the validation text.
    "eval" EvalConfig: Default {
        /// Steps between evaluations; 0: a twentieth of the phase's steps, so that eight have been made by 40 % of it,
        /// as forecasts need.
        every: u64 = default(100), Free;

        /// Validation windows; the same for every model. A text with room for fewer disjoint windows is evaluated on
        /// those.
        windows: usize = default(256), FreeUntil(Measured), check count(2, MOST_WINDOWS);

        /// Downstream tasks that the models are evaluated on while the run waits, by their names: at phase
        /// ends and every `tasks_every` steps. Their files are looked for in `data`.
        tasks: Option<Vec<String>> = absent("none"), Free, check given(tasks);

        /// Steps between evaluations on the tasks; phase ends are evaluated in any case. 0: at phase ends alone.
        tasks_every: Option<u64> = absent("0"), Free;

        /// Documents of each task, the first of its file; 0: all.
        limit: Option<u64> = absent("0"), Free;

        /// Directory with the tasks' files, in which each task looks for the names its data set is published under. A
        /// relative path is relative to the config file.
        data: Option<String> = absent("the variable `HEIRLOOM_DATA` of the environment"), Free, check given(path);

        /// Texts that each model continues at its phase's end, greedily and with one fixed seed.
        samples: Option<Vec<String>> = absent("none"), Free, check given(samples);
    }
}

section! {
    /// Attention ranks.
    "probe" ProbeConfig: Default {
        /// Share of training time; phase starts and ends are exempt. 0: only those.
        budget: f64 = default(0.01), Free, check share;

        /// Validation windows per probe.
        windows: usize = default(100), FreeUntil(Measured), check count(1, MOST_WINDOWS);

        /// Tokens per window; at most a training window's.
        length: usize = default(100), FreeUntil(Measured), check at_least(2);

        /// Share of the squared singular values that counts. Column mass always uses 0.9.
        tau: f64 = default(0.9), FreeUntil(Measured), check positive_share;
    }
}

/// Evaluations of a phase where [`EvalConfig::every`] is 0.
const EVALUATIONS: u64 = 20;

impl EvalConfig {
    /// The names of the tasks that are evaluated at phase ends.
    pub fn tasks(&self) -> &[String] {
        self.tasks.as_deref().unwrap_or_default()
    }

    /// Most documents of each task; `None`: all.
    pub fn limit(&self) -> Option<u64> {
        self.limit.filter(|&n| n > 0)
    }

    /// The texts that are continued at phase ends.
    pub fn samples(&self) -> &[String] {
        self.samples.as_deref().unwrap_or_default()
    }

    /// Whether the tasks are due after step `step` of a phase that has more of them.
    pub fn tasks_due(&self, step: u64) -> bool {
        let every = self.tasks_every.unwrap_or(0);
        every > 0 && step.is_multiple_of(every) && !self.tasks().is_empty()
    }

    /// Steps between the evaluations of a phase of `steps`.
    pub fn interval(&self, steps: u64) -> u64 {
        match self.every {
            0 => (steps / EVALUATIONS).max(1),
            every => every,
        }
    }
}
