//! Follows a run that another process of this machine trains: reads its past from the journal, and its present from the socket.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::line::Line;
use super::{Answer, Feed, Ticket};
use crate::run::command::Command;
use crate::run::control::protocol::{Incoming, Outgoing};
use crate::run::dir::RunDir;
use crate::run::event::Event;
use crate::run::notify::{Notice, recognise::Listener};
use crate::run::series;
use crate::run::state::{RunState, Status};
use crate::run::tail::{self, Tail, TailItem};

/// Most events folded before keys are read again.
const AT_ONCE: usize = 20_000;
/// Time between two reads of the journal, and between two attempts to connect, while disconnected.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A feed over the control socket. Without a connection it follows the journal, and it connects again once a trainer works on
/// the run and the screen is shown.
pub struct AttachFeed {
    dir: RunDir,
    read_only: bool,
    /// Whether the screen is shown (it is not while it is suspended).
    seen: bool,
    tail: Tail,
    line: Option<Line>,
    /// A connection in progress: the server may take seconds to accept and to greet.
    connecting: Option<Receiver<Result<Line>>>,
    /// Time of the last attempt to connect.
    tried: Instant,
    /// Whether this client has control, by the server's last message.
    mine: bool,
    controller: Option<String>,
    looked: Instant,
    last_id: u64,
    /// Commands without an answer, and answers that have not been fetched.
    unanswered: Vec<Ticket>,
    answers: Vec<Answer>,
    /// The last event before the server had to skip some because this client was slow.
    lagged_at: Option<u64>,
    /// Message for the screen: why the server has closed the connection.
    news: Option<String>,
    listener: Listener,
    /// Whether the journal has been read to its end once: later events are of the present.
    past_read: bool,
}

/// A function that is called with each event of the present, and the state after it.
pub type Each<'a> = dyn FnMut(&RunState, &Event) + 'a;

impl AttachFeed {
    /// Connects to the trainer of a run. Returns the feed, and the run's state before the feed's first event.
    ///
    /// # Errors
    /// When no process works on the run, or the process does not answer.
    pub fn connect(dir: &RunDir, read_only: bool) -> Result<(Self, RunState)> {
        let line = Line::open(dir)?;
        let (tail, state, _) = series::open::open(dir.path());
        let feed = Self {
            listener: Listener::new(&state),
            dir: dir.clone(),
            read_only,
            seen: true,
            tail,
            line: Some(line),
            connecting: None,
            tried: Instant::now() - LOOK_EVERY,
            mine: false,
            controller: None,
            looked: Instant::now() - LOOK_EVERY,
            last_id: 0,
            unanswered: Vec::new(),
            answers: Vec::new(),
            lagged_at: None,
            news: None,
            past_read: false,
        };
        Ok((feed, state))
    }

    /// Whether the run's process is connected.
    pub fn is_connected(&self) -> bool {
        self.line.is_some()
    }

    /// Folds the events since the last call. Calls `each` for events of the present: those after the first call's end.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn follow(&mut self, state: &mut RunState, each: &mut Each<'_>) -> Result<()> {
        if self.line.is_none() {
            self.without(state, each)?;
        }
        let Some(line) = &self.line else {
            return Ok(());
        };
        if !line.subscribed {
            if !self.read_on(state, each)? {
                return Ok(());
            }
            let message = Incoming::Subscribe {
                after: state.seq,
                read_only: self.read_only,
                // The journal has no newer event: it cannot be written at present.
                skip: self.lagged_at == Some(state.seq),
            };
            if self.say(&message)
                && let Some(line) = &mut self.line
            {
                line.subscribed = true;
            }
        }
        for _ in 0..AT_ONCE {
            let Some(line) = &self.line else { break };
            match line.messages.try_recv() {
                Ok(message) => {
                    if !self.take(message, state, each) {
                        self.hang_up();
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.hang_up(),
            }
        }
        Ok(())
    }

    /// Sends a message. Returns false if the server does not take it at once. That ends the connection, because part of the
    /// message may have been sent.
    fn say(&mut self, message: &Incoming) -> bool {
        use std::io::Write;
        let sent = match &mut self.line {
            Some(line) => line.sending.write_all(message.to_line().as_bytes()),
            None => return false,
        };
        if sent.is_err() {
            self.hang_up();
        }
        sent.is_ok()
    }

    /// Reads more of the journal. Returns true at its end.
    fn read_on(&mut self, state: &mut RunState, each: &mut Each<'_>) -> Result<bool> {
        for item in self.tail.poll()? {
            match &item {
                // The event may have come over the socket already.
                TailItem::Event(event) if event.seq <= state.seq => {}
                TailItem::Event(event) => {
                    item.apply_to(state);
                    if self.past_read {
                        each(state, event);
                    }
                }
                _ => item.apply_to(state),
            }
        }
        // Events from the journal are of the past, and cause no notices.
        self.listener.skip(state);
        self.past_read |= self.tail.caught_up();
        Ok(self.tail.caught_up())
    }

    fn take(&mut self, message: Outgoing, state: &mut RunState, each: &mut Each<'_>) -> bool {
        match message {
            Outgoing::Event { event } => {
                if let Ok(event) = Event::from_line(&event.to_string())
                    && event.seq > state.seq
                {
                    state.apply(&event);
                    self.listener.listen(state, &event);
                    each(state, &event);
                }
            }
            Outgoing::Control { mine, holder } => {
                (self.mine, self.controller) = (mine, holder);
                state.version += 1;
            }
            Outgoing::Answer {
                id,
                applied,
                message,
            } => self.settle(Ticket(id), applied, message),
            Outgoing::Error { message } => {
                self.news = Some(message);
                return false;
            }
            Outgoing::Lagged { .. } => {
                self.lagged_at = Some(state.seq);
                return false;
            }
            Outgoing::Hello { .. } | Outgoing::Status { .. } => {}
        }
        true
    }

    /// Keeps the answer to a command of this client for the screen. Other answers are ignored.
    fn settle(&mut self, ticket: Ticket, applied: bool, message: String) {
        let before = self.unanswered.len();
        self.unanswered.retain(|open| *open != ticket);
        if self.unanswered.len() < before {
            self.answers.push(Answer {
                ticket,
                applied,
                message,
            });
        }
    }

    /// Ends the connection. Commands without an answer get one that their result is unknown.
    fn hang_up(&mut self) {
        self.line = None;
        (self.mine, self.controller) = (false, None);
        for ticket in std::mem::take(&mut self.unanswered) {
            self.answers.push(Answer {
                ticket,
                applied: false,
                message: "the connection ended before the answer came; the run's events show whether it was done".into(),
            });
        }
    }

    /// Follows the journal without a connection, and tries to connect at intervals.
    fn without(&mut self, state: &mut RunState, each: &mut Each<'_>) -> Result<()> {
        if let Some(connecting) = &self.connecting {
            match connecting.try_recv() {
                Ok(Ok(line)) => {
                    (self.line, self.connecting) = (Some(line), None);
                    return Ok(());
                }
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => self.connecting = None,
                Err(TryRecvError::Empty) => {}
            }
        }
        if self.looked.elapsed() < LOOK_EVERY && !self.tail.wait(Duration::ZERO) {
            return Ok(());
        }
        self.looked = Instant::now();
        if self.read_on(state, each)? {
            tail::settle(state, self.dir.path());
            // A run that is over sends no more events, although its process may still show its table.
            let over = matches!(state.core.status, Status::Done | Status::Failed);
            let wanted = self.seen && !over && self.connecting.is_none();
            if wanted && self.tried.elapsed() >= LOOK_EVERY {
                self.tried = Instant::now();
                self.connecting = Line::open_aside(&self.dir);
            }
        }
        Ok(())
    }
}

impl Feed for AttachFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        self.follow(state, &mut |_, _| {})?;
        Ok(true)
    }

    fn send(&mut self, command: Command) -> Result<Ticket, String> {
        if self.read_only {
            return Err("this dashboard is read-only".into());
        }
        if self.line.is_none() {
            return Err("not connected to the run's process".into());
        }
        self.last_id += 1;
        let message = Incoming::Command {
            id: self.last_id,
            command,
            script: false,
        };
        if !self.say(&message) {
            return Err("the run's process reads no commands; connecting again".into());
        }
        let ticket = Ticket(self.last_id);
        self.unanswered.push(ticket);
        Ok(ticket)
    }

    fn can_return(&self) -> bool {
        true
    }

    fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn notices(&mut self) -> Option<Vec<Notice>> {
        Some(self.listener.take())
    }

    fn read_only(&self) -> bool {
        let free = self.controller.is_none() && self.line.is_some();
        self.read_only || !(self.mine || free)
    }

    fn controller(&self) -> Option<String> {
        match self.mine {
            true => None,
            false => self.controller.clone(),
        }
    }

    fn has_control(&self) -> bool {
        self.mine
    }

    fn take_control(&mut self) -> bool {
        !self.read_only && self.say(&Incoming::TakeControl)
    }

    fn news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// Ends the connection when the screen is suspended, because it cannot answer; that also gives up control. Connects at once
    /// when the screen is shown again.
    fn set_seen(&mut self, seen: bool) {
        self.seen = seen;
        if seen {
            let past = Instant::now() - LOOK_EVERY;
            (self.looked, self.tried) = (past, past);
        } else {
            self.connecting = None;
            self.hang_up();
        }
    }

    fn is_behind(&self) -> bool {
        !self.tail.caught_up()
    }

    fn progress(&self) -> f64 {
        self.tail.progress()
    }
}
