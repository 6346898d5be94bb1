//! The other end of the control socket, for programs that have a thread to wait on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::protocol::{Incoming, LONGEST_OUTGOING, Outgoing};
use crate::run::advice;
use crate::run::dir::RunDir;
use crate::run::lock::{self, RunLock};
use crate::text;

/// How long a greeting may take.
pub const GREETING: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    NotRunning(String),
    #[error("run {name} is worked on by {holder}, and is controlled from that machine")]
    Elsewhere { name: String, holder: String },
    #[error(
        "{holder} works on run {name}, but takes no commands (it is starting or ending, or could make no socket)"
    )]
    NoSocket { name: String, holder: String },
    #[error("cannot connect to {holder} at {socket}: {source}")]
    Io {
        holder: String,
        socket: String,
        source: io::Error,
    },
    #[error("{holder} refuses: {what}")]
    Refused { holder: String, what: String },
    #[error("{socket} does not speak this program's protocol: {what}")]
    Strange { socket: String, what: String },
}

/// A connection to a trainer.
pub struct Client {
    reading: BufReader<UnixStream>,
    writing: UnixStream,
}

impl Client {
    /// Connects to the process that works on a run. Returns the greeting, too.
    ///
    /// # Errors
    /// When nobody works on it, or not here, or nobody answers.
    pub fn connect(dir: &RunDir, patience: Duration) -> Result<(Self, Outgoing), ConnectError> {
        let name = dir.name();
        let Some(holder) = RunLock::holder(dir.path()) else {
            return Err(ConnectError::NotRunning(advice::of_idle(dir)));
        };
        let who = holder.to_string();
        if holder.host != lock::host_name() && holder.host != "unknown" {
            return Err(ConnectError::Elsewhere { name, holder: who });
        }
        let Some(socket) = holder.socket else {
            return Err(ConnectError::NoSocket { name, holder: who });
        };
        let io = |source| ConnectError::Io {
            holder: who.clone(),
            socket: text::path(&socket),
            source,
        };
        let (mut client, hello) = Self::open(&socket, patience.min(GREETING)).map_err(io)?;
        match hello {
            Outgoing::Hello { .. } => {
                client.set_timeout(None).map_err(io)?;
                Ok((client, hello))
            }
            Outgoing::Error { message } => Err(ConnectError::Refused {
                holder: who,
                what: message,
            }),
            _ => Err(ConnectError::Strange {
                socket: text::path(&socket),
                what: "it does not greet".into(),
            }),
        }
    }

    /// Connects to a socket and reads its first message.
    ///
    /// # Errors
    /// When that fails, or takes too long.
    pub fn open(socket: &Path, patience: Duration) -> io::Result<(Self, Outgoing)> {
        let writing = UnixStream::connect(socket)?;
        let reading = BufReader::new(writing.try_clone()?);
        let mut client = Self { reading, writing };
        client.set_timeout(Some(patience))?;
        client.writing.set_write_timeout(Some(patience))?;
        let hello = client.receive()?;
        Ok((client, hello))
    }

    /// How long [`Self::receive`] waits; `None`: for ever.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.writing.set_read_timeout(timeout)
    }

    /// # Errors
    /// When the trainer has gone.
    pub fn send(&mut self, message: &Incoming) -> io::Result<()> {
        self.writing.write_all(message.to_line().as_bytes())
    }

    /// The next message.
    ///
    /// # Errors
    /// At the end of the connection, after the timeout, and when what comes is no message.
    pub fn receive(&mut self) -> io::Result<Outgoing> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reading).take(LONGEST_OUTGOING as u64);
        bounded.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let invalid = |e: String| io::Error::new(io::ErrorKind::InvalidData, e);
        let text = std::str::from_utf8(&line).map_err(|e| invalid(e.to_string()))?;
        Outgoing::parse(text).map_err(|e| invalid(e.to_string()))
    }

    /// Another handle to send with while a thread receives.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn sender(&self) -> io::Result<UnixStream> {
        self.writing.try_clone()
    }
}
