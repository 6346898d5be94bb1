//! `heirloom selftest`: checks the results of a CPU or a GPU.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{exit, say};
use crate::device::Choice;
use crate::file::{self, Dir};
use crate::ops::{self, Precision};
use crate::selftest::SelfTest;

/// Check a CPU or a GPU against candle in f64
///
/// Every operation, whole models, and a miniature recipe.
///
/// On a CPU, every unit for products in bf16 that it has is checked in turn; HEIRLOOM_UNIT names one. A GPU is also
/// compared with the CPU.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// auto (the first GPU, else the CPU), cpu, cuda, or cuda:N for the GPU of that number
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// Seed of the inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Check one precision of products, and no recipe
    #[arg(long, value_enum, value_name = "DTYPE")]
    only: Option<Only>,
    /// Print failures and the counts only
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    F32,
    Bf16,
}

/// The recipe of the last check.
const RECIPE: &str = include_str!("../selftest/recipe.toml");

/// Beginnings of the lines of checks.
const PASSED: &str = "ok      ";
const FAILED: &str = "FAILED  ";

impl Args {
    /// Returns 1 when a check failed.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn run(self) -> Result<i32> {
        let chosen = self.device.open();
        let chosen = chosen.with_context(|| format!("--device {}", self.device))?;
        if let Some(note) = &chosen.note {
            say::err(note);
        }
        let begin = Instant::now();
        let on_gpu = chosen.device.is_cuda();
        say::out(&match on_gpu {
            true => format!("checking {}\n", chosen.name),
            false => format!(
                "checking the CPU: {}, products in bf16 by {}\n",
                ops::vectors(),
                ops::unit()
            ),
        })?;
        let quiet = self.quiet;
        let mut told = |good: bool, name: &str, found: &str| print(quiet, good, name, found);
        let mut test = SelfTest::new(&chosen.device, self.seed, &mut told);
        match self.only {
            None => {}
            Some(Only::F32) => test = test.only(Precision::F32),
            Some(Only::Bf16) => test = test.only(Precision::Bf16),
        }
        test.all();
        // A process can use only one unit, so other processes check the others.
        let with_bf16 = self.only != Some(Only::F32);
        if !on_gpu && with_bf16 && std::env::var_os("HEIRLOOM_UNIT").is_none() {
            for unit in ops::units().into_iter().filter(|&u| u != ops::unit()) {
                match self.check_unit(unit) {
                    Ok(counts) => test.add(counts),
                    Err(error) => test.note(
                        &format!("products in bf16 by {unit}"),
                        Err::<String, _>(exit::words(&error)),
                    ),
                }
            }
        }
        if on_gpu && self.only.is_none() {
            self.check_alternatives(&chosen.device, &mut test);
        }
        if self.only.is_none() {
            let device = if on_gpu { self.gpu() } else { "cpu".into() };
            test.note("a miniature recipe", recipe(&device));
        }
        let (passed, failed) = test.counts();
        say::out(&format!(
            "{passed} passed, {failed} failed in {:.0} s\n",
            begin.elapsed().as_secs_f64()
        ))?;
        Ok(if failed == 0 { exit::OK } else { exit::FAILED })
    }

    /// Returns the GPU as an argument for another call of this program.
    fn gpu(&self) -> String {
        match self.device {
            Choice::Auto => "cuda".into(),
            other => other.to_string(),
        }
    }

    /// Runs other processes that check the kernels which this GPU would not choose.
    fn check_alternatives(&self, device: &candle_core::Device, test: &mut SelfTest<'_>) {
        for (variable, value) in alternatives(device) {
            if std::env::var_os(variable).is_some() {
                continue;
            }
            match self.check_with(
                &self.gpu(),
                (variable, value),
                &format!("{variable}={value}: "),
            ) {
                Ok(counts) => test.add(counts),
                Err(error) => test.note(
                    &format!("{variable}={value}"),
                    Err::<String, _>(exit::words(&error)),
                ),
            }
        }
    }

    /// Runs another process that checks a slower unit, and prints its results. Returns the numbers of passed and failed checks.
    fn check_unit(&self, unit: &str) -> Result<(usize, usize)> {
        self.check_with("cpu", ("HEIRLOOM_UNIT", unit), "")
    }

    /// Runs another process that checks products in bf16 on `device` with a variable set, and prints its results, each line with
    /// `prefix`. Returns the numbers of passed and failed checks.
    fn check_with(
        &self,
        device: &str,
        (variable, value): (&str, &str),
        prefix: &str,
    ) -> Result<(usize, usize)> {
        let out = Command::new(std::env::current_exe()?)
            .args(["selftest", "--device", device, "--only", "bf16", "--seed"])
            .arg(self.seed.to_string())
            .env(variable, value)
            .output()?;
        let mut counts = (0, 0);
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let (good, rest) = match (line.strip_prefix(PASSED), line.strip_prefix(FAILED)) {
                (Some(rest), _) => (true, rest),
                (_, Some(rest)) => (false, rest),
                (None, None) => continue,
            };
            match good {
                true => counts.0 += 1,
                false => counts.1 += 1,
            }
            let (name, found) = rest.split_once(": ").unwrap_or((rest, ""));
            print(self.quiet, good, &format!("{prefix}{name}"), found);
        }
        let expected = if counts.1 == 0 {
            exit::OK
        } else {
            exit::FAILED
        };
        if counts == (0, 0) || out.status.code() != Some(expected) {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("{} after {} checks: {}", out.status, counts.0, said.trim());
        }
        Ok(counts)
    }
}

/// Returns settings that make a GPU use kernels that it would not choose: on a Hopper, those of all other cards; those for libraries
/// without fused epilogues; and those for logits in f32 in training.
fn alternatives(device: &candle_core::Device) -> Vec<(&'static str, &'static str)> {
    let always = [("HEIRLOOM_EPILOGUES", "apart"), ("HEIRLOOM_LOGITS", "f32")];
    let general = is_hopper(device).then_some(("HEIRLOOM_ATTENTION", "mma"));
    general.into_iter().chain(always).collect()
}

/// Whether a GPU is a Hopper, which has its own kernels of attention.
fn is_hopper(device: &candle_core::Device) -> bool {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return ops::cuda::is_hopper(device).unwrap_or(false);
    }
    let _ = device;
    false
}

/// Prints the result of a check.
fn print(quiet: bool, good: bool, name: &str, found: &str) {
    let mark = match (good, quiet) {
        (true, true) => return,
        (true, false) => PASSED,
        (false, _) => FAILED,
    };
    let _ = say::out(&format!("{mark}{name}: {found}\n"));
}

/// Runs the complete program on a miniature recipe: reference, inheritance, growth, table.
fn recipe(device: &str) -> Result<String> {
    // The name is random, because other users may write to the same directory.
    let temporary = Dir::open(&std::env::temp_dir())?;
    let (name, place) = temporary.create_temporary_subdir("heirloom-selftest")?;
    let done = recipe_in(place.path(), device);
    let _ = temporary.remove_all(name);
    done
}

fn recipe_in(place: &Path, device: &str) -> Result<String> {
    let config = place.join("recipe.toml");
    file::replace(&config, RECIPE.as_bytes())?;
    let losses = |name: &str| -> Result<Vec<String>> {
        let out = Command::new(std::env::current_exe()?)
            .args(["train", "--device", device, "--name", name, "--runs"])
            .arg(place.join("runs"))
            .arg(&config)
            .output()?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("{}: {}", out.status, said.trim());
        }
        let journal = std::fs::read_to_string(place.join("runs").join(name).join("events.jsonl"))?;
        let events = journal
            .lines()
            .map(serde_json::from_str::<serde_json::Value>);
        let evals = events.filter_map(|e| e.ok().filter(|e| e["kind"] == "eval"));
        Ok(evals.map(|e| e["val_loss"].to_string()).collect())
    };
    let (first, second) = (losses("first")?, losses("second")?);
    if first != second {
        bail!("validation losses differ between two identical runs: {first:?}, {second:?}");
    }
    let (Some(begin), Some(end)) = (first.first(), first.last()) else {
        bail!("no evaluation was made");
    };
    Ok(format!(
        "{} evaluations, {begin} to {end}, identical in both runs",
        first.len()
    ))
}
