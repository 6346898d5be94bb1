//! The dashboard of one run: takes events and keys, draws frames, and sends commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossterm::event::KeyEvent;
use jiff::tz::TimeZone;

use super::alerts::Alerts;
use super::answers;
use super::around::Around;
use super::event_loop::{self, Screen};
use super::feed::Feed;
use super::glyphs::Glyphs;
use super::keymap;
use super::message::{Effect, Exit};
use super::neighbours::Verify;
use super::output::{OutputGuard, hold_output, redirect_output};
use super::pace::{Pace, cpu_time};
use super::scene::Scene;
use super::screen;
use super::session::{Facts, Session};
use super::starting::Starting;
use super::terminal::{Input, Job, Terminal};
use super::theme::Theme;
use super::title;
use super::update::{self, Desk};
use crate::failure::panic_words;
use crate::jobs;
use crate::run::dir::RunDir;
use crate::run::state::{RunState, Status};

/// Time between two checks for events while no key is pressed.
const TICK: Duration = Duration::from_millis(100);
/// Time after which a run in progress is redrawn because the ages of its evaluations and checkpoints have changed.
const AGES: Duration = Duration::from_secs(10);

/// Options of a dashboard.
#[derive(Debug, Clone)]
pub struct Options {
    pub theme: Theme,
    pub glyphs: Glyphs,
    /// The run's name; for a run that is being started, its planned name.
    pub title: String,
    /// File that takes stdout and stderr while the screen is shown.
    pub log: Option<PathBuf>,
    /// The run's directory.
    pub dir: Option<PathBuf>,
    pub verify: Verify,
    /// The effect on this process of suspending the screen.
    pub job: Job,
}

/// Shows a run until the operator leaves, the terminal is lost, or a requested stop is complete. `past` is the run's state
/// before the feed's first event.
///
/// # Errors
/// When the terminal cannot be taken over, the feed cannot be read, or drawing panics; the terminal is restored.
pub fn run(feed: &mut dyn Feed, options: &Options, past: RunState) -> Result<(Exit, RunState)> {
    // Unwinding restores the terminal. A panic of the dashboard must not end the training.
    let shown = catch_unwind(AssertUnwindSafe(|| show(feed, options, past)));
    shown.unwrap_or_else(|panic| Err(anyhow!("the dashboard panicked: {}", panic_words(&*panic))))
}

fn show(feed: &mut dyn Feed, options: &Options, past: RunState) -> Result<(Exit, RunState)> {
    // Dropped after the terminal, so that output from the start appears in the shell and not on the screen that is left.
    let mut output: Option<OutputGuard>;
    let mut terminal = Terminal::enter(options.job).context("the dashboard needs a terminal")?;
    let redirected = match feed.start() {
        Some(start) => hold_output(start.held()).map(Some),
        None => options.log.as_deref().map(redirect_output).transpose(),
    };
    output = redirected.context("cannot redirect stdout and stderr")?;
    let mut app = App::new(feed, options, past, output.as_mut());
    let exit = event_loop::drive(&mut app, &mut terminal)?;
    Ok((exit, app.session.run))
}

struct App<'a> {
    feed: &'a mut dyn Feed,
    options: &'a Options,
    output: Option<&'a mut OutputGuard>,
    desk: Desk,
    session: Session,
    around: Around,
    alerts: Alerts,
    zone: TimeZone,
    drawn: (u64, Instant),
    pace: Pace,
    /// Whether the events since the operator's last visit have been shown, or need not be.
    greeted: bool,
    /// The start that was drawn last.
    drawn_start: Option<Starting>,
    dirty: bool,
    /// Whether the screen is shown (it is not while it is suspended).
    seen: bool,
}

impl<'a> App<'a> {
    fn new(
        feed: &'a mut dyn Feed,
        options: &'a Options,
        past: RunState,
        output: Option<&'a mut OutputGuard>,
    ) -> Self {
        let facts = Facts {
            read_only: feed.read_only(),
            owner: feed.owns_run(),
            argument: match &options.dir {
                Some(dir) => RunDir::at(dir).argument(),
                None => options.title.clone(),
            },
            ..Facts::default()
        };
        Self {
            feed,
            options,
            output,
            desk: Desk::default(),
            session: Session::new(past, facts),
            around: Around::new(options.dir.as_deref(), options.verify),
            alerts: Alerts::default(),
            zone: TimeZone::system(),
            drawn: (u64::MAX, Instant::now()),
            pace: Pace::default(),
            greeted: false,
            drawn_start: None,
            dirty: true,
            seen: true,
        }
    }

    fn on_key(&mut self, key: &KeyEvent, terminal: &mut Terminal) -> Option<Exit> {
        let Session { run, facts, .. } = &self.session;
        for effect in update::on_key(&mut self.desk, facts, run, key, Instant::now()) {
            match effect {
                Effect::Detach => return Some(Exit::Detach),
                Effect::Close => return Some(Exit::Closed),
                Effect::ReplayCommand(steer) => self.feed.steer(steer),
                Effect::Freeze => self.session.toggle_freeze(),
                Effect::Redraw => terminal.clear(),
                Effect::Suspend => jobs::ask_to_suspend(),
                Effect::Copy(text) => terminal.copy(&text),
                Effect::LookAround => self.around.list(&mut self.session),
                Effect::Verify(name) => self.around.verify(&self.session, &name),
                Effect::Compare(name) => {
                    let (session, ui) = (&mut self.session, &mut self.desk.ui);
                    self.around.compare(session, ui, name.as_deref());
                }
                Effect::Send(command) => answers::send(&mut self.desk.ui, &mut *self.feed, command),
                Effect::TakeControl => {
                    let words = match self.feed.take_control() {
                        true => "control taken",
                        false => "control cannot be taken from here",
                    };
                    self.desk.ui.notice = Some(words.into());
                }
            }
        }
        None
    }

    /// Follows a start. Once the run exists, output is redirected to its log. Returns true if the start was stopped before there
    /// was a run.
    fn look_at_start(&mut self) -> std::io::Result<bool> {
        let Some(start) = self.feed.start() else {
            return Ok(false);
        };
        let now = start.look();
        self.session.facts.stopping = start.is_stopping();
        let known = &mut self.session.facts.starting;
        if now.is_none()
            && known.is_some()
            && let (Some(log), Some(output)) = (start.log(), &mut self.output)
        {
            output.move_to(log)?;
            self.dirty = true;
        }
        *known = now;
        let stopping = known.as_ref().is_some_and(|s| s.stopping);
        Ok(stopping && start.abandon())
    }

    /// Shows an operator who returns the events since the last visit, once all of the past has been read.
    fn greet(&mut self, now: Instant) {
        if !self.greeted && self.session.facts.loading.is_none() {
            self.greeted = true;
            let returns = self.feed.can_return();
            self.dirty |= returns && update::greet(&mut self.desk, &self.session.run, now);
        }
    }

    /// Updates who has control, which may change at any time.
    fn look_at_control(&mut self) {
        let (read_only, controller) = (self.feed.read_only(), self.feed.controller());
        let facts = &mut self.session.facts;
        if (read_only, &controller) != (facts.read_only, &facts.controller) {
            let is_free = controller.is_none() && !read_only && !self.feed.has_control();
            let former = facts.controller.take().filter(|_| is_free);
            if let Some(former) = former {
                self.desk.ui.notice = Some(format!("control is free: {former} has left"));
            }
            (facts.read_only, facts.controller) = (read_only, controller);
            self.dirty = true;
        }
        for answer in self.feed.answers() {
            let Session { run, facts, .. } = &self.session;
            answers::on_answer(&mut self.desk.ui, facts, run, answer);
            self.dirty = true;
        }
        if let Some(news) = self.feed.news() {
            self.desk.ui.notice = Some(news);
            self.dirty = true;
        }
    }
}

impl Screen for App<'_> {
    type Out = Exit;

    fn turn(&mut self, now: Instant) -> Result<Option<Exit>> {
        // Read before the events, so that the events of a start's end have been sent.
        if self.look_at_start()? {
            return Ok(Some(Exit::NotStarted));
        }
        let ended = self.session.facts.ended;
        if !ended && !self.feed.drain(&mut self.session.run)? {
            self.session.facts.ended = true;
            self.dirty = true;
        }
        if self.session.facts.ended && self.session.facts.starting.is_some() {
            return Ok(Some(Exit::NotStarted));
        }
        self.session.facts.loading = self.feed.is_behind().then(|| self.feed.progress());
        self.session.facts.replay = self.feed.playing();
        self.look_at_control();
        self.dirty |= self.around.look(&mut self.session, &mut self.desk.ui);
        self.dirty |= self.alerts.gather(self.feed.notices(), &self.session);
        self.greet(now);
        let Session { run, facts, .. } = &self.session;
        self.dirty |= update::on_run(&mut self.desk, facts, run, now);
        // When a run ends while the screen is suspended, the process must free the device; its result is printed after `fg`.
        if !self.seen && facts.owner && facts.ended && !ended {
            return Ok(Some(Exit::Closed));
        }
        let stopped = self.desk.ui.quitting || run.core.status == Status::Interrupted;
        Ok((facts.ended && stopped).then_some(Exit::Stopped))
    }

    fn wait(&self) -> Duration {
        match self.session.facts.loading {
            Some(_) => Duration::ZERO,
            None => TICK,
        }
    }

    /// Whether a frame must be drawn: at once after a key, a few times a second for new data, never if nothing has changed.
    fn is_due(&self, keeps_up: bool, now: Instant) -> bool {
        let (version, at) = self.drawn;
        let gap = self.pace.gap(keeps_up);
        let Session { run, facts, .. } = &self.session;
        // A replay's clock moves between events as well.
        let moves = facts.replay.as_ref().is_some_and(|r| r.playing);
        // The ages of a live run's last evaluation and checkpoint also change.
        let ages = now.duration_since(at) >= AGES && self.session.clock().is_some();
        let starts = facts.starting != self.drawn_start;
        let changed = moves || ages || starts || version != run.version;
        let changed = changed && !self.session.is_frozen();
        self.dirty || (changed && now.duration_since(at) >= gap)
    }

    fn draw(&mut self, terminal: &mut Terminal, now: Instant) {
        let rounds = self.session.run.core.rounds.len() as u64;
        match self.session.facts.starting {
            Some(_) => crate::fault::panic_at("starting", 0),
            None => crate::fault::panic_at("dashboard", rounds),
        }
        let before = cpu_time();
        let session = &self.session;
        let scopes = keymap::below(&self.desk.ui, &session.facts);
        let scene = Scene {
            run: session.shown(),
            facts: &session.facts,
            frozen: session.is_frozen(),
            status: session.run.core.status,
            ui: &self.desk.ui,
            tables: &self.desk.tables,
            scopes: &scopes,
            theme: &self.options.theme,
            glyphs: self.options.glyphs,
            title: session.name(&self.options.title),
            zone: &self.zone,
            clock: session.clock(),
        };
        terminal.set_title(&title::of(scene.run, scene.facts, scene.title));
        self.alerts.ring(terminal, session);
        let bytes = terminal.draw(|frame| screen::draw(frame, &scene, &self.desk.layers));
        match self.dirty {
            true => self.pace.drew_for_a_key(),
            false => self
                .pace
                .drew_data(bytes, cpu_time().saturating_sub(before)),
        }
        self.drawn = (session.run.version, now);
        self.drawn_start.clone_from(&session.facts.starting);
        self.dirty = false;
    }

    fn on_input(&mut self, input: Input, terminal: &mut Terminal) -> Option<Exit> {
        let facts = &self.session.facts;
        match input {
            Input::Hangup => Some(Exit::Hangup),
            // This process's trainer writes a checkpoint and ends, and the screen ends with it. A view of another process closes at once.
            Input::Stop => (!facts.owner || facts.ended).then_some(Exit::Closed),
            Input::Key(key) if facts.starting.is_some() => self.feed.start()?.on_key(&key),
            Input::Paste(_) if facts.starting.is_some() => None,
            Input::Key(key) => {
                self.dirty = true;
                self.feed.catch_up(&mut self.session.run);
                self.on_key(&key, terminal)
            }
            Input::Paste(text) => {
                self.dirty = true;
                update::on_paste(&mut self.desk, &text);
                None
            }
            Input::Resized | Input::Suspend | Input::Away | Input::Back => None,
        }
    }

    fn on_resize(&mut self) {
        // Updates the run also after the terminal was taken back, so that the frame shows its present state.
        self.feed.catch_up(&mut self.session.run);
        self.dirty = true;
    }

    fn on_seen(&mut self, seen: bool) {
        if std::mem::replace(&mut self.seen, seen) != seen {
            self.feed.set_seen(seen);
        }
    }

    fn on_refused(&mut self, why: String) {
        self.desk.ui.notice = Some(why);
        self.dirty = true;
    }
}
