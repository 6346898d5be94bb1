//! The messages of the control socket: one JSON object a line, each with the protocol's version `v` and a `type`.
//!
//! The server opens with [`Outgoing::Hello`]. A client sends requests ([`Incoming`]) and receives answers; after
//! subscribing it also receives the run's events, each as in the journal. A line that is too long or cannot be parsed
//! is refused with [`Outgoing::Error`], and the connection is closed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::command::Command;
use crate::run::event;
use crate::run::holder::DirId;

/// Version of the protocol.
pub const VERSION: u32 = 1;
/// Longest line a client may send, in bytes.
pub const LONGEST_INCOMING: usize = 16 << 10;
/// Longest line a client accepts: the longest event there is.
pub const LONGEST_OUTGOING: usize = 16 << 20;
/// Bytes that bound every text in a command, a rollback's checkpoint among them.
const LONGEST_TEXT: usize = 512;

/// A client's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Incoming {
    /// A command for the trainer; `id` comes back with its answer.
    Command {
        id: u64,
        command: Command,
        /// Sent by a script, which needs no control; else by a dashboard.
        #[serde(default)]
        script: bool,
    },
    /// Asks for the run's state.
    Status { id: u64 },
    /// Subscribes to the events after number `after`, and to all further ones. While another client has control, the
    /// client is a spectator until it takes control; with `read_only` it never gets control.
    Subscribe {
        after: u64,
        #[serde(default)]
        read_only: bool,
        /// Whether events that the trainer has dropped may be left out; a `gap` event then has their number.
        #[serde(default)]
        skip: bool,
    },
    /// Takes control from the present controller.
    TakeControl,
}

/// The server's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outgoing {
    Hello {
        program: String,
        run: String,
        pid: u32,
        /// Number of the run's latest event.
        seq: u64,
        /// When the process started, in clock ticks since the boot; missing from older programs, as the next two are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid_start: Option<u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        boot_id: String,
        /// The directory that the process works on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dir: Option<DirId>,
    },
    /// The trainer's answer to a command, or why it did not get there.
    Answer {
        id: u64,
        applied: bool,
        message: String,
    },
    Status {
        id: u64,
        /// The same object as `heirloom show --json` prints.
        run: Value,
        /// The same state as a few lines of text.
        lines: Vec<String>,
    },
    /// One event, as in the journal.
    Event { event: Value },
    /// Who has control of the run: this client, another client (described), or no client.
    Control { mine: bool, holder: Option<String> },
    /// The client has fallen behind by `missed` events, which are in the journal. The connection is closed.
    Lagged {
        /// 0 from a program that does not count.
        #[serde(default)]
        missed: u64,
    },
    /// The connection is closed.
    Error { message: String },
}

/// The reason why a line was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("a line of more than {LONGEST_INCOMING} bytes")]
    TooLong,
    #[error("not UTF-8")]
    NotText,
    #[error("version {0} of the protocol; this program speaks {VERSION}")]
    Version(u32),
    #[error("not a message of this protocol: {0}")]
    Malformed(String),
}

impl Incoming {
    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// When it is too long, of another version, or no message.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        if line.len() > LONGEST_INCOMING {
            return Err(Refusal::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| Refusal::NotText)?;
        let malformed = |e: serde_json::Error| Refusal::Malformed(e.to_string());
        let mut value = event::clean_object(text).map_err(malformed)?;
        match value.remove("v").as_ref().and_then(Value::as_u64) {
            Some(v) if v == u64::from(VERSION) => {}
            Some(v) => return Err(Refusal::Version(u32::try_from(v).unwrap_or(u32::MAX))),
            None => return Err(Refusal::Malformed("it has no version \"v\"".into())),
        }
        let message: Self = serde_json::from_value(Value::Object(value)).map_err(malformed)?;
        match &message {
            Self::Command {
                command: Command::Rollback { checkpoint },
                ..
            } if checkpoint.len() > LONGEST_TEXT => {
                let what = format!("a checkpoint's name of more than {LONGEST_TEXT} bytes");
                Err(Refusal::Malformed(what))
            }
            _ => Ok(message),
        }
    }

    /// The message as a line, with its newline.
    pub fn to_line(&self) -> String {
        versioned(self)
    }
}

impl Outgoing {
    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// When it is not a message of this version.
    pub fn parse(line: &str) -> Result<Self, Refusal> {
        let malformed = |e: serde_json::Error| Refusal::Malformed(e.to_string());
        let value = Value::Object(event::clean_object(line).map_err(malformed)?);
        match value.get("v").and_then(Value::as_u64) {
            Some(v) if v == u64::from(VERSION) => serde_json::from_value(value).map_err(malformed),
            v => Err(Refusal::Version(
                v.and_then(|v| u32::try_from(v).ok()).unwrap_or(0),
            )),
        }
    }

    /// The message as a line, with its newline.
    pub fn to_line(&self) -> String {
        versioned(self)
    }
}

fn versioned(message: &impl Serialize) -> String {
    let mut line = serde_json::Map::from_iter([("v".to_string(), VERSION.into())]);
    if let Ok(Value::Object(fields)) = serde_json::to_value(message) {
        line.extend(fields);
    }
    format!("{}\n", Value::Object(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for message in [
            Incoming::Command {
                id: 7,
                command: Command::Grow {
                    layers: 2,
                    mode: None,
                    decision: None,
                },
                script: true,
            },
            Incoming::Status { id: 1 },
            Incoming::Subscribe {
                after: 12,
                read_only: false,
                skip: false,
            },
            Incoming::TakeControl,
        ] {
            let line = message.to_line();
            assert_eq!(Incoming::parse(line.trim_end().as_bytes()), Ok(message));
        }
        let answer = Outgoing::Answer {
            id: 7,
            applied: false,
            message: "no".into(),
        };
        assert_eq!(Outgoing::parse(answer.to_line().trim_end()), Ok(answer));
    }

    #[test]
    fn what_is_no_message_is_refused_and_says_why() {
        let said = |line: &[u8]| Incoming::parse(line).unwrap_err().to_string();
        assert!(said(b"{}").contains("no version"));
        assert!(said(br#"{"v":2,"type":"take_control"}"#).starts_with("version 2"));
        assert!(said(br#"{"v":1,"type":"dance"}"#).contains("dance"));
        assert!(said(br#"{"v":1,"type":"status","id":1,"x":1}"#).contains("`x`"));
        assert!(said(b"\xff").contains("UTF-8"));
        assert!(
            said(br#"{"v":1,"type":"command","id":1,"command":{"name":"set_lr","lr":1e999}}"#)
                .contains("not a message")
        );
        assert!(said("[".repeat(10_000).as_bytes()).contains("not a message"));
        assert_eq!(
            Incoming::parse(&vec![b' '; LONGEST_INCOMING + 1]),
            Err(Refusal::TooLong)
        );
        let long = format!(
            r#"{{"v":1,"type":"command","id":1,"command":{{"name":"rollback","checkpoint":"{}"}}}}"#,
            "x".repeat(600)
        );
        assert!(said(long.as_bytes()).contains("more than 512 bytes"));
    }
}
