//! `heirloom ctl`: sends a command to a running trainer, for scripts.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::find::live_run;
use super::{Global, exit, say};
use crate::run::control::client::{Client, ConnectError};
use crate::run::control::protocol::{Incoming, Outgoing};
use crate::run::dir::RunDir;
use crate::run::words;
use crate::text;

/// Control a running training: pause, grow, roll back, query status
///
/// Without RUN, the command goes to the only run in progress. The first word is taken as RUN if the rest is a command;
/// if the whole line is a command as well, only if a run of that name exists. Exit codes: 0 done,
/// 1 refused by the trainer or not answered, 2 no such command, no such run, or a run that is not running.
#[derive(Debug, clap::Args)]
#[command(after_help = help(), override_usage = "heirloom ctl [OPTIONS] [RUN] COMMAND...")]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the only run in progress], then what to do; see
    /// below
    #[arg(value_name = "COMMAND", required = true, num_args = 1.., value_parser = super::values::exact_text())]
    words: Vec<String>,
    #[command(flatten)]
    global: Global,
    /// Maximum wait for the answer, which is sent at a step boundary
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

fn help() -> String {
    let status = (
        "status",
        "status of the run (with --json: as `show --json`)",
    );
    let rows = words::USAGES.iter().map(|u| (u.words, u.help));
    let mut text = String::from("Commands:\n");
    for (words, help) in std::iter::once(status).chain(rows) {
        text.push_str(&format!("  {words:<22} {help}\n"));
    }
    text
}

/// Returns the request to send.
///
/// # Errors
/// When the command is not valid.
fn message(words: &[&str]) -> Result<Incoming, String> {
    Ok(match words {
        ["status"] => Incoming::Status { id: 1 },
        _ => Incoming::Command {
            id: 1,
            command: words::parse(words)?,
            script: true,
        },
    })
}

/// Splits a command line into the run and the message. The first word is the run if the rest is a command and, where the complete
/// line is also a command (`set lr 1e-4`, `rollback status`), if such a run exists. Otherwise no run is named.
///
/// # Errors
/// When neither reading is a command; the error is that of the likelier reading.
fn split<'a>(
    words: &[&'a str],
    is_run: impl Fn(&str) -> bool,
) -> Result<(Option<&'a str>, Incoming), String> {
    let [first, rest @ ..] = words else {
        return Err("name a command".into());
    };
    match (message(words), message(rest)) {
        (Ok(_), Ok(of_run)) if is_run(first) => Ok((Some(first), of_run)),
        (Ok(of_line), _) => Ok((None, of_line)),
        (Err(_), Ok(of_run)) => Ok((Some(first), of_run)),
        (Err(_), Err(_)) if rest.is_empty() && is_run(first) => {
            let run = text::argument(&text::exact::to_path(first));
            Err(format!(
                "name a command for run {run}, such as: heirloom ctl {run} status"
            ))
        }
        (Err(of_line), Err(of_run)) => {
            let is_line = rest.is_empty() || (words::is_command(first) && !is_run(first));
            Err(if is_line { of_line } else { of_run })
        }
    }
}

impl Args {
    /// # Errors
    /// When the words are not a command, the run does not exist, or it is not running.
    pub fn run(self) -> Result<i32> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let is_run = |name: &str| RunDir::open(&self.global.runs, name).is_ok();
        let (run, message) = split(&words, is_run).map_err(|e| exit::usage(&e))?;
        let seconds = Duration::try_from_secs_f64(self.timeout)
            .ok()
            .filter(|t| !t.is_zero())
            .ok_or_else(|| exit::usage("--timeout must be a number of seconds above 0"))?;
        let dir = live_run(run, &self.global.runs, "ctl")?;
        let (mut client, _) = match Client::connect(&dir, seconds) {
            Ok(connected) => connected,
            // The run is not running, not on this machine, or its lock names another process.
            Err(
                e @ (ConnectError::NotRunning(_)
                | ConnectError::Elsewhere { .. }
                | ConnectError::Impostor { .. }),
            ) => {
                return Err(e.into());
            }
            Err(e) => return self.unanswered(&e.to_string()),
        };
        client.set_timeout(Some(seconds))?;
        if client.send(&message).is_err() {
            return self.unanswered("the trainer's process has ended");
        }
        match client.receive() {
            Ok(answer) => self.print(answer),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.unanswered(&format!(
                    "no answer within {} s; the command may still be applied at the next step boundary",
                    self.timeout
                ))
            }
            Err(_) => self.unanswered("the trainer ended before it answered"),
        }
    }

    /// Describes why no answer came.
    fn unanswered(&self, why: &str) -> Result<i32> {
        match self.json {
            true => say::json(&json!({"applied": false, "message": why}))?,
            false => say::err(why),
        }
        Ok(exit::FAILED)
    }

    fn print(&self, answer: Outgoing) -> Result<i32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Option<String>, String), String> {
        let words: Vec<&str> = line.split(' ').collect();
        // The existing runs.
        let runs = ["mine", "pause", "rollback"];
        let (run, message) = split(&words, |name| runs.contains(&name))?;
        let said = match message {
            Incoming::Command { command, .. } => command.describe(),
            _ => "status".into(),
        };
        Ok((run.map(String::from), said))
    }

    #[test]
    fn the_first_word_is_the_run_when_a_command_follows() {
        for (line, run, said) in [
            ("status", None, "status"),
            ("mine status", Some("mine"), "status"),
            ("nobody status", Some("nobody"), "status"),
            ("grow 2 keep", None, "grow by 2 (keep)"),
            ("mine grow 2 keep", Some("mine"), "grow by 2 (keep)"),
            ("rollback best", None, "roll back to best"),
            ("set lr 1e-4", None, "learning rate 1.000e-4"),
            ("mine set lr 1e-4", Some("mine"), "learning rate 1.000e-4"),
            // Runs that are named like commands.
            ("pause", None, "pause"),
            ("pause pause", Some("pause"), "pause"),
            ("pause status", Some("pause"), "status"),
            ("rollback status", Some("rollback"), "status"),
            (
                "rollback rollback best",
                Some("rollback"),
                "roll back to best",
            ),
        ] {
            let wanted = (run.map(String::from), said.to_string());
            assert_eq!(read(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_told_of_the_likelier_reading() {
        for (line, word) in [
            ("mine", "such as: heirloom ctl mine status"),
            ("puase", "did you mean pause?"),
            ("mine puase", "did you mean pause?"),
            ("nobody puase", "did you mean pause?"),
            ("grow many", "got \"many\""),
            ("mine grow many", "got \"many\""),
            ("rollback puase now", "\"puase\""),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
