//! Follows a trainer in this process.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Answer, Feed, Ticket};
use crate::dashboard::starting::Start;
use crate::run::command::{Answered, By, Command, Request};
use crate::run::control::hub::{Controller, Hub};
use crate::run::notify::{Notice, recognise::Listener};
use crate::run::presence::Leave;
use crate::run::shared::SharedRun;
use crate::run::state::RunState;

/// Copying the state takes at most this fraction (1 in 500) of the time: less than half of a dashboard's budget of CPU time.
const COPYING_PART: u32 = 500;
/// Longest time between two copies, about that between two frames, even if a copy has taken unusually long.
const COPY_EVERY: Duration = Duration::from_millis(200);

/// A feed of a trainer in this process, whose events another thread folds.
pub struct LiveFeed {
    run: Arc<SharedRun>,
    commands: Sender<Request>,
    hub: Arc<Hub>,
    /// When the state may be copied again.
    next_copy: Instant,
    /// Whether all events have come.
    ended: bool,
    last_ticket: u64,
    /// Commands without an answer.
    unanswered: Vec<(Ticket, oneshot::Receiver<Answered>)>,
    start: Option<Arc<Start>>,
    /// Notes when the operator leaves without ending the run, and returns.
    absence: Leave,
    listener: Arc<Mutex<Listener>>,
}

impl LiveFeed {
    /// Shows the start of the run until its trainer begins.
    pub fn starting(mut self, start: Arc<Start>) -> Self {
        self.start = Some(start);
        self
    }

    /// Serves a plain terminal, which has no screen.
    pub fn at_prompt(mut self) -> Self {
        self.absence = Leave::Behind;
        self
    }

    /// Makes a feed of `run`, whose trainer receives `commands`. `hub` knows who has control.
    pub fn new(run: Arc<SharedRun>, commands: Sender<Request>, hub: Arc<Hub>) -> Self {
        let listener = Arc::new(Mutex::new(run.with(Listener::new)));
        let listening = Arc::clone(&listener);
        run.add_sink(Box::new(move |run, event| {
            let mut listener = listening.lock().unwrap_or_else(PoisonError::into_inner);
            listener.listen(run, event);
        }));
        Self {
            listener,
            run,
            commands,
            hub,
            next_copy: Instant::now(),
            ended: false,
            last_ticket: 0,
            unanswered: Vec::new(),
            start: None,
            absence: Leave::Suspended,
        }
    }
}

impl Feed for LiveFeed {
    /// Copies the state, so that drawing a frame delays neither the fold nor the trainer.
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        let begun = Instant::now();
        if begun >= self.next_copy {
            self.ended = !self.run.copy_to(state);
            let wait = COPYING_PART * begun.elapsed();
            self.next_copy = Instant::now() + wait.min(COPY_EVERY);
        }
        Ok(!self.ended)
    }

    fn catch_up(&mut self, state: &mut RunState) {
        // The next `drain` notices whether the events have ended.
        self.run.copy_to(state);
    }

    fn send(&mut self, command: Command) -> Result<Ticket, String> {
        self.hub.may_command(Controller::Dashboard)?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            reply: Some(reply),
            ..Request::new(By::Keyboard, command)
        };
        let sent = self.commands.send(request);
        sent.map_err(|_| "the trainer has ended".to_string())?;
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.unanswered.push((ticket, answer));
        Ok(ticket)
    }

    fn answers(&mut self) -> Vec<Answer> {
        let (mut answers, ended) = (Vec::new(), self.ended);
        self.unanswered.retain_mut(|(ticket, answer)| {
            let (applied, message) = match answer.try_recv() {
                Ok(answer) => (answer.applied, answer.message),
                // A trainer that ends drops its commands before its last events have been read. The screen knows that the
                // run is over only after it has read them.
                Err(TryRecvError::Closed) if ended => {
                    (false, "the trainer ended before it answered".into())
                }
                Err(_) => return true,
            };
            answers.push(Answer {
                ticket: *ticket,
                applied,
                message,
            });
            false
        });
        answers
    }

    fn notices(&mut self) -> Option<Vec<Notice>> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        Some(listener.take())
    }

    fn read_only(&self) -> bool {
        self.controller().is_some()
    }

    fn owns_run(&self) -> bool {
        true
    }

    fn start(&self) -> Option<&Start> {
        self.start.as_deref()
    }

    fn controller(&self) -> Option<String> {
        match self.hub.holder() {
            Controller::Dashboard | Controller::Free => None,
            Controller::Client { .. } => self.hub.holder_words(),
        }
    }

    /// Gives up control while the screen is suspended, because it cannot answer.
    fn set_seen(&mut self, seen: bool) {
        let attendance = self.hub.attendance();
        match seen {
            true => attendance.come_back(self.absence),
            false => {
                attendance.leave(self.absence);
                self.hub.leave(Controller::Dashboard);
            }
        }
    }

    fn take_control(&mut self) -> bool {
        self.hub.take_control(Controller::Dashboard);
        true
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        self.hub.leave(Controller::Dashboard);
    }
}
