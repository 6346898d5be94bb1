//! `heirloom doctor`: checks this machine for everything that a training needs, and what to do about what is missing.

mod disk;
mod machine;
mod network;
mod terminal;

use anyhow::Result;
use serde_json::json;

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

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    /// Works with a limitation.
    Warn,
    /// No training is possible.
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// The result of one check.
#[derive(Debug)]
pub(super) struct Finding {
    name: &'static str,
    level: Level,
    /// The state that was found.
    found: String,
    /// The advice.
    advice: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warn,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(name, found, advice)
        }
    }

    /// Adds advice to a finding that is not a problem.
    fn with_advice(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }

    fn line(&self) -> String {
        let (name, level) = (self.name, self.level.word());
        let mut line = format!("{level:<5} {name:<10} {}\n", self.found);
        if let Some(advice) = &self.advice {
            line.push_str(&format!("{:17}{advice}\n", ""));
        }
        line
    }
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
        let count = |level| all.iter().filter(|f| f.level == level).count();
        let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
        if self.json {
            let checks = all.iter().map(|f| {
                json!({
                    "name": f.name,
                    "status": f.level.word().to_lowercase(),
                    "found": f.found,
                    "advice": f.advice,
                })
            });
            say::json(&json!({
                "version": super::VERSION,
                "usable": failures == 0,
                "checks": checks.collect::<Vec<_>>(),
            }))?;
        } else {
            say::out(&format!(
                "heirloom {}: {}, {}\n",
                super::VERSION,
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
