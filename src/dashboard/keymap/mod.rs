//! The table of all keys, which maps a key within a scope to a command. Scopes are searched from the innermost on, so that a key
//! may have another meaning in a prompt than below it.

mod document;
mod table;

use crossterm::event::{KeyEvent, KeyModifiers};

use self::table::{KEYS, key};
use super::commands;
use super::keys::Scope::{Chart, Confirm, Global, Layer, Replay, View};
use super::keys::{self, Tables};
use super::layers;
use super::session::Facts;
use super::stack::Stack;
use super::ui::Ui;
use super::views;

pub use super::keys::{Binding, Differs, Scope, event};
pub use document::{document, main_keys_table};
pub use table::SHADOWS;

/// Returns all keys: those that open views and layers, then the others.
pub fn bindings() -> impl Iterator<Item = Binding> {
    let views = views::all().map(|v| key(Global, v.keys, v.command, "", v.differs));
    let layers = layers::all().map(|l| key(Global, l.keys, l.id, l.footer, l.differs));
    let rows = layers.chain(KEYS.iter().copied()).chain(views);
    rows.map(resolved)
}

/// Completes a row with the help of its command.
fn resolved(row: Binding) -> Binding {
    let n = format!("{} N", row.command);
    let help = commands::help_of(row.command).or_else(|| commands::help_of(&n));
    Binding {
        help: help.unwrap_or_default(),
        control: commands::needs_control(row.command),
        ..row
    }
}

/// Returns the tables of keys and commands.
pub fn tables() -> Tables {
    Tables {
        bindings: bindings().collect(),
        entries: commands::listed(),
    }
}

/// Returns the scopes to search, innermost first.
pub fn scopes(ui: &Ui, layers: &Stack, facts: &Facts) -> Vec<Scope> {
    if layers.confirming() {
        return vec![Confirm];
    }
    match layers.top().map(|layer| layer.row()) {
        Some(row) if !row.passes => vec![Layer(row.id)],
        Some(row) => [vec![Layer(row.id)], below(ui, facts)].concat(),
        None => below(ui, facts),
    }
}

/// Returns the scopes below the layers.
pub fn below(ui: &Ui, facts: &Facts) -> Vec<Scope> {
    let mut scopes = vec![View(ui.view)];
    scopes.extend(facts.replay.is_some().then_some(Replay));
    scopes.extend(views::has_chart(ui.view).then_some(Chart));
    scopes.push(Global);
    scopes
}

/// Whether a key suspends the screen, which it does in every scope.
pub fn suspends(key: &KeyEvent) -> bool {
    is_for("suspend", key)
}

/// Whether a key has the whole screen drawn again, which it does in every scope.
pub fn redraws(key: &KeyEvent) -> bool {
    is_for("redraw", key)
}

fn is_for(command: &str, key: &KeyEvent) -> bool {
    let keys = KEYS.iter().filter(|b| b.command == command);
    let name = keys::name(key);
    keys.flat_map(|b| b.keys)
        .any(|bound| name.as_deref() == Some(bound))
}

/// The meaning of a key.
#[derive(Debug, PartialEq)]
pub enum Found {
    Command(String),
    /// The keys of a sequence so far.
    Prefix(String),
    Nothing,
}

/// Looks a key up in these scopes, after the keys of `prefix`.
pub fn look_up(
    bindings: &[Binding],
    scopes: &[Scope],
    prefix: Option<&str>,
    key: &KeyEvent,
) -> Found {
    // Terminals send Esc followed at once by a key in the same way as Alt with that key.
    let in_layer = matches!(scopes.first(), Some(Layer(_) | Confirm));
    let name = match key.modifiers.contains(KeyModifiers::ALT) && in_layer {
        true => Some("Esc".into()),
        false => keys::name(key),
    };
    name.map_or(Found::Nothing, |name| {
        look_up_name(bindings, scopes, prefix, &name)
    })
}

fn look_up_name(bindings: &[Binding], scopes: &[Scope], prefix: Option<&str>, name: &str) -> Found {
    let keys = prefix.map_or(name.to_string(), |p| format!("{p} {name}"));
    for scope in scopes {
        for binding in bindings.iter().filter(|b| b.scope == *scope) {
            for bound in binding.keys {
                if let Some(digit) = keys::matched(bound, &keys) {
                    return Found::Command(format!("{}{digit}", binding.command));
                }
                let rest = bound.strip_prefix(&keys);
                if rest.is_some_and(|rest| rest.starts_with(' ')) {
                    return Found::Prefix(keys);
                }
            }
        }
    }
    // A key that does not continue the sequence is looked up on its own.
    match prefix {
        Some(_) => look_up_name(bindings, scopes, None, name),
        None => Found::Nothing,
    }
}
