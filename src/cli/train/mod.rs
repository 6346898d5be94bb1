//! `heirloom train`: start or resume a run, with or without a dashboard.

mod args;
mod check;
mod data;
mod detached;
mod difference;
mod dry_run;
mod dtype;
mod eval_windows;
mod gpus;
mod head;
mod machine;
mod optimizer;
mod outline;
mod prepare;
mod printer;
mod progress;
mod ranks;
mod resume;
mod scale;
mod session;
mod sources;
mod tasks;
mod teachers;

use std::io::IsTerminal;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};

use anyhow::{Result, bail};

use crate::dashboard::plain::Role;
use crate::dashboard::starting::Start;
use crate::dashboard::{self, Exit};
use crate::fault;
use crate::run::command::Request;
use crate::run::control::hub::Hub;
use crate::run::control::server::Server;
use crate::run::dir::RunDir;
use crate::run::notify::command::Notifier;
use crate::run::presence::Leave;
use crate::run::state::{self, RunState};
use crate::run::table;
use crate::signals::Signalled;
use crate::threads;
use crate::train::{Ended, Setup};

use super::prompt::Terminal;
use super::{exit, say};
pub use args::Args;
use args::Show;
use check::Plan;
pub(super) use check::check_new;
pub(super) use data::open_data;
use prepare::{Parts, write_config};
use printer::Printing;
use progress::Progress;
use ranks::{Group, Joined};
use session::Session;

/// Stack of the thread that starts a run: as large as a main thread's usual stack.
const START_STACK: usize = 8 << 20;

impl Args {
    /// # Errors
    /// When the arguments, the config or the data are not usable (exit code 2), or training fails (1).
    pub fn run(mut self) -> Result<i32> {
        if let Some(code) = self.start_ranks()? {
            return Ok(code);
        }
        let group = match self.join()? {
            Joined::Alone => return self.run_one(None),
            Joined::Parted(code) => return Ok(code),
            Joined::Group(group) => group,
        };
        if group.leads() {
            let done = self.run_one(Some(&group));
            return group.finish(done);
        }
        Ok(self.follow(&group))
    }

    /// Trains as the only process, or as rank 0 of a `group`.
    fn run_one(&self, group: Option<&Group>) -> Result<i32> {
        if let Some(threads) = self.threads
            && threads == 0
        {
            bail!(exit::usage("--threads must be at least 1, is 0"));
        }
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        // The terminal belongs to the launcher.
        let terminal = terminal && group.is_none();
        let show = match (
            self.json,
            terminal && !self.global.ui.plain() && !self.dry_run,
        ) {
            _ if self.detach => Show::Nothing,
            (true, _) => Show::Json,
            (_, true) => Show::Dashboard,
            _ if terminal => Show::Prompts,
            _ => Show::Lines,
        };
        if matches!(show, Show::Dashboard | Show::Nothing) && !detached::is_child() {
            return detached::wait_for_child(show == Show::Dashboard);
        }
        threads::start_pool()?;
        if self.dry_run {
            let mut loaded = self.load().map_err(exit::input)?;
            let past = self.past_info().map_err(exit::input)?;
            let machine = self.machine(past.as_ref()).map_err(exit::input)?;
            let device = &machine.chosen.device;
            let dtype = self.resolve_dtype(&mut loaded.config, device, past.as_ref());
            let dtype = dtype.map_err(exit::input)?;
            self.check_resume(&loaded.config).map_err(exit::input)?;
            if let Some(note) = &dtype.note {
                say::err(note);
            }
            let reference = self.reference(&loaded.config).map_err(exit::input)?;
            let dataset = open_data(&loaded.config, reference.as_deref(), None, &say::report)
                .map_err(exit::input)?;
            let reference = reference.as_deref();
            let mut pinned = loaded.config.clone();
            let found = teachers::find(&mut pinned, &self.global.runs, &|_| {});
            let teachers = found.map_err(exit::input)?;
            let config = &pinned;
            teachers::check(config, reference, &dataset, &teachers).map_err(exit::input)?;
            return dry_run::run(
                config,
                reference,
                &dataset,
                &teachers,
                &machine,
                &dtype,
                self.asked(),
            )
            .map(|()| exit::OK);
        }
        let plan = self.check(show).map_err(exit::input)?;
        if let Some(group) = group {
            let opened = group.open(&plan, self.resume.is_some());
            opened.map_err(exit::input)?;
        }
        let (run, applied) = (Arc::clone(&plan.run), state::applied());
        let (ended, name) = match show {
            Show::Dashboard => self.with_dashboard(plan)?,
            Show::Nothing => self.in_background(plan)?,
            Show::Lines | Show::Prompts | Show::Json => {
                let (commands, hub) = (plan.commands.clone(), Arc::clone(&plan.hub));
                let prepared = self.prepare(plan, Progress::Lines, group);
                let (parts, setup) = prepared.map_err(exit::input)?;
                if let Some(group) = group {
                    group.begin(&setup);
                }
                if show != Show::Json {
                    // A closed pipe must not stop the training.
                    let _ = say::out(&self.head(&setup, &parts.dir, &parts.run));
                }
                let terminal = Terminal::new(&parts.dir, Role::Owner, show == Show::Prompts);
                let (sink, printing) = Printing::start(show, &terminal, &parts.run)?;
                parts.run.add_sink(sink);
                let session = self.start(setup)?;
                if show == Show::Prompts {
                    read_commands(&terminal, &parts, commands, hub);
                }
                let ended = session.join();
                drop((parts.server, parts.keeping));
                printing.finish();
                end_notifications(parts.notifier, &ended);
                (ended, parts.dir.name())
            }
        };
        // Reports counts to a test.
        if fault::is_at("count-folds", 0) {
            let (events, folds) = (run.folded(), state::applied() - applied);
            say::err(&format!("folded {events} events, {folds} times"));
        }
        Ok(match ended {
            Ended::Done => exit::OK,
            Ended::Stopped => exit::STOPPED,
            Ended::Preempted => exit::PREEMPTED,
            Ended::Lost(message) => {
                say::err(&format!("run {name} was stopped: {message}"));
                exit::PREEMPTED
            }
            Ended::Failed(message) => {
                say::err(&format!("run {name} failed: {message}"));
                exit::FAILED
            }
        })
    }

    /// Starts the trainer. Only then is a resumed run's config changed; the directory of a new run that cannot begin is removed.
    fn start(&self, setup: Setup) -> Result<Session> {
        let config = setup.config.clone();
        let handle = {
            let lock = setup.lock.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lock.handle())
        };
        let started = Session::start(setup);
        if self.resume.is_none() && started.is_err() {
            // If removing fails, the directory is a run without events, which does no harm.
            let _ = handle.remove();
        }
        let session = started?;
        if self.resume.is_some()
            && let Err(error) = write_config(&handle, &config)
        {
            say::err(&format!("{error:#}; the run continues"));
        }
        Ok(session)
    }

    /// Trains under a dashboard, which is already shown while texts are read and the model is built. Training continues when the
    /// dashboard ends (on detaching, or when the terminal is lost). Returns how training ended, and the run's name.
    fn with_dashboard(&self, plan: Plan) -> Result<(Ended, String)> {
        let (signalled, past) = (Arc::clone(&plan.signalled), plan.run.with(RunState::clone));
        let start = Start::new(
            plan.facts(),
            Arc::clone(&signalled),
            detached::held_output(),
        );
        let (file, bytes) = &plan.reads;
        start.show_reading(file, 0, *bytes);
        let (run, hub) = (Arc::clone(&plan.run), Arc::clone(&plan.hub));
        let feed = dashboard::LiveFeed::new(run, plan.commands.clone(), hub);
        let mut feed = feed.starting(Arc::clone(&start));
        let dir = plan.dir(&self.global.runs);
        let mut options = self.global.ui.options(&plan.name(), Some(&dir), None);
        options.job = dashboard::Job::WorksOn(detached::report_screen);
        std::thread::scope(|scope| {
            signalled.enter_screen();
            let thread = std::thread::Builder::new()
                .name("start".into())
                .stack_size(START_STACK);
            let start = &*start;
            let thread = thread
                .spawn_scoped(scope, move || self.begin(plan, start))
                .map_err(|why| threads::refused("the thread \"start\"", &why))?;
            let shown = dashboard::run(&mut feed, &options, past);
            drop(feed);
            detached::hold_words_behind();
            match shown {
                Ok((Exit::NotStarted, _)) => signalled.end_if_abandoned(),
                _ => signalled.leave_screen(),
            }
            let (session, parts) = match thread.join() {
                Ok(begun) => begun?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let name = parts.dir.name();
            Ok((after_dashboard(shown, session, parts, &signalled), name))
        })
    }

    /// Does everything between the checks and the trainer's first step, under a screen that shows the progress.
    fn begin(&self, plan: Plan, start: &Start) -> Result<(Session, Parts)> {
        let prepared = self.prepare(plan, Progress::Screen(start), None);
        let (parts, setup) = prepared.map_err(exit::input)?;
        let session = self.start(setup)?;
        start.finish(&parts.dir.log());
        Ok((session, parts))
    }

    /// Trains in the background: the command that the shell waits for ends once training has begun.
    fn in_background(&self, plan: Plan) -> Result<(Ended, String)> {
        let signalled = Arc::clone(&plan.signalled);
        let prepared = self.prepare(plan, Progress::Lines, None);
        let (parts, setup) = prepared.map_err(exit::input)?;
        let head = self.head(&setup, &parts.dir, &parts.run);
        let session = self.start(setup)?;
        let _ = say::out(&farewell(&parts, &signalled));
        detached::leave_terminal(&parts.dir.log());
        // From here on stdout is the log.
        let _ = say::out(&head);
        let ended = session.join();
        drop((parts.server, parts.keeping));
        end_notifications(parts.notifier, &ended);
        Ok((ended, parts.dir.name()))
    }
}

/// Waits for the notification of the run's end. A process that was asked to stop does not wait.
fn end_notifications(notifier: Option<Notifier>, ended: &Ended) {
    if let Some(notifier) = notifier {
        notifier.finish(matches!(ended, Ended::Done | Ended::Failed(_)));
    }
}

/// Reads the operator's commands from a plain terminal.
fn read_commands(
    terminal: &Arc<Terminal>,
    parts: &Parts,
    commands: Sender<Request>,
    hub: Arc<Hub>,
) {
    let feed = dashboard::LiveFeed::new(Arc::clone(&parts.run), commands, hub).at_prompt();
    let run = Arc::clone(&parts.run);
    let presence = Arc::clone(&parts.presence);
    let look = move || run.with(RunState::clone);
    let started = terminal.read(Box::new(feed), look, move |how| presence.leave(how));
    if let Err(refused) = started {
        parts.presence.leave(Leave::InputEnded);
        say::err(&format!(
            "no commands are read from the terminal: {refused}"
        ));
    }
}

/// Waits for the trainer's end. If the dashboard has ended earlier, the shell continues in the meantime.
fn after_dashboard(
    shown: Result<(Exit, RunState)>,
    session: Session,
    parts: Parts,
    signalled: &Signalled,
) -> Ended {
    let left = match shown {
        // A start that failed has no session.
        Ok((Exit::Closed | Exit::Stopped | Exit::NotStarted, state)) => {
            let ended = session.join();
            drop((parts.server, parts.keeping));
            let _ = say::out(&parting(&state, &parts.dir, &ended));
            end_notifications(parts.notifier, &ended);
            return ended;
        }
        Ok((Exit::Detach, _)) => {
            let _ = say::out(&farewell(&parts, signalled));
            Leave::Detached
        }
        // The terminal that would show a message is gone.
        Ok((Exit::Hangup, _)) => Leave::HungUp,
        Err(error) => {
            say::err(&format!(
                "{error:#}; training continues without the dashboard"
            ));
            let _ = say::out(&farewell(&parts, signalled));
            Leave::Failed
        }
    };
    parts.presence.leave(left);
    detached::leave_terminal(&parts.dir.log());
    let ended = session.join();
    drop((parts.server, parts.keeping));
    end_notifications(parts.notifier, &ended);
    ended
}

/// Returns the message for a training that continues without a dashboard, or is about to stop.
fn farewell(parts: &Parts, signalled: &Signalled) -> String {
    // Whether attach and ctl can reach the run.
    let is_reachable = parts.server.as_ref().is_some_and(Server::is_reachable);
    detached::farewell(&parts.dir, is_reachable, signalled.stop())
}

/// Returns the text that is printed in the shell when a dashboard is closed.
fn parting(state: &RunState, dir: &RunDir, ended: &Ended) -> String {
    match ended {
        Ended::Done => table::text(state),
        _ => format!(
            "run {} stopped; resume: heirloom train --resume {}\n",
            dir.name(),
            dir.argument()
        ),
    }
}
