//! Handles the answers to a screen's own commands.
//!
//! Other screens, scripts and policies command the same run. A screen that waits (for a decision, or for the end that it asked
//! for) stops waiting when its own command is refused, regardless of the others' commands.

use super::feed::{Answer, Feed, Ticket};
use super::session::{Facts, is_over};
use super::ui::Ui;
use crate::run::command::Command;
use crate::run::state::RunState;

/// Sends a command, and notes that its answer is awaited, or why it was not sent.
pub fn send(ui: &mut Ui, feed: &mut dyn Feed, command: Command) {
    match feed.send(command.clone()) {
        Ok(ticket) => on_sent(ui, ticket, command),
        Err(why) => on_not_sent(ui, &command, &why),
    }
}

fn on_sent(ui: &mut Ui, ticket: Ticket, command: Command) {
    ui.pending.push((ticket, command));
}

fn on_not_sent(ui: &mut Ui, command: &Command, why: &str) {
    stop_waiting(ui, command);
    ui.notice = Some(format!("not sent: {why}"));
}

/// Handles the answer to a command of this screen. The effects of an applied command come with the run's events; after a refused
/// command the screen stops waiting for its effect.
pub fn on_answer(ui: &mut Ui, facts: &Facts, run: &RunState, answer: Answer) {
    let sent = ui.pending.iter().position(|(t, _)| *t == answer.ticket);
    let Some(sent) = sent else { return };
    let (_, command) = ui.pending.remove(sent);
    if answer.applied {
        return;
    }
    let over = facts.ended || is_over(run.core.status);
    if over && command == Command::Quit {
        // The run has ended on its own, which the command asked for.
        return;
    }
    stop_waiting(ui, &command);
    ui.notice = Some(format!("{}: {}", command.describe(), answer.message));
}

/// Stops waiting for the effect of a command, unless an equal command is still unanswered.
fn stop_waiting(ui: &mut Ui, command: &Command) {
    if ui.pending.iter().any(|(_, other)| other == command) {
        return;
    }
    match command {
        Command::Decide => ui.awaiting = None,
        Command::Quit => ui.quitting = false,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use super::super::feed::LiveFeed;
    use super::super::update::{self, Desk};
    use super::*;
    use crate::run::command::{Answered, By, Request};
    use crate::run::control::hub::Hub;
    use crate::run::event::{Answer, Body, Event, Phase, PhaseEvent};
    use crate::run::journal::Observer;
    use crate::run::presence::Presence;
    use crate::run::shared::SharedRun;

    /// A dashboard's screen and feed, and the trainer's end of its commands.
    struct Bench {
        desk: Desk,
        facts: Facts,
        run: RunState,
        feed: LiveFeed,
        requests: Receiver<Request>,
        shared: Arc<SharedRun>,
        tell: Observer,
    }

    impl Bench {
        fn new() -> Self {
            let (commands, requests) = channel();
            let (shared, tell) = SharedRun::begin(RunState::default()).unwrap();
            let hub = Hub::new(Presence::new(true), Arc::clone(&shared));
            let feed = LiveFeed::new(Arc::clone(&shared), commands, hub);
            let mut bench = Self {
                desk: Desk::default(),
                facts: Facts::default(),
                run: RunState::default(),
                feed,
                requests,
                shared,
                tell,
            };
            // The screen waits for a decision only in rounds.
            let phase = Body::Phase(PhaseEvent {
                layers: 1,
                parameters: 1,
                steps: 10,
                start: crate::run::event::Start::Random,
                source_layers: Vec::new(),
                result: None,
                schedule: None,
                planned: Vec::new(),
            });
            let mut begin = Event::numbered(1, phase);
            begin.phase = Phase::Round(1);
            (bench.tell)(&begin);
            bench.wait_for(1);
            bench
        }

        fn ask(&mut self, command: Command) {
            match command {
                Command::Decide => self.desk.ui.awaiting = Some(None),
                Command::Quit => self.desk.ui.quitting = true,
                _ => {}
            }
            send(&mut self.desk.ui, &mut self.feed, command);
        }

        /// Answers a request as the trainer does: in the journal, then to its sender.
        fn answer(&mut self, request: Request, id: u64, applied: bool) {
            let message = format!("answer {id}");
            let body = Body::Answer(Answer {
                id,
                applied,
                message: message.clone(),
                change: None,
            });
            let mut event = Event::numbered(1 + id, body);
            event.phase = Phase::Round(1);
            (self.tell)(&event);
            if let Some(reply) = request.reply {
                let answered = Answered {
                    id,
                    applied,
                    message,
                };
                reply.send(answered).unwrap();
            }
        }

        /// Runs the loop until `events` events have been folded and copied.
        fn wait_for(&mut self, events: u64) {
            while self.shared.folded() < events || self.run.seq < events {
                std::thread::sleep(Duration::from_millis(1));
                self.look();
            }
            self.look();
        }

        /// Makes one turn of the dashboard's loop.
        fn look(&mut self) {
            self.facts.ended |= !self.feed.drain(&mut self.run).unwrap();
            for answer in self.feed.answers() {
                on_answer(&mut self.desk.ui, &self.facts, &self.run, answer);
            }
            update::on_run(&mut self.desk, &self.facts, &self.run, Instant::now());
        }
    }

    #[test]
    fn a_refusal_of_another_senders_command_ends_no_waiting_here() {
        let mut bench = Bench::new();
        bench.ask(Command::Decide);
        bench.ask(Command::Quit);
        // A script's command, refused between this screen's two and their answers.
        let mine: Vec<Request> = bench.requests.try_iter().collect();
        bench.answer(Request::new(By::Control, Command::Pause), 1, false);
        bench.wait_for(2);
        assert_eq!(bench.run.refusals, 1);
        assert!(bench.desk.ui.awaiting.is_some() && bench.desk.ui.quitting);
        assert_eq!(bench.desk.ui.notice, None);
        for (id, request) in (2..).zip(mine) {
            bench.answer(request, id, false);
            bench.wait_for(1 + id);
        }
        assert!(bench.desk.ui.awaiting.is_none() && !bench.desk.ui.quitting);
        let notice = bench.desk.ui.notice.as_deref();
        assert_eq!(notice, Some("checkpoint and quit: answer 3"));
        assert!(bench.desk.ui.pending.is_empty());
    }

    #[test]
    fn a_second_request_for_evidence_waits_on_after_the_first_is_refused() {
        let mut bench = Bench::new();
        bench.ask(Command::Decide);
        bench.ask(Command::Decide);
        let mine: Vec<Request> = bench.requests.try_iter().collect();
        for (id, request) in (1..).zip(mine) {
            bench.answer(request, id, id == 2);
            bench.wait_for(1 + id);
            assert!(bench.desk.ui.awaiting.is_some(), "after answer {id}");
        }
        assert!(bench.desk.ui.pending.is_empty());
    }

    #[test]
    fn a_trainer_that_ends_without_an_answer_has_done_what_a_quit_asked() {
        let mut bench = Bench::new();
        bench.ask(Command::Checkpoint);
        bench.ask(Command::Quit);
        bench.requests.try_iter().for_each(drop);
        bench.look();
        assert_eq!(bench.desk.ui.pending.len(), 2, "events may still come");
        bench.tell = Box::new(|_| ());
        while !bench.facts.ended {
            bench.look();
        }
        assert!(bench.desk.ui.quitting && bench.desk.ui.pending.is_empty());
        let notice = bench.desk.ui.notice.as_deref();
        assert_eq!(
            notice,
            Some("checkpoint: the trainer ended before it answered")
        );
    }

    #[test]
    fn a_command_that_is_not_sent_is_not_awaited() {
        let mut bench = Bench::new();
        bench.requests = channel().1;
        bench.ask(Command::Quit);
        assert!(!bench.desk.ui.quitting && bench.desk.ui.pending.is_empty());
        let notice = bench.desk.ui.notice.as_deref();
        assert_eq!(notice, Some("not sent: the trainer has ended"));
    }
}
