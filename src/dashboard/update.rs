//! What keys do: a pure function of the screen's state, the run's state, a key and the time.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::is_over;
pub use super::chart_view::ChartView;
use super::keys::{self, Action};
use super::palette::LinePrompt;
use super::replay::{Playing, Steer};
use crate::run::command::{Command, GrowMode, MOST_STEPS};
use crate::run::event::{Phase, Suggestion};
use crate::run::state::{OpenDecision, RunState, Status};

/// Keys are ignored for this long after a prompt opens, so that one meant for the screen below decides nothing.
pub const LOCK: Duration = Duration::from_millis(300);

/// Entries of the decision prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Grow,
    TrainOn,
    Stop,
    Cancel,
}

/// The decision prompt: evidence frozen at its step, a choice, a confirmation.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionPrompt {
    pub decision: OpenDecision,
    pub entries: Vec<Entry>,
    pub selected: usize,
    pub layers: usize,
    pub mode: GrowMode,
    pub steps: u64,
    pub confirming: bool,
    opened: Instant,
}

/// Entries of the leave prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveEntry {
    Detach,
    StopAfterCheckpoint,
    Cancel,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeavePrompt {
    pub entries: Vec<LeaveEntry>,
    pub selected: usize,
    opened: Instant,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    Decision(Box<DecisionPrompt>),
    Leave(LeavePrompt),
    Line(LinePrompt),
}

/// Everything on screen that is not the run's.
#[derive(Debug, Clone, Default)]
pub struct Ui {
    pub chart: ChartView,
    pub prompt: Option<Prompt>,
    pub help: bool,
    /// The state shown while the display is frozen.
    pub frozen: Option<Box<RunState>>,
    /// One line of answer to the last key.
    pub notice: Option<String>,
    /// Commands cannot be sent: another process's run, or another one has control.
    pub read_only: bool,
    /// Who has control, when it is another one.
    pub controller: Option<String>,
    /// The trainer is in this process, so that leaving it needs a decision.
    pub owner: bool,
    /// No more events will come.
    pub ended: bool,
    /// A fresh decision was asked for, to replace this one; the prompt opens when it comes.
    pub awaiting: Option<Option<u64>>,
    /// The stop after a checkpoint was asked for.
    pub quitting: bool,
    /// Refusals seen so far: a new one ends the waiting for what was asked.
    pub refusals: u64,
    /// The journal's past is still being read: how much of it has been, from 0 to 1.
    pub loading: Option<f64>,
    /// A run is played again, and stands here.
    pub replay: Option<Playing>,
}

/// What the loop around has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send(Command),
    TakeControl,
    /// Move the replay.
    Steer(Steer),
    Detach,
    /// Close a view that owns nothing, or whose run is over.
    Close,
}

/// Takes a key.
pub fn on_key(ui: &mut Ui, run: &RunState, key: &KeyEvent, now: Instant) -> Vec<Effect> {
    ui.notice = None;
    match ui.prompt.take() {
        Some(Prompt::Decision(mut prompt)) => {
            let (stay, effects) = in_decision(ui, run, &mut prompt, key, now);
            if stay {
                ui.prompt = Some(Prompt::Decision(prompt));
            }
            effects
        }
        Some(Prompt::Leave(mut prompt)) => {
            let (stay, effects) = in_leave(ui, run, &mut prompt, key, now);
            if stay {
                ui.prompt = Some(Prompt::Leave(prompt));
            }
            effects
        }
        Some(Prompt::Line(mut line)) => {
            let (stay, effects) = line.on_key(run, key, now);
            if stay {
                ui.prompt = Some(Prompt::Line(line));
            }
            let sends = effects.iter().any(|e| matches!(e, Effect::Send(_)));
            if sends && let Some(why) = locked(ui, run) {
                ui.notice = Some(why);
                return Vec::new();
            }
            effects
        }
        None => on_screen(ui, run, key, now),
    }
}

/// Looks at a run that has changed: opens a prompt that was waited for.
pub fn on_run(ui: &mut Ui, run: &RunState, now: Instant) {
    if run.refusals > ui.refusals {
        (ui.refusals, ui.awaiting, ui.quitting, ui.notice) = (run.refusals, None, false, None);
    }
    if (ui.ended || is_over(run.core.status)) && matches!(ui.prompt, Some(Prompt::Leave(_))) {
        // What it asks has been answered.
        ui.prompt = None;
    }
    let Some(before) = ui.awaiting else { return };
    if !in_round(run) {
        (ui.awaiting, ui.notice) = (None, None);
        return;
    }
    let open = run.core.decision.as_ref();
    if let Some(decision) = open.filter(|d| Some(d.id) != before)
        && ui.prompt.is_none()
    {
        ui.awaiting = None;
        ui.notice = None;
        ask_with(ui, decision_prompt(decision, run, now));
    }
}

/// Opens a prompt, which nothing may cover.
fn ask_with(ui: &mut Ui, prompt: Prompt) {
    ui.help = false;
    ui.prompt = Some(prompt);
}

fn on_screen(ui: &mut Ui, run: &RunState, key: &KeyEvent, now: Instant) -> Vec<Effect> {
    if ui.help && key.code == KeyCode::Esc {
        ui.help = false;
        return Vec::new();
    }
    let Some(action) = keys::action(key, ui.replay.is_some()) else {
        return Vec::new();
    };
    let control = keys::BINDINGS
        .iter()
        .any(|b| b.action == action && b.control);
    if control {
        return on_control(ui, run, action, now);
    }
    let chart = &mut ui.chart;
    match action {
        Action::Leave => return leave(ui, run, now),
        Action::Steer(steer) => return vec![Effect::Steer(steer)],
        Action::Help => ui.help = !ui.help,
        Action::Line => ask_with(ui, Prompt::Line(LinePrompt::default())),
        Action::Freeze => {
            ui.frozen = match ui.frozen.take() {
                Some(_) => None,
                None => Some(Box::new(run.clone())),
            };
        }
        Action::Smoothing => chart.cycle_smoothing(),
        Action::LogScale => chart.toggle_log(),
        Action::Axis => chart.cycle_axis(),
        Action::ZoomIn => chart.zoom_in(),
        Action::ZoomOut => chart.zoom_out(),
        Action::ZoomReset => chart.toggle_whole(),
        Action::PanLeft => chart.pan_left(run),
        Action::PanRight => chart.pan_right(run),
        Action::PauseResume | Action::Checkpoint | Action::Decide => {}
    }
    Vec::new()
}

/// Why no command can be sent now, if that is so.
fn locked(ui: &Ui, run: &RunState) -> Option<String> {
    let over = matches!(
        run.core.status,
        Status::Done | Status::Failed | Status::Interrupted
    );
    match (&ui.controller, ui.read_only) {
        _ if ui.replay.is_some() => Some("a replay takes no commands".into()),
        _ if ui.ended || over => Some("the run is over: q leaves".into()),
        (Some(other), _) => Some(format!("{other} has control: :take-control takes it over")),
        (None, true) => Some("read only: `heirloom attach` takes control of a running one".into()),
        (None, false) => None,
    }
}

fn on_control(ui: &mut Ui, run: &RunState, action: Action, now: Instant) -> Vec<Effect> {
    if let Some(why) = locked(ui, run) {
        ui.notice = Some(why);
        return Vec::new();
    }
    match action {
        Action::PauseResume if run.core.status == Status::Paused => {
            vec![Effect::Send(Command::Resume)]
        }
        Action::PauseResume => vec![Effect::Send(Command::Pause)],
        Action::Checkpoint => vec![Effect::Send(Command::Checkpoint)],
        Action::Decide => match &run.core.decision {
            // There are newer figures than those it rests on.
            Some(decision) if run.core.eval.is_some_and(|e| e.step > decision.step) => {
                ask(ui, Some(decision.id))
            }
            Some(decision) => {
                ask_with(ui, decision_prompt(decision, run, now));
                Vec::new()
            }
            None if !in_round(run) => {
                ui.notice = Some("nothing to decide yet: decisions belong to rounds".into());
                Vec::new()
            }
            None => ask(ui, None),
        },
        _ => Vec::new(),
    }
}

fn in_round(run: &RunState) -> bool {
    matches!(&run.core.phase, Some(p) if matches!(p.phase, Phase::Round(_)))
}

/// Asks for fresh evidence, to replace decision `before`.
fn ask(ui: &mut Ui, before: Option<u64>) -> Vec<Effect> {
    ui.awaiting = Some(before);
    ui.notice = Some("gathering evidence at the next step ...".into());
    vec![Effect::Send(Command::Decide)]
}

fn leave(ui: &mut Ui, run: &RunState, now: Instant) -> Vec<Effect> {
    let over = ui.ended || is_over(run.core.status);
    if !ui.owner || over {
        return vec![Effect::Close];
    }
    if ui.quitting {
        ui.notice = Some("stopping after the checkpoint ...".into());
        return Vec::new();
    }
    let prompt = LeavePrompt {
        entries: vec![
            LeaveEntry::Detach,
            LeaveEntry::StopAfterCheckpoint,
            LeaveEntry::Cancel,
        ],
        selected: 0,
        opened: now,
    };
    ask_with(ui, Prompt::Leave(prompt));
    Vec::new()
}

fn decision_prompt(decision: &OpenDecision, run: &RunState, now: Instant) -> Prompt {
    let (evidence, info) = (&decision.evidence, run.info.as_ref());
    let mut entries = vec![Entry::TrainOn, Entry::Stop, Entry::Cancel];
    if evidence.growth.is_some() {
        entries.insert(0, Entry::Grow);
    }
    let wanted = match evidence.suggestion {
        Suggestion::Grow => Entry::Grow,
        Suggestion::Stop => Entry::Stop,
        Suggestion::TrainOn => Entry::TrainOn,
        Suggestion::InsufficientData => Entry::Cancel,
    };
    Prompt::Decision(Box::new(DecisionPrompt {
        selected: entries.iter().position(|e| *e == wanted).unwrap_or(0),
        entries,
        layers: evidence.growth.as_ref().map_or(0, |g| g.add),
        mode: info.map_or(GrowMode::Restart, |i| i.grow_mode),
        steps: info.map_or(100, |i| (i.round_steps / 2).max(1)),
        confirming: false,
        decision: decision.clone(),
        opened: now,
    }))
}

/// Most layers that can still be added.
pub fn room(run: &RunState) -> usize {
    let max = run.info.as_ref().map_or(0, |i| i.max_layers);
    let have = run.core.phase.as_ref().map_or(0, |p| p.layers);
    max.saturating_sub(have)
}

/// The key a prompt sees: chords mean nothing in it, and Alt with a key is how a terminal sends Esc followed at once by
/// that key.
pub fn prompt_key(key: &KeyEvent) -> KeyCode {
    if key.modifiers.contains(KeyModifiers::ALT) {
        return KeyCode::Esc;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return KeyCode::Null;
    }
    key.code
}

fn in_decision(
    ui: &mut Ui,
    run: &RunState,
    p: &mut DecisionPrompt,
    key: &KeyEvent,
    now: Instant,
) -> (bool, Vec<Effect>) {
    let stay = (true, Vec::new());
    if now.duration_since(p.opened) < LOCK {
        return stay;
    }
    if keys::is_interrupt(key) {
        return (false, leave(ui, run, now));
    }
    match prompt_key(key) {
        KeyCode::Esc if p.confirming => p.confirming = false,
        KeyCode::Esc => return (false, Vec::new()),
        KeyCode::Up | KeyCode::Char('k') if !p.confirming => {
            p.selected = p.selected.saturating_sub(1)
        }
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab if !p.confirming => {
            p.selected = (p.selected + 1).min(p.entries.len() - 1);
        }
        KeyCode::Char('+') | KeyCode::Right | KeyCode::Char('l') if !p.confirming => {
            adjust(p, run, true)
        }
        KeyCode::Char('-') | KeyCode::Left | KeyCode::Char('h') if !p.confirming => {
            adjust(p, run, false)
        }
        KeyCode::Char('m') if !p.confirming => {
            p.mode = match p.mode {
                GrowMode::Restart => GrowMode::Keep,
                GrowMode::Keep => GrowMode::Restart,
            };
        }
        KeyCode::Char('r') if !p.confirming => return (false, ask(ui, Some(p.decision.id))),
        KeyCode::Enter if p.entries[p.selected] == Entry::Cancel => return (false, Vec::new()),
        KeyCode::Enter | KeyCode::Char('y') if p.confirming => return confirm(ui, run, p),
        KeyCode::Enter => p.confirming = true,
        KeyCode::Char('n') if p.confirming => p.confirming = false,
        _ => {}
    }
    stay
}

/// `+` and `-` on the chosen entry.
fn adjust(p: &mut DecisionPrompt, run: &RunState, up: bool) {
    match p.entries[p.selected] {
        Entry::Grow if up => p.layers = (p.layers + 1).min(room(run).max(1)),
        Entry::Grow => p.layers = p.layers.saturating_sub(1).max(1),
        Entry::TrainOn if up => p.steps = p.steps.saturating_mul(2).min(MOST_STEPS),
        Entry::TrainOn => p.steps = (p.steps / 2).max(1),
        Entry::Stop | Entry::Cancel => {}
    }
}

/// Sends the choice, unless the decision it belongs to has been replaced or closed meanwhile.
fn confirm(ui: &mut Ui, run: &RunState, p: &DecisionPrompt) -> (bool, Vec<Effect>) {
    let decision = p.decision.id;
    if run.core.decision.as_ref().map(|d| d.id) != Some(decision) {
        ui.notice = Some(
            "not done: the decision has changed meanwhile; press D for the new evidence".into(),
        );
        return (false, Vec::new());
    }
    let decision = Some(decision);
    let command = match p.entries[p.selected] {
        Entry::Grow => Command::Grow {
            layers: p.layers,
            mode: Some(p.mode),
            decision,
        },
        Entry::TrainOn => Command::TrainOn {
            steps: p.steps,
            decision,
        },
        Entry::Stop => Command::Stop { decision },
        Entry::Cancel => return (false, Vec::new()),
    };
    (false, vec![Effect::Send(command)])
}

fn in_leave(
    ui: &mut Ui,
    run: &RunState,
    p: &mut LeavePrompt,
    key: &KeyEvent,
    now: Instant,
) -> (bool, Vec<Effect>) {
    if now.duration_since(p.opened) < LOCK {
        return (true, Vec::new());
    }
    if keys::is_interrupt(key) {
        return (false, Vec::new());
    }
    match prompt_key(key) {
        KeyCode::Esc | KeyCode::Char('n') => return (false, Vec::new()),
        KeyCode::Up | KeyCode::Char('k') => p.selected = p.selected.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => {
            p.selected = (p.selected + 1).min(p.entries.len() - 1);
        }
        KeyCode::Enter => {
            return match p.entries[p.selected] {
                LeaveEntry::Detach => (false, vec![Effect::Detach]),
                LeaveEntry::StopAfterCheckpoint if ui.controller.is_some() => {
                    ui.notice = locked(ui, run);
                    (false, Vec::new())
                }
                LeaveEntry::StopAfterCheckpoint => {
                    ui.quitting = true;
                    ui.notice = Some("stopping after the checkpoint ...".into());
                    (false, vec![Effect::Send(Command::Quit)])
                }
                LeaveEntry::Cancel => (false, Vec::new()),
            };
        }
        _ => {}
    }
    (true, Vec::new())
}
