//! `heirloom selftest`: whether a GPU computes what the CPU computes.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{exit, say};
use crate::device::Choice;
use crate::selftest::SelfTest;

/// Check a GPU against the CPU: every op, whole models, a miniature recipe
#[derive(Debug, clap::Args)]
pub struct Args {
    /// cuda, or cuda:N for the GPU of that number
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: Choice,
    /// What inputs are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tell only of what failed
    #[arg(long)]
    quiet: bool,
}

/// The recipe of the last check.
const RECIPE: &str = include_str!("../selftest/recipe.toml");

impl Args {
    /// Returns 1 when a check failed.
    ///
    /// # Errors
    /// When there is no such GPU.
    pub fn run(self) -> Result<i32> {
        if self.device == Choice::Cpu {
            return Err(exit::usage("the CPU is what GPUs are checked against").into());
        }
        let chosen = self.device.open();
        let chosen = chosen.with_context(|| format!("--device {}", self.device))?;
        if !chosen.device.is_cuda() {
            bail!(
                "{}",
                chosen
                    .note
                    .unwrap_or_else(|| "there is no GPU to check".into())
            );
        }
        let begin = Instant::now();
        let quiet = self.quiet;
        let mut told = |good: bool, name: &str, found: &str| match (good, quiet) {
            (true, true) => {}
            (true, false) => {
                let _ = say::out(&format!("ok      {name}: {found}\n"));
            }
            (false, _) => {
                let _ = say::out(&format!("FAILED  {name}: {found}\n"));
            }
        };
        let mut test = SelfTest::new(&chosen.device, self.seed, &mut told);
        test.all();
        test.note("a miniature recipe", self.recipe());
        let (passed, failed) = test.counts();
        say::out(&format!(
            "{passed} passed, {failed} failed in {:.0} s\n",
            begin.elapsed().as_secs_f64()
        ))?;
        Ok(if failed == 0 { exit::OK } else { exit::FAILED })
    }

    /// The whole program on a miniature recipe: reference, inheritance, growth, table.
    fn recipe(&self) -> Result<String> {
        let place = std::env::temp_dir().join(format!("heirloom-selftest-{}", std::process::id()));
        let done = self.recipe_in(&place);
        let _ = std::fs::remove_dir_all(&place);
        done
    }

    fn recipe_in(&self, place: &std::path::Path) -> Result<String> {
        std::fs::create_dir_all(place)?;
        let config = place.join("recipe.toml");
        std::fs::write(&config, RECIPE)?;
        let device = match self.device {
            Choice::Auto => "cuda".into(),
            other => other.to_string(),
        };
        let losses = |name: &str| -> Result<Vec<String>> {
            let out = Command::new(std::env::current_exe()?)
                .args(["train", "--device", &device, "--name", name, "--runs"])
                .arg(place.join("runs"))
                .arg(&config)
                .output()?;
            if !out.status.success() {
                let said = String::from_utf8_lossy(&out.stderr);
                bail!("{}: {}", out.status, said.trim());
            }
            let journal =
                std::fs::read_to_string(place.join("runs").join(name).join("events.jsonl"))?;
            let events = journal
                .lines()
                .map(serde_json::from_str::<serde_json::Value>);
            let evals = events.filter_map(|e| e.ok().filter(|e| e["kind"] == "eval"));
            Ok(evals.map(|e| e["val_loss"].to_string()).collect())
        };
        let (first, second) = (losses("first")?, losses("second")?);
        if first != second {
            bail!("validation losses are others when it is run again: {first:?}, {second:?}");
        }
        let (Some(begin), Some(end)) = (first.first(), first.last()) else {
            bail!("no evaluation was made");
        };
        Ok(format!(
            "{} evaluations, {begin} to {end}, twice the same",
            first.len()
        ))
    }
}
