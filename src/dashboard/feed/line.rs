//! A connection to a trainer in another process.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::control::client::{Client, GREETING};
use crate::run::control::protocol::Outgoing;
use crate::run::dir::RunDir;
use crate::threads;

/// Most messages that wait for the dashboard. If it is reached, the trainer's process stops sending, and disconnects a client that
/// does not read.
const WAITING: usize = 4096;
/// Longest wait of the screen for a server that does not read. The socket holds some hundred messages, so a server that has not
/// read any of them will not read.
const PATIENCE: Duration = Duration::from_millis(20);

/// An open connection.
pub struct Line {
    pub sending: UnixStream,
    pub messages: Receiver<Outgoing>,
    /// Whether the events have been requested, which happens once the journal has been read.
    pub subscribed: bool,
}

impl Line {
    pub fn open(dir: &RunDir) -> Result<Self> {
        let (mut client, _) = Client::connect(dir, GREETING)?;
        let sending = client.sender().context("cannot use the control socket")?;
        let limited = sending.set_write_timeout(Some(PATIENCE));
        limited.context("cannot use the control socket")?;
        let (tell, messages) = sync_channel(WAITING);
        threads::spawn("attached", move || {
            while let Ok(message) = client.receive() {
                if tell.send(message).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            sending,
            messages,
            subscribed: false,
        })
    }

    /// Opens a connection on a new thread, which ends within [`GREETING`]. Returns `None` if the system refuses the thread.
    pub fn open_aside(dir: &RunDir) -> Option<Receiver<Result<Self>>> {
        let (tell, opened) = sync_channel(1);
        let dir = dir.clone();
        let opening = threads::spawn("attaching", move || {
            // If the screen has been closed, dropping the line ends the connection.
            let _ = tell.send(Self::open(&dir));
        });
        opening.is_ok().then_some(opened)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // This wakes the receiving thread, which ends.
        let _ = self.sending.shutdown(Shutdown::Both);
    }
}
