//! The arguments of `heirloom train`.

use super::scale::Asked;
use crate::cli::Global;
use crate::cli::values::{above_zero, exact_text};
use crate::device::Choice;

/// Train a reference and the recipe on it, live in a dashboard
///
/// Without a terminal, or with --plain, events are printed as plain lines, each with date, time and step; the first
/// lines describe what will be trained, and a decision lists the commands that answer it. At a terminal, plain lines offer
/// numbered choices, and commands can be typed at any time: ? lists them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = NOTIFY_HELP)]
pub struct Args {
    /// A preset (tiny, books) or a path to a TOML config
    #[arg(conflicts_with = "resume", value_parser = exact_text())]
    pub(super) config: Option<String>,
    /// Continue an interrupted run from its latest checkpoint or a named one
    #[arg(long, value_name = "RUN[@CHECKPOINT]", value_parser = exact_text())]
    pub(super) resume: Option<String>,
    #[command(flatten)]
    pub(super) global: Global,
    /// The run's name [default: the preset's, with date and time]
    #[arg(long, conflicts_with = "resume")]
    pub(super) name: Option<String>,
    /// Override a key of the config, e.g. train.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = exact_text())]
    pub(super) overrides: Vec<String>,
    /// Train this [[baseline]] of the config alone, as large as the first round would be, without rounds and controls
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub(super) baseline: Option<String>,
    /// Where to compute: auto, cpu, cuda, or cuda:N for the GPU of that number [default: auto, or the resumed run's]
    #[arg(long)]
    pub(super) device: Option<Choice>,
    /// Train on the first N GPUs of this machine together, by a process for each
    #[arg(long, value_name = "N")]
    pub(super) gpus: Option<usize>,
    /// Compute threads [default: one per core, or the resumed run's]
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// Print parameters, memory, tokens, disk and estimated time per phase, and train nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// With --dry-run: what so many ranks would cost: memory of each, volume of a step, expected efficiency
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) ranks: Option<u32>,
    /// With --ranks: Gbit/s in each direction of the slowest link between ranks [default: several usual ones]
    #[arg(long, value_name = "GBIT", requires = "ranks", value_parser = above_zero())]
    pub(super) link: Option<f64>,
    /// Replay the operator's decisions of another run at the same steps; without a config, use that run's
    #[arg(long, value_name = "RUN", conflicts_with = "resume", value_parser = exact_text())]
    pub(super) decisions: Option<String>,
    /// Run in the background; the command returns once training has started
    #[arg(short, long, conflicts_with_all = ["dry_run", "json"])]
    pub(super) detach: bool,
    /// Print JSON, without a dashboard: the journal's events, or the plan of --dry-run
    #[arg(long)]
    pub(super) json: bool,
    /// Processes of the run on this one's cores, itself included.
    #[arg(skip = 1_usize)]
    pub(super) sharing: usize,
}

/// The variables that `notify.command` is run with.
const NOTIFY_HELP: &str = "\
Environment of the program that notify.command of the config names:
  HEIRLOOM_RUN    absolute path of the run's directory
  HEIRLOOM_EVENT  decision, nan, stall, best or done
  HEIRLOOM_STEP   step over all phases
  HEIRLOOM_TEXT   what has happened, in a sentence";

/// The form in which a run's events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Dashboard,
    Lines,
    /// Lines, and commands read from the terminal.
    Prompts,
    Json,
    /// Nothing is shown: the run's log has the lines.
    Nothing,
}

impl Args {
    /// Returns the overrides of the config, including those of other flags.
    pub(super) fn overrides(&self) -> Vec<String> {
        let only = self.baseline.iter();
        let only = only.map(|name| format!("policy.only_baseline={name:?}"));
        self.overrides.iter().cloned().chain(only).collect()
    }

    /// Returns the form of a dry run's plan, and the number of processes to plan for.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            json: self.json,
            ranks: self.ranks.map(|ranks| (ranks as usize, self.link)),
        }
    }

    /// Returns the options that every command has.
    #[cfg(test)]
    pub(in crate::cli) fn global(&self) -> &Global {
        &self.global
    }
}
