//! The loop: input, events, frames.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use jiff::tz::TimeZone;

use super::curve::Curve;
use super::feed::Feed;
use super::glyphs::Glyphs;
use super::terminal::{Input, Terminal, redirect_output};
use super::theme::Theme;
use super::update::{self, Effect, Ui};
use super::view;
use crate::run::state::{RunState, Status};

/// How often events are looked for when no key comes.
const TICK: Duration = Duration::from_millis(50);
/// At most so many frames for data; keys draw at once.
const FRAME_GAP: Duration = Duration::from_millis(250);
/// The same when the terminal does not keep up.
const SLOW_GAP: Duration = Duration::from_secs(1);
/// Resizes are gathered for this long.
const RESIZE_GAP: Duration = Duration::from_millis(50);

/// Why a dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The operator leaves; training goes on.
    Detach,
    /// The run is over, or the view owns nothing.
    Closed,
    /// The terminal is gone; training goes on.
    Hangup,
    /// The trainer has stopped before the run's end: it was asked to, by the operator or by a signal.
    Stopped,
}

/// How a dashboard looks and where stray output goes.
#[derive(Debug, Clone)]
pub struct Options {
    pub theme: Theme,
    pub glyphs: Glyphs,
    /// The run's name, until an event tells it.
    pub title: String,
    /// Stdout and stderr go here while the screen is up.
    pub log: Option<PathBuf>,
}

/// Shows a run until the operator leaves, the terminal goes, or a stop that was asked for has happened. `past` is what
/// is known of the run before the feed's first event.
///
/// # Errors
/// When the terminal cannot be taken over, the feed cannot be read, or drawing panics; the terminal is restored.
pub fn run(feed: &mut dyn Feed, options: &Options, past: RunState) -> Result<(Exit, RunState)> {
    // Unwinding gives the terminal back on its way; the training is none of a view's business.
    let shown = catch_unwind(AssertUnwindSafe(|| show(feed, options, past)));
    shown.unwrap_or_else(|panic| Err(anyhow!("the dashboard panicked: {}", panic_words(&*panic))))
}

/// A panic's message.
pub fn panic_words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

fn show(feed: &mut dyn Feed, options: &Options, past: RunState) -> Result<(Exit, RunState)> {
    let mut terminal = Terminal::enter().context("the dashboard needs a terminal")?;
    let output = options.log.as_deref().map(redirect_output).transpose();
    let _output = output.context("cannot set the shell's output aside")?;
    let mut app = App::new(feed, past);
    let exit = app.run(feed, options, &mut terminal)?;
    Ok((exit, app.state))
}

struct App {
    ui: Ui,
    state: RunState,
    curve: Curve,
    zone: TimeZone,
    drawn: (u64, Instant),
    dirty: bool,
}

impl App {
    fn new(feed: &dyn Feed, state: RunState) -> Self {
        let ui = Ui {
            read_only: feed.read_only(),
            owner: feed.owns_run(),
            ..Ui::default()
        };
        Self {
            ui,
            state,
            curve: Curve::default(),
            zone: TimeZone::system(),
            drawn: (u64::MAX, Instant::now() - FRAME_GAP),
            dirty: true,
        }
    }

    fn run(
        &mut self,
        feed: &mut dyn Feed,
        options: &Options,
        terminal: &mut Terminal,
    ) -> Result<Exit> {
        loop {
            if !self.ui.ended && !feed.drain(&mut self.state)? {
                self.ui.ended = true;
                self.dirty = true;
            }
            self.ui.loading = feed.is_behind().then(|| feed.progress());
            self.ui.replay = feed.playing();
            self.look_at_control(feed);
            let now = Instant::now();
            update::on_run(&mut self.ui, &self.state, now);
            let stopped = self.ui.quitting || self.state.core.status == Status::Interrupted;
            if self.ui.ended && stopped {
                return Ok(Exit::Stopped);
            }
            if self.due(terminal, now) {
                self.draw(options, terminal, now);
            }
            let wait = if self.ui.loading.is_some() {
                Duration::ZERO
            } else {
                TICK
            };
            for input in terminal.inputs(wait) {
                match input {
                    Input::Hangup => return Ok(Exit::Hangup),
                    // The trainer heeds it, and its end is this screen's; a view of another process just ends.
                    Input::Stop if !self.ui.owner || self.ui.ended => return Ok(Exit::Closed),
                    Input::Stop => {}
                    Input::Resized => {
                        // A dragged window sends many: one frame for a burst.
                        std::thread::sleep(RESIZE_GAP);
                        self.dirty = true;
                    }
                    Input::Key(key) => {
                        self.dirty = true;
                        for effect in
                            update::on_key(&mut self.ui, &self.state, &key, Instant::now())
                        {
                            match effect {
                                Effect::Detach => return Ok(Exit::Detach),
                                Effect::Close => return Ok(Exit::Closed),
                                Effect::Steer(steer) => feed.steer(steer),
                                Effect::Send(command) => {
                                    if !feed.send(command) {
                                        (self.ui.awaiting, self.ui.quitting) = (None, false);
                                        self.ui.notice = Some(
                                            "not sent: the trainer has ended, or another has control"
                                                .into(),
                                        );
                                    }
                                }
                                Effect::TakeControl => {
                                    let taken = feed.take_control();
                                    self.ui.notice = Some(
                                        match taken {
                                            true => "control taken",
                                            false => "control cannot be taken from here",
                                        }
                                        .into(),
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Control may change hands at any time.
    fn look_at_control(&mut self, feed: &mut dyn Feed) {
        let (read_only, controller) = (feed.read_only(), feed.controller());
        if (read_only, &controller) != (self.ui.read_only, &self.ui.controller) {
            (self.ui.read_only, self.ui.controller) = (read_only, controller);
            self.dirty = true;
        }
        if let Some(news) = feed.news() {
            // Whatever was asked for will not come.
            (self.ui.awaiting, self.ui.quitting) = (None, false);
            self.ui.notice = Some(news);
            self.dirty = true;
        }
    }

    /// Whether a frame is called for: at once after keys, a few times a second for data, never when nothing changed.
    fn due(&self, terminal: &Terminal, now: Instant) -> bool {
        let (version, at) = self.drawn;
        let gap = if terminal.keeps_up() {
            FRAME_GAP
        } else {
            SLOW_GAP
        };
        // A replay's clock moves between events, too.
        let moves = self.ui.replay.as_ref().is_some_and(|r| r.playing);
        let changed = (moves || version != self.state.version) && self.ui.frozen.is_none();
        self.dirty || (changed && now.duration_since(at) >= gap)
    }

    fn draw(&mut self, options: &Options, terminal: &mut Terminal, now: Instant) {
        crate::fault::panic_at("dashboard", self.state.core.rounds.len() as u64);
        let state = self.ui.frozen.as_deref().unwrap_or(&self.state);
        self.curve.follow(&state.history);
        let scene = view::Scene {
            run: state,
            ui: &self.ui,
            curve: &self.curve,
            theme: &options.theme,
            glyphs: options.glyphs,
            title: &options.title,
            zone: &self.zone,
        };
        terminal.draw(|frame| view::draw(frame, &scene));
        self.drawn = (self.state.version, now);
        self.dirty = false;
    }
}

/// Whether a run's status is final.
pub(super) fn is_over(status: Status) -> bool {
    matches!(status, Status::Done | Status::Failed)
}
