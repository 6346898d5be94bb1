//! Handles keys: a pure function of the screen's state, the run's state, a key and the time.

use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;

use super::commands::{self, Ran};
use super::keymap::{self, Found};
use super::keys::Tables;
use super::layers::decision;
use super::layers::leave::STOPPING;
use super::layers::since::Looked;
use super::message::{Act, Effect};
use super::session::Facts;
use super::stack::{Asked, Stack};
use super::ui::{Context, Ui};
use super::views;
use crate::run::state::RunState;

/// Time after which a notice disappears.
pub const NOTICE: Duration = Duration::from_secs(5);

/// The screen without the run: its state, its layers, and the tables of keys and commands.
#[derive(Debug)]
pub struct Desk {
    pub ui: Ui,
    pub layers: Stack,
    pub tables: Tables,
    /// Keys of a sequence so far.
    prefix: Option<String>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            ui: Ui::default(),
            layers: Stack::default(),
            tables: keymap::tables(),
            prefix: None,
        }
    }
}

/// Handles a key.
pub fn on_key(
    desk: &mut Desk,
    facts: &Facts,
    run: &RunState,
    key: &KeyEvent,
    now: Instant,
) -> Vec<Effect> {
    if desk.ui.notice.is_some() {
        desk.ui.said = desk.ui.notice.take();
    }
    desk.ui.noticed = None;
    if desk.layers.locked(now) {
        return Vec::new();
    }
    let prefix = desk.prefix.take();
    let scopes = keymap::scopes(&desk.ui, &desk.layers, facts);
    let found = keymap::look_up(&desk.tables.bindings, &scopes, prefix.as_deref(), key);
    let layers = &mut desk.layers;
    let mut context = Context {
        ui: &mut desk.ui,
        facts,
        run,
        tables: &desk.tables,
        now,
    };
    match found {
        Found::Nothing => {
            let asked = layers.type_key(key, &mut context);
            obey(layers, &mut context, asked)
        }
        Found::Prefix(keys) => {
            desk.prefix = Some(keys);
            Vec::new()
        }
        Found::Command(line) => match commands::run(&mut context, &line) {
            Ok(ran) => carry_out(layers, &mut context, ran),
            Err(error) => {
                context.ui.notice = Some(error);
                Vec::new()
            }
        },
    }
}

fn carry_out(layers: &mut Stack, context: &mut Context<'_>, ran: Ran) -> Vec<Effect> {
    match ran {
        Ran::Done(effects) => effects,
        Ran::Opened(layer) => {
            let effects = layer.opened();
            layers.push(layer, context.now);
            effects
        }
        Ran::Show(text) => {
            context.ui.notice = Some(text);
            Vec::new()
        }
        Ran::Act(act) => acted(layers, context, act),
        // Keys are not bound to commands that need a confirmation; prompts send those.
        Ran::Ask(_) => Vec::new(),
    }
}

fn acted(layers: &mut Stack, context: &mut Context<'_>, act: Act) -> Vec<Effect> {
    if layers.top().is_some() {
        let asked = layers.act(act, context);
        return obey(layers, context, asked);
    }
    if let Some(view) = views::row(context.ui.view) {
        (view.act)(context, act);
    }
    context
        .ui
        .copy
        .take()
        .map(Effect::Copy)
        .into_iter()
        .collect()
}

/// Carries out a layer's request.
fn obey(layers: &mut Stack, context: &mut Context<'_>, asked: Asked) -> Vec<Effect> {
    let (open, line) = match asked {
        Asked::Effects(effects) => return effects,
        Asked::Run(open, line) => (open, line),
    };
    let ran = commands::run(context, &line);
    if ran.is_ok() {
        context.ui.remember(&line);
    }
    match ran {
        Ok(Ran::Show(text)) => layers.show(open, text),
        Ok(Ran::Ask(command)) => layers.answer(open, Ok(command), context),
        Err(error) => layers.answer(open, Err(error), context),
        Ok(ran) => return carry_out(layers, context, ran),
    }
    Vec::new()
}

/// Handles pasted text, while a line is being typed.
pub fn on_paste(desk: &mut Desk, text: &str) {
    if !desk.layers.paste(text) {
        desk.ui.notice = Some("text can be pasted into a line: press : first".into());
    }
}

/// Updates the screen after a change of the run or of the time: opens an awaited prompt, and closes obsolete ones. Returns true if
/// the screen has changed.
pub fn on_run(desk: &mut Desk, facts: &Facts, run: &RunState, now: Instant) -> bool {
    desk.layers.close_moot(facts, run);
    let stops = facts.stopping && (!desk.ui.quitting || desk.ui.notice.is_none());
    if stops {
        // A signal, maybe from before the screen: the trainer notices it only between two steps.
        desk.ui.quitting = true;
        desk.ui.notice = Some(STOPPING.into());
    }
    let changed = age(&mut desk.ui, now) || stops;
    let Some(before) = desk.ui.awaiting else {
        return changed;
    };
    if !decision::in_round(run) {
        (desk.ui.awaiting, desk.ui.notice) = (None, None);
        return true;
    }
    let open = run.core.decision.as_ref().filter(|d| Some(d.id) != before);
    if let Some(decision) = open.filter(|_| desk.layers.top().is_none()) {
        (desk.ui.awaiting, desk.ui.notice) = (None, None);
        let prompt = decision::Decision::new(decision, run, &|name| facts.nearby.is_kept(name));
        desk.layers.push(Box::new(prompt), now);
        return true;
    }
    changed
}

/// Shows the events since a dashboard was last left. Returns whether there are such events.
pub fn greet(desk: &mut Desk, run: &RunState, now: Instant) -> bool {
    let looked = Looked::new(run).filter(|_| desk.layers.top().is_none());
    let shows = looked.is_some();
    looked
        .into_iter()
        .for_each(|l| desk.layers.push(Box::new(l), now));
    shows
}

/// Drops a notice after [`NOTICE`], unless it describes an awaited event.
fn age(ui: &mut Ui, now: Instant) -> bool {
    if ui.notice.is_none() {
        ui.noticed = None;
        return false;
    }
    let since = *ui.noticed.get_or_insert(now);
    let waiting = ui.awaiting.is_some() || ui.quitting;
    if !waiting && now.duration_since(since) >= NOTICE {
        (ui.said, ui.noticed) = (ui.notice.take(), None);
        return true;
    }
    false
}
