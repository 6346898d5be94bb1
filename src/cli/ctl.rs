//! `heirloom ctl`: one command to a running trainer, for scripts.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{exit, say};
use crate::run::control::client::{Client, ConnectError};
use crate::run::control::protocol::{Incoming, Outgoing};
use crate::run::dir::{DEFAULT_RUNS, RunDir};
use crate::run::words;

/// Command a running training: pause it, let it grow, roll it back, ask how it stands
///
/// Exit codes: 0 done, 1 refused by the trainer or not answered, 2 no such command, no such run, or nobody works on it.
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub struct Args {
    /// The run's name under the runs directory, or a path
    #[arg(value_name = "RUN")]
    run: String,
    /// What to do; see below
    #[arg(value_name = "COMMAND", required = true, num_args = 1..)]
    words: Vec<String>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Longest wait for the answer, which comes at a step boundary
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

fn help() -> String {
    let status = (
        "status",
        "how the run stands (with --json as `show --json`)",
    );
    let rows = words::USAGES.iter().map(|u| (u.words, u.help));
    let mut text = String::from("Commands:\n");
    for (words, help) in std::iter::once(status).chain(rows) {
        text.push_str(&format!("  {words:<22} {help}\n"));
    }
    text
}

impl Args {
    /// # Errors
    /// When the words are no command, there is no such run, or nobody works on it.
    pub fn run(self) -> Result<i32> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let message = match words[..] {
            ["status"] => Incoming::Status { id: 1 },
            _ => Incoming::Command {
                id: 1,
                command: words::parse(&words).map_err(|e| exit::usage(&e))?,
                script: true,
            },
        };
        let seconds = Duration::try_from_secs_f64(self.timeout)
            .ok()
            .filter(|t| !t.is_zero())
            .ok_or_else(|| exit::usage("--timeout must be a number of seconds above 0"))?;
        let dir = RunDir::open(&self.runs, &self.run)?;
        let (mut client, _) = match Client::connect(&dir, seconds) {
            Ok(connected) => connected,
            // Nobody is there, or not here.
            Err(e @ (ConnectError::NotRunning { .. } | ConnectError::Elsewhere { .. })) => {
                return Err(e.into());
            }
            Err(e) => return self.unanswered(&e.to_string()),
        };
        client.set_timeout(Some(seconds))?;
        if client.send(&message).is_err() {
            return self.unanswered("the trainer has gone");
        }
        match client.receive() {
            Ok(answer) => self.tell(answer),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.unanswered(&format!(
                    "no answer within {} s; the command may still be obeyed at the next step boundary",
                    self.timeout
                ))
            }
            Err(_) => self.unanswered("the trainer ended before it answered"),
        }
    }

    /// Says why there is no answer.
    fn unanswered(&self, why: &str) -> Result<i32> {
        match self.json {
            true => say::json(&json!({"applied": false, "message": why}))?,
            false => say::err(why),
        }
        Ok(exit::FAILED)
    }

    fn tell(&self, answer: Outgoing) -> Result<i32> {
        match answer {
            Outgoing::Answer {
                applied, message, ..
            } => {
                match (self.json, applied) {
                    (true, _) => say::json(&json!({"applied": applied, "message": message}))?,
                    (false, true) => say::out(&format!("{message}\n"))?,
                    (false, false) => say::err(&format!("refused: {message}")),
                }
                Ok(if applied { exit::OK } else { exit::FAILED })
            }
            Outgoing::Status { run, lines, .. } => {
                match self.json {
                    true => say::json(&run)?,
                    false => say::out(&(lines.join("\n") + "\n"))?,
                }
                Ok(exit::OK)
            }
            Outgoing::Error { message } => self.unanswered(&message),
            _ => self.unanswered("the trainer gave no answer to this"),
        }
    }
}
