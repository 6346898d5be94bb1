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

/// Messages that may wait for the dashboard; then the trainer's process waits with sending, and lets go of a client
/// that takes nothing.
const WAITING: usize = 4096;
/// Longest wait of the screen for a server that does not read: the socket holds some hundred messages, so that one who
/// has read none of them does not read at all.
const PATIENCE: Duration = Duration::from_millis(20);

/// An open connection.
pub struct Line {
    pub sending: UnixStream,
    pub messages: Receiver<Outgoing>,
    /// Whether the events have been asked for: the journal has been read.
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

    /// Opens a connection on a thread of its own, which ends on its own within [`GREETING`]. `None` when the system
    /// refuses the thread.
    pub fn open_aside(dir: &RunDir) -> Option<Receiver<Result<Self>>> {
        let (tell, opened) = sync_channel(1);
        let dir = dir.clone();
        let opening = threads::spawn("attaching", move || {
            // A screen that has gone drops the line, and with it the connection.
            let _ = tell.send(Self::open(&dir));
        });
        opening.is_ok().then_some(opened)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The receiving thread wakes and ends.
        let _ = self.sending.shutdown(Shutdown::Both);
    }
}
