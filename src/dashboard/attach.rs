//! A run that another process of this machine trains: its past from the journal, its present over the control socket.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::feed::Feed;
use crate::run::command::Command;
use crate::run::control::client::{Client, GREETING};
use crate::run::control::protocol::{Incoming, Outgoing};
use crate::run::dir::RunDir;
use crate::run::event::Event;
use crate::run::series;
use crate::run::state::{RunState, Status};
use crate::run::tail::{self, Tail, TailItem};
use crate::threads;

/// Messages that may wait for the dashboard; then the trainer's process waits with sending, and lets go of a client
/// that takes nothing.
const WAITING: usize = 4096;
/// Most events folded in before keys are looked at again.
const AT_ONCE: usize = 20_000;
/// How often the journal is looked at, and the trainer looked for, while there is no connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A feed over the control socket. When the connection ends it follows the journal, and connects again when a trainer
/// is there.
pub struct AttachFeed {
    dir: RunDir,
    read_only: bool,
    tail: Tail,
    line: Option<Line>,
    /// Who has control, as the server told last.
    mine: bool,
    holder: Option<String>,
    looked: Instant,
    last_id: u64,
    /// The event at which the client had fallen behind.
    lagged_at: Option<u64>,
    /// A refusal that no event tells of, for the screen.
    news: Option<String>,
}

/// An open connection.
struct Line {
    sending: UnixStream,
    messages: Receiver<Outgoing>,
    /// Whether the events have been asked for: the journal has been read.
    subscribed: bool,
}

impl AttachFeed {
    /// Connects to the trainer of a run. The state is what is known before the feed's first event.
    ///
    /// # Errors
    /// When nobody works on it, or nobody answers.
    pub fn connect(dir: &RunDir, read_only: bool) -> Result<(Self, RunState)> {
        let line = Line::open(dir)?;
        let (tail, state, _) = series::open::open(dir.path());
        let feed = Self {
            dir: dir.clone(),
            read_only,
            tail,
            line: Some(line),
            mine: false,
            holder: None,
            looked: Instant::now() - LOOK_EVERY,
            last_id: 0,
            lagged_at: None,
            news: None,
        };
        Ok((feed, state))
    }

    fn say(&mut self, message: &Incoming) -> bool {
        use std::io::Write;
        let Some(line) = &mut self.line else {
            return false;
        };
        line.sending.write_all(message.to_line().as_bytes()).is_ok()
    }

    /// Reads the journal on. True at its end.
    fn read_on(&mut self, state: &mut RunState) -> Result<bool> {
        for item in self.tail.poll()? {
            match &item {
                // The socket may have told it already.
                TailItem::Event(event) if event.seq <= state.seq => {}
                _ => item.apply_to(state),
            }
        }
        Ok(self.tail.caught_up())
    }

    fn take(&mut self, message: Outgoing, state: &mut RunState) -> bool {
        match message {
            Outgoing::Event { event } => {
                if let Ok(event) = Event::from_line(&event.to_string())
                    && event.seq > state.seq
                {
                    state.apply(&event);
                }
            }
            Outgoing::Control { mine, holder } => {
                (self.mine, self.holder) = (mine, holder);
                state.version += 1;
            }
            // An answer of the trainer's is in its events, too; a refusal on the way there is not.
            Outgoing::Answer {
                applied: false,
                message,
                ..
            } => self.news = Some(message),
            Outgoing::Error { message } => {
                self.news = Some(message);
                return false;
            }
            Outgoing::Lagged { .. } => {
                self.lagged_at = Some(state.seq);
                return false;
            }
            Outgoing::Hello { .. } | Outgoing::Answer { .. } | Outgoing::Status { .. } => {}
        }
        true
    }

    /// Without a connection: follows the journal, and looks for a trainer now and then.
    fn without(&mut self, state: &mut RunState) -> Result<()> {
        if self.looked.elapsed() < LOOK_EVERY && !self.tail.wait(Duration::ZERO) {
            return Ok(());
        }
        self.looked = Instant::now();
        (self.mine, self.holder) = (false, None);
        if self.read_on(state)? {
            tail::settle(state, self.dir.path());
            // A run that is over has nothing more to say, though its process may still show its table.
            if !matches!(state.core.status, Status::Done | Status::Failed) {
                self.line = Line::open(&self.dir).ok();
            }
        }
        Ok(())
    }
}

impl Line {
    fn open(dir: &RunDir) -> Result<Self> {
        let (mut client, _) = Client::connect(dir, GREETING)?;
        let sending = client.sender().context("cannot use the control socket")?;
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
}

impl Drop for Line {
    fn drop(&mut self) {
        // The receiving thread wakes and ends.
        let _ = self.sending.shutdown(Shutdown::Both);
    }
}

impl Feed for AttachFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        let Some(line) = &self.line else {
            self.without(state)?;
            return Ok(true);
        };
        if !line.subscribed {
            if !self.read_on(state)? {
                return Ok(true);
            }
            let message = Incoming::Subscribe {
                after: state.seq,
                read_only: self.read_only,
                // The journal has brought nothing since: it cannot be written at present.
                skip: self.lagged_at == Some(state.seq),
            };
            let on = self.say(&message);
            match &mut self.line {
                Some(line) if on => line.subscribed = true,
                line => *line = None,
            }
        }
        for _ in 0..AT_ONCE {
            let Some(line) = &self.line else { break };
            match line.messages.try_recv() {
                Ok(message) => {
                    if !self.take(message, state) {
                        self.line = None;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.line = None,
            }
        }
        Ok(true)
    }

    fn send(&mut self, command: Command) -> bool {
        self.last_id += 1;
        let message = Incoming::Command {
            id: self.last_id,
            command,
            script: false,
        };
        self.say(&message)
    }

    fn read_only(&self) -> bool {
        let free = self.holder.is_none() && self.line.is_some();
        self.read_only || !(self.mine || free)
    }

    fn controller(&self) -> Option<String> {
        match self.mine {
            true => None,
            false => self.holder.clone(),
        }
    }

    fn take_control(&mut self) -> bool {
        !self.read_only && self.say(&Incoming::TakeControl)
    }

    fn news(&mut self) -> Option<String> {
        self.news.take()
    }

    fn is_behind(&self) -> bool {
        !self.tail.caught_up()
    }

    fn progress(&self) -> f64 {
        self.tail.progress()
    }
}
