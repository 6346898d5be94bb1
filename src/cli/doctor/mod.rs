//! `heirloom doctor`: checks this machine for everything that a training needs, and gives advice about problems.

mod disk;
mod finding;
mod machine;
mod network;
mod terminal;

use anyhow::Result;
use serde_json::json;

use self::finding::{Finding, Level};
use super::version::VERSION;
use super::{Global, exit, say};
use crate::text;

/// Check terminal, CPU, GPU, libraries, disk and network
///
/// Nothing is changed: the disk check writes a temporary file into the runs directory and removes it. Without a
/// network the hub's check takes up to five seconds. The exit code is 0 unless heirloom cannot work here at all, which is
/// the case when no run can be written: then it is 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Prints each finding as soon as it is known. Returns 1 when no run can be written.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn run(self) -> Result<i32> {
        let checks: [&dyn Fn() -> Vec<Finding>; 4] = [
            &|| terminal::check(&self.global.ui, !self.json),
            &machine::check,
            &|| disk::check(&self.global.runs),
            &network::check,
        ];
        let mut all = Vec::new();
        for check in checks {
            let findings = check();
            if !self.json {
                let lines: String = findings.iter().map(Finding::line).collect();
                say::out(&lines)?;
            }
            all.extend(findings);
        }
        let count = |level| all.iter().filter(|f| f.level() == level).count();
        let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
        if self.json {
            let checks = all.iter().map(Finding::json);
            say::json(&json!({
                "version": VERSION,
                "usable": failures == 0,
                "checks": checks.collect::<Vec<_>>(),
            }))?;
        } else {
            say::out(&format!(
                "heirloom {}: {}, {}\n",
                VERSION,
                text::plural(warnings, "warning"),
                match failures {
                    0 => "ready to train".to_string(),
                    n => format!("{}, no training is possible", text::plural(n, "failure")),
                }
            ))?;
        }
        Ok(if failures == 0 {
            exit::OK
        } else {
            exit::FAILED
        })
    }
}
