//! Interprets lines that an operator types at a plain terminal. Input and output are complete lines, which suits screen readers.

use super::offer;
use crate::dashboard::commands::preflight;
use crate::dashboard::costs::{Choice, Cost};
use crate::dashboard::layers::Stamp;
use crate::dashboard::layers::decision::Decision;
use crate::run::command::Command;
use crate::run::dir::RunDir;
use crate::run::state::RunState;
use crate::run::{show, table, words};
use crate::text::sanitize;

/// The result of a typed line.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Print this text.
    Say(String),
    Send(Command),
    /// Take over control from another client.
    TakeControl,
}

/// The relation of the terminal to the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The training runs in this terminal's process.
    Owner,
    /// The terminal commands a training in another process.
    Attached,
    /// The terminal only shows a training.
    Reader,
}

/// Reads lines. Remembers the command that waits for a confirmation, with its stamp.
#[derive(Debug)]
pub struct Console {
    dir: RunDir,
    role: Role,
    asked: Option<(Command, Stamp)>,
}

impl Console {
    /// Makes a console for the run in `dir`.
    pub fn new(dir: &RunDir, role: Role) -> Self {
        let (dir, asked) = (dir.clone(), None);
        Self { dir, role, asked }
    }

    /// Returns the effect of a line. `shown` is the decision whose numbered choices were printed last: a number answers only that
    /// decision.
    pub fn read(&mut self, line: &str, state: &RunState, shown: Option<&Decision>) -> Move {
        let line = line.trim();
        // A leading colon, as in a dashboard, is accepted.
        let line = line.strip_prefix(':').unwrap_or(line).trim();
        if let Some((command, stamp)) = self.asked.take() {
            let what = command.describe();
            return match line.to_lowercase().as_str() {
                "y" | "yes" if !stamp.is_current(state) => {
                    Move::Say(format!("refused: {what}: {}", stamp.refusal()))
                }
                "y" | "yes" => Move::Send(command),
                "n" | "no" | "" => Move::Say(format!("cancelled: {what}")),
                _ => Move::Say(format!("cancelled: {what} (y confirms it)")),
            };
        }
        match line {
            "" => self.remind(state, shown),
            "?" | "help" => Move::Say(help(self.role)),
            "status" => Move::Say(show::status(state, &self.dir)),
            "take-control" => Move::TakeControl,
            _ => match line.parse::<usize>() {
                Ok(number) => self.choose(number, state, shown),
                Err(_) => self.obey(line, state),
            },
        }
    }

    /// Repeats the choices of the decision that is open, if they have been printed.
    fn remind(&self, state: &RunState, shown: Option<&Decision>) -> Move {
        let open = state.core.decision.as_ref().map(|open| open.id);
        Move::Say(match shown.filter(|d| Some(d.decision.id) == open) {
            Some(shown) => {
                let headline = offer::headline(&shown.decision, state.core.step);
                let mut lines = vec![sanitize(&headline).into_owned()];
                lines.extend(offer::numbered(state, shown));
                lines.join("\n")
            }
            None => "no decision is open; ? lists the commands".into(),
        })
    }

    fn choose(&mut self, number: usize, state: &RunState, shown: Option<&Decision>) -> Move {
        let Some(shown) = shown else {
            return Move::Say(format!(
                "no choice {number}: no decision has been offered; ? lists the commands"
            ));
        };
        let open = state.core.decision.as_ref().map(|open| open.id);
        if open != Some(shown.decision.id) {
            return Move::Say(format!(
                "refused: the decision of choice {number} has been closed or replaced"
            ));
        }
        let choices = shown.entries.len();
        let Some(selected) = number.checked_sub(1).filter(|i| *i < choices) else {
            return Move::Say(format!(
                "{number} is not one of the choices: give a number from 1 to {choices}"
            ));
        };
        let chosen = Decision {
            selected,
            ..shown.clone()
        };
        match chosen.command() {
            Some(command) => self.ask_or_send(command, state),
            None => Move::Say(
                "later: the decision stays open; Enter on an empty line shows its choices again"
                    .into(),
            ),
        }
    }

    fn obey(&mut self, line: &str, state: &RunState) -> Move {
        let typed: Vec<&str> = line.split_whitespace().collect();
        match words::parse(&typed) {
            Ok(command) => self.ask_or_send(for_open_decision(command, state), state),
            Err(why) => Move::Say(format!("{}; ? lists the commands", sanitize(&why))),
        }
    }

    /// Sends a command, or asks for a confirmation if it ends, replaces or undoes training.
    fn ask_or_send(&mut self, command: Command, state: &RunState) -> Move {
        if !words::is_drastic(&command) {
            return Move::Send(command);
        }
        match self.consequence(&command, state) {
            Ok(what) => {
                self.asked = Some((command, Stamp::phase(state)));
                Move::Say(format!("{}? y/n", sanitize(&what)))
            }
            Err(why) => Move::Say(format!("refused: {}", sanitize(&why))),
        }
    }

    /// Describes the effect of a command.
    ///
    /// # Errors
    /// When it is known that the trainer would refuse it.
    fn consequence(&self, command: &Command, state: &RunState) -> Result<String, String> {
        preflight::check(state, Some(&|name| show::is_kept(&self.dir, name)), command)?;
        let at = offer::at(state);
        match command {
            Command::Grow { layers, mode, .. } => {
                let mode = mode.or(state.info.as_ref().map(|info| info.grow_mode));
                let mode = mode.unwrap_or_default();
                let known = state.core.last_decision.as_ref().map(|d| &d.evidence);
                let cost = Cost::of(state, known, Choice::Grow(*layers));
                let cost = offer::cost_words(&cost);
                Ok(format!(
                    "grow by {} ({mode}), {cost}: ends this round {at}, after a checkpoint that is written and verified",
                    table::plural(*layers, "layer")
                ))
            }
            Command::Stop { .. } => {
                Ok(format!("stop growing {at}: {}", offer::result_words(state)))
            }
            Command::Rollback { checkpoint } => {
                let known = state.checkpoints.iter().rev();
                let known = known.into_iter().find(|c| c.name == *checkpoint);
                let val = known.and_then(|c| c.val_loss);
                let val = val.map_or(String::new(), |val| format!(" (val {val:.4})"));
                Ok(format!(
                    "roll back to {checkpoint}{val} {at}: what was trained since is abandoned, and stays in the journal"
                ))
            }
            Command::Quit => Ok(format!(
                "write a checkpoint {at} and end the process; heirloom train --resume {} resumes it",
                self.dir.argument()
            )),
            other => Ok(other.describe()),
        }
    }
}

/// Restricts a command to the decision that is open now, so that it cannot answer a later one.
fn for_open_decision(command: Command, state: &RunState) -> Command {
    let open = state.core.decision.as_ref().map(|open| open.id);
    match command {
        Command::Grow { layers, mode, .. } => Command::Grow {
            layers,
            mode,
            decision: open,
        },
        Command::TrainOn { steps, .. } => Command::TrainOn {
            steps,
            decision: open,
        },
        Command::Stop { .. } => Command::Stop { decision: open },
        other => other,
    }
}

/// Returns all commands with their effects.
fn help(role: Role) -> String {
    let (interrupt, end) = match role {
        Role::Owner => (
            "write a checkpoint and stop",
            "read no more commands; the training continues",
        ),
        Role::Attached | Role::Reader => (
            "leave; the training continues",
            "leave; the training continues",
        ),
    };
    let own = [
        ("NUMBER", "choose among the numbered choices printed last"),
        ("status", "status of the run"),
        ("take-control", "take control from another terminal"),
        ("Ctrl-C", interrupt),
        ("Ctrl-D", end),
    ];
    let rows = words::USAGES.iter().map(|usage| (usage.words, usage.help));
    let rows = own
        .into_iter()
        .take(2)
        .chain(rows)
        .chain(own.into_iter().skip(2));
    let lines: Vec<String> = rows
        .map(|(words, help)| format!("  {words}: {help}"))
        .collect();
    lines.join("\n")
}
