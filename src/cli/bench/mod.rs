//! `heirloom bench`: measures the speed of this machine.

mod ranks;
mod train;

use anyhow::Result;
use clap::Subcommand;

/// Measure this machine
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Train),
    Ranks(ranks::Ranks),
}

impl Args {
    /// # Errors
    /// When what is asked for does not fit itself, the memory or the model.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(train) => train.run(),
            Command::Ranks(ranks) => ranks.run(),
        }
    }
}
