//! `heirloom attach --plain`: lines for what happens in a training that runs elsewhere, and commands that are typed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::prompt::Terminal;
use crate::cli::say;
use crate::dashboard::plain::{Answers, Role};
use crate::dashboard::{Answer, AttachFeed, Feed, Ticket};
use crate::run::command::Command;
use crate::run::dir::RunDir;
use crate::run::event::{self, Body};
use crate::run::lock::RunLock;
use crate::run::show;
use crate::run::state::{RunState, Status};
use crate::run::table;

/// Time between two looks at the connection.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A connection and the run as it has been read from it: one thread prints, another one sends.
struct Attached {
    feed: AttachFeed,
    run: RunState,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Attached>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Attached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Implements what the thread that reads the terminal needs of a feed. It only sends commands; the other thread drains events.
impl Feed for Shared {
    fn drain(&mut self, _: &mut RunState) -> Result<bool> {
        Ok(true)
    }

    fn send(&mut self, command: Command) -> Result<Ticket, String> {
        self.lock().feed.send(command)
    }

    fn read_only(&self) -> bool {
        self.lock().feed.read_only()
    }

    fn take_control(&mut self) -> bool {
        self.lock().feed.take_control()
    }

    fn set_seen(&mut self, seen: bool) {
        self.lock().feed.set_seen(seen);
    }
}

/// Prints lines until the run is over, nothing works on it any more, or the input ends. Returns the run as it was then.
///
/// # Errors
/// When the run's process cannot be reached or its journal cannot be read.
pub fn run(dir: &RunDir, read_only: bool) -> Result<RunState> {
    let (feed, past) = AttachFeed::connect(dir, read_only)?;
    let shared = Shared(Arc::new(Mutex::new(Attached { feed, run: past })));
    let role = match read_only {
        true => Role::Reader,
        false => Role::Attached,
    };
    let terminal = Terminal::new(dir, role, true);
    let lines = terminal.lines();
    read_past(&shared)?;
    {
        let attached = shared.lock();
        let run = &attached.run;
        say::out(&format!("{}\n", show::status(run, dir)))?;
        if let Some(text) = lines.of_past(run) {
            say::out(&format!("{text}\n"))?;
        }
        let open = lines.of_present(run, answers(&attached.feed, &terminal));
        if let Some(text) = &open.text {
            say::out(&format!("{text}\n"))?;
        }
        if let Some(decision) = open.offered {
            terminal.offer(run.seq, decision);
            terminal.shown(run.seq);
        }
    }
    let (tell, left) = mpsc::channel();
    let look = {
        let shared = shared.clone();
        move || shared.lock().run.clone()
    };
    let reading = terminal
        .read(Box::new(shared.clone()), look, move |how| {
            let _ = tell.send(how);
        })
        .context("no commands can be read from the terminal")?;
    let mut known = Known::default();
    while !follow(&shared, dir, &terminal, &mut known)? {
        if left.recv_timeout(LOOK_EVERY).is_ok() {
            // The reading thread has ended, so it prints the commands that answer an open decision from another shell.
            let _ = reading.join();
            break;
        }
    }
    let run = shared.lock().run.clone();
    Ok(run)
}

/// Holds what has already been printed, so that each fact is printed once.
#[derive(Default)]
struct Known {
    /// Who has control, when it is another client.
    controller: Option<String>,
    /// Reason of the last refused command, from its event.
    refusal: Option<String>,
}

/// Returns the ways to answer a decision. A client without control is offered commands instead of numbers.
fn answers<'a>(feed: &AttachFeed, terminal: &'a Terminal) -> Answers<'a> {
    match feed.controller() {
        Some(_) => terminal.commands(),
        None => terminal.answers(),
    }
}

/// Reads what has happened until now.
fn read_past(shared: &Shared) -> Result<()> {
    loop {
        let mut attached = shared.lock();
        let Attached { feed, run } = &mut *attached;
        feed.drain(run)?;
        if !feed.is_behind() {
            return Ok(());
        }
    }
}

/// Prints what has happened since the last call. True at the run's end.
fn follow(shared: &Shared, dir: &RunDir, terminal: &Terminal, known: &mut Known) -> Result<bool> {
    let (mut text, mut seq) = (Vec::new(), 0);
    // Asked before the journal is read, so that nothing written at the end is missed.
    let is_live = RunLock::is_live(dir.path());
    let lines = terminal.lines();
    let over = {
        let mut attached = shared.lock();
        let Attached { feed, run } = &mut *attached;
        let offered = answers(feed, terminal);
        feed.follow(run, &mut |run, event| {
            let printed = lines.of_event(run, event, offered);
            text.extend(printed.text);
            seq = event.seq;
            if let Body::Answer(event::Answer {
                applied: false,
                message,
                ..
            }) = &event.body
            {
                known.refusal = Some(message.clone());
            }
            if let Some(offered) = printed.offered {
                terminal.offer(event.seq, offered);
            }
        })?;
        // A refusal by the trainer is printed from its event. A command that did not reach the trainer has no event.
        let unsaid =
            |answer: &Answer| !answer.applied && known.refusal.as_ref() != Some(&answer.message);
        let refused = feed.answers().into_iter().filter(unsaid);
        text.extend(refused.map(|answer| lines.now(&format!("refused: {}", answer.message))));
        text.extend(feed.news().map(|news| lines.now(&news)));
        let now = feed.controller();
        if now != known.controller {
            text.push(lines.now(&match &now {
                Some(name) => format!("{name} has control; take-control to take over"),
                None => "you have control, or no client has it".to_string(),
            }));
            known.controller = now;
        }
        let ended = [Status::Done, Status::Failed, Status::Interrupted];
        let over = ended.contains(&run.core.status) || !(is_live || feed.is_connected());
        if over {
            text.push(format!("\n{}", table::text(run).trim_end_matches('\n')));
        }
        over
    };
    for text in text {
        say::out(&format!("{text}\n"))?;
    }
    terminal.shown(seq);
    Ok(over)
}
