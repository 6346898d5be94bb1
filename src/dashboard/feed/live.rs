//! A trainer in this process.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{AT_ONCE, Answer, Feed, Ticket};
use crate::dashboard::starting::Start;
use crate::run::command::{Answered, By, Command, Request};
use crate::run::control::hub::{Holder, Hub};
use crate::run::event::Event;
use crate::run::queue::{self, EventReceiver, Nothing};
use crate::run::state::RunState;

/// A trainer in this process. Events wait in a [bounded queue](queue) for a terminal that does not take frames.
pub struct LiveFeed {
    events: EventReceiver,
    commands: Sender<Request>,
    hub: Arc<Hub>,
    /// No event will come any more.
    ended: bool,
    last_ticket: u64,
    /// Commands that have no answer yet.
    unanswered: Vec<(Ticket, oneshot::Receiver<Answered>)>,
    start: Option<Arc<Start>>,
}

impl LiveFeed {
    /// Shows the start of the run until its trainer is at work.
    pub fn starting(mut self, start: Arc<Start>) -> Self {
        self.start = Some(start);
        self
    }

    /// A feed, and the observer that fills it. The observer never waits. `hub` knows who has control.
    pub fn new(
        commands: Sender<Request>,
        hub: Arc<Hub>,
    ) -> (Self, impl FnMut(&Event) + Send + use<>) {
        let (sender, events) = queue::bounded();
        let feed = Self {
            events,
            commands,
            hub,
            ended: false,
            last_ticket: 0,
            unanswered: Vec::new(),
            start: None,
        };
        (feed, move |event: &Event| sender.send(event))
    }
}

impl Feed for LiveFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        for _ in 0..AT_ONCE {
            match self.events.poll() {
                Ok(event) => state.apply(&event),
                Err(Nothing::Empty) => return Ok(true),
                Err(Nothing::Ended) => {
                    self.ended = true;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn send(&mut self, command: Command) -> Result<Ticket, String> {
        self.hub.may_command(Holder::Dashboard)?;
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
                // A trainer that ends lets go of commands before the last events have been read. Only once they have been
                // does the screen know that the run is over.
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
            Holder::Dashboard | Holder::Free => None,
            other => other.words(),
        }
    }

    fn take_control(&mut self) -> bool {
        self.hub.take_control(Holder::Dashboard);
        true
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        self.hub.leave(Holder::Dashboard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::attendance::Attendance;
    use crate::run::event::Body;

    #[test]
    fn a_dashboard_that_does_not_look_loses_metrics_alone_and_is_told_how_many() {
        let (commands, _requests) = std::sync::mpsc::channel();
        let hub = Hub::new(Attendance::new(true), RunState::default());
        let (mut feed, mut observer) = LiveFeed::new(commands, hub);
        let log = |i: u64| {
            let message = String::new();
            Event::numbered(i, Body::Log { message })
        };
        let waiting = queue::CAPACITY as u64;
        for i in 0..waiting + 7 {
            observer(&log(i));
        }
        let message = "kept".to_string();
        observer(&Event::numbered(waiting + 7, Body::Warning { message }));
        let mut state = RunState::default();
        assert!(feed.drain(&mut state).unwrap());
        // Seven found no room, and one made room for the warning.
        assert_eq!(state.dropped, 8);
        assert_eq!(state.notes.back().unwrap().text, "kept");
    }
}
