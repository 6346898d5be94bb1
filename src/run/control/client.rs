//! The other end of the control socket, for programs that have a thread to wait on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use super::protocol::{Incoming, LONGEST_OUTGOING, Outgoing};
use super::{peer, socket};
use crate::run::advice;
use crate::run::dir::RunDir;
use crate::run::holder::{Holder, Sign, describe_elsewhere};
use crate::run::lock::{FRESH, RunLock};
use crate::text;

/// Longest wait for a greeting.
pub const GREETING: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    NotRunning(String),
    #[error("run {name} is in use by {holder}: {way}")]
    Elsewhere {
        name: String,
        holder: String,
        way: String,
    },
    #[error(
        "{holder} trains run {name} but accepts no commands (it is starting or ending, or has no control socket); `heirloom \
         watch` follows it, and ends with a checkpoint when the process gets SIGTERM"
    )]
    NoSocket { name: String, holder: String },
    #[error("run {name}: the command was not sent: {what}. {way}")]
    Impostor {
        name: String,
        what: String,
        way: String,
    },
    #[error("cannot connect to {holder} at {socket}: {source}")]
    Io {
        holder: String,
        socket: String,
        source: io::Error,
    },
    #[error("{holder} refuses: {what}")]
    Refused { holder: String, what: String },
}

/// A connection to a trainer.
pub struct Client {
    reading: BufReader<UnixStream>,
    writing: UnixStream,
}

impl Client {
    /// Connects to the process that works on a run, and makes sure that it is that process ([`peer`]): everything that
    /// commands or shows a live run goes through here. Also returns the greeting.
    ///
    /// # Errors
    /// When no process works on the run, when it works on another machine, when the answer comes from another process,
    /// or when the trainer does not answer.
    pub fn connect(dir: &RunDir, patience: Duration) -> Result<(Self, Outgoing), ConnectError> {
        let name = text::sanitize(&dir.name()).into_owned();
        let Some(holder) = RunLock::holder(dir.path()) else {
            return Err(ConnectError::NotRunning(advice::of_idle(dir)));
        };
        let who = holder.to_string();
        if holder.pid == 0 {
            return Err(ConnectError::NoSocket { name, holder: who });
        }
        if !holder.is_here() {
            let lock = text::argument(&dir.lock());
            let sign = Sign::of(dir.path());
            return Err(ConnectError::Elsewhere {
                name,
                way: describe_elsewhere(&holder, sign, &lock, FRESH.as_secs()),
                holder: who,
            });
        }
        let Some(socket) = address_of(&holder, dir.path()) else {
            return Err(ConnectError::NoSocket { name, holder: who });
        };
        let impostor = |what| ConnectError::Impostor {
            name: name.clone(),
            what,
            way: format!(
                "If the run is yours and no process works on it, remove {}",
                text::argument(&dir.lock())
            ),
        };
        let io = |source: io::Error| ConnectError::Io {
            holder: who.clone(),
            socket: text::path(&socket),
            source,
        };
        peer::check_address(&socket).map_err(impostor)?;
        let patience = patience.min(GREETING);
        let stream = socket::dial(&socket, patience).map_err(io)?;
        let other = socket::peer_of(&stream).map_err(io)?;
        peer::check_user(other.uid, geteuid()).map_err(impostor)?;
        let (mut client, hello) = Self::greeted(stream, patience).map_err(io)?;
        if let Outgoing::Error { message } = hello {
            return Err(ConnectError::Refused {
                holder: who,
                what: message,
            });
        }
        peer::check_identity(&hello, other, &holder, dir.path()).map_err(impostor)?;
        client.set_timeout(None).map_err(io)?;
        Ok((client, hello))
    }

    /// Reads a server's first message.
    fn greeted(writing: UnixStream, patience: Duration) -> io::Result<(Self, Outgoing)> {
        let reading = BufReader::new(writing.try_clone()?);
        let mut client = Self { reading, writing };
        client.set_timeout(Some(patience))?;
        client.writing.set_write_timeout(Some(patience))?;
        let hello = client.receive()?;
        Ok((client, hello))
    }

    /// Longest wait of [`Self::receive`]; `None` waits without a limit.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.writing.set_read_timeout(timeout)
    }

    /// # Errors
    /// When the trainer's process has ended.
    pub fn send(&mut self, message: &Incoming) -> io::Result<()> {
        self.writing.write_all(message.to_line().as_bytes())
    }

    /// Receives the next message.
    ///
    /// # Errors
    /// At the end of the connection, after the timeout, and when a line is not a valid message.
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

/// The socket's address in a lock. An address in the run's directory is looked up in that directory when the path does
/// not exist: a container may know the directory by another path.
fn address_of(holder: &Holder, dir: &Path) -> Option<PathBuf> {
    let said = holder.socket.clone()?;
    let own = std::path::absolute(dir).ok()?.join(super::address::IN_RUN);
    let moved = said.file_name() == own.file_name() && !said.exists() && own.exists();
    Some(if moved { own } else { said })
}
