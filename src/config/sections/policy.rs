//! `[policy]`, `[control]` and `[checkpoint]`: who decides, what is compared, and what is kept.

use crate::config::declare::section;
use crate::config::key::OnResume::{Free, FreeUntil, OffAfter, Refused};
use crate::config::key::Section;
use crate::config::key::Stage::{Controls, LastControl};
use crate::config::rules::{MOST_KEPT, count, from};
use crate::config::values::PolicyMode;

const ONLY: &str = "the run trains another model without it";

section! {
    /// Who decides, and the limits of every policy.
    "policy" PolicyConfig: Default {
        /// `ask`: train on until answered; `pause`: wait; `auto`: grow while worse than the reference.
        mode: Option<PolicyMode> = absent("`ask` at a terminal, `auto` without one"), FreeUntil(Controls);

        /// Under `auto`: end a round early once three evaluations in a row past 30 % of it expect no match at its end
        /// (as `heirloom forecast` computes it).
        forecast: bool = default(false), FreeUntil(Controls);

        /// Under `ask`: steps past the round's end before the run pauses. 0: the number of steps of the round. A run
        /// that is resumed there (`p`, `ctl resume`) trains on for the same number of steps again, also after a
        /// rollback.
        max_overrun_steps: u64 = default(0), FreeUntil(Controls);

        /// Tokens over all phases; then the recipe ends. 0: no limit.
        max_tokens: u64 = default(0), FreeUntil(Controls);

        /// Hours of run time; then the recipe ends. 0: no limit.
        max_hours: f64 = default(0.0), FreeUntil(Controls), check from(0.0);

        /// Train this baseline alone, as large as the first round would be, without rounds and controls: what `--baseline NAME`
        /// sets.
        only_baseline: Option<String> = absent("the rounds, then the controls and baselines"), Refused(ONLY);

        /// Minutes that a question waits while no dashboard is there; then a checkpoint is written and the process ends
        /// with 75.
        unattended_minutes: f64 = default(10.0), Free, check from(0.0);
    }
}

section! {
    /// Comparisons at the end.
    "control" ControlConfig: Default {
        /// Train a random start of the final size for the same steps.
        random: bool = default(true), OffAfter(Controls);

        /// Continue the reference for the same extra steps.
        reference_continued: bool = default(true), OffAfter(LastControl);
    }
}

section! {
    /// Checkpoints on disk.
    "checkpoint" CheckpointConfig: Default {
        /// Steps between checkpoints; 0: only at phase ends, growths and exit.
        every: u64 = default(500), Free;

        /// Number of the newest checkpoints that are kept in addition to the milestones.
        keep: usize = default(2), Free, check count(1, MOST_KEPT);
    }
}

/// `[policy]` as documents list it, with the limit of a question before that of the hours; `config.toml` has the order
/// of the struct.
pub const POLICY: Section = {
    let keys = PolicyConfig::SECTION.keys;
    assert!(keys.len() == 7);
    Section {
        keys: &[
            keys[0], keys[1], keys[2], keys[3], keys[6], keys[4], keys[5],
        ],
        ..PolicyConfig::SECTION
    }
};
