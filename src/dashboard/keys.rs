//! The one table of keys: it feeds dispatch, the help overlay, the footer and the README.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key means outside prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    PauseResume,
    Checkpoint,
    Decide,
    Leave,
    Help,
    /// The line that takes commands in words.
    Line,
    Freeze,
    Smoothing,
    LogScale,
    Axis,
    ZoomIn,
    ZoomOut,
    ZoomReset,
    PanLeft,
    PanRight,
}

/// A key, its name on screen, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub codes: &'static [KeyCode],
    /// As the help shows it.
    pub label: &'static str,
    pub action: Action,
    /// For the footer; empty: not shown there.
    pub short: &'static str,
    pub help: &'static str,
    /// Needs somebody who takes commands.
    pub control: bool,
}

const fn binding(
    codes: &'static [KeyCode],
    label: &'static str,
    action: Action,
    short: &'static str,
    help: &'static str,
    control: bool,
) -> Binding {
    Binding {
        codes,
        label,
        action,
        short,
        help,
        control,
    }
}

use Action as A;
use KeyCode::{Char, Left, Right};

/// Every key that works outside prompts.
pub const BINDINGS: &[Binding] = &[
    binding(
        &[Char('?')],
        "?",
        A::Help,
        "help",
        "show or hide this help",
        false,
    ),
    binding(
        &[Char('D')],
        "D",
        A::Decide,
        "decide",
        "open the decision: evidence, then grow, train on or stop",
        true,
    ),
    binding(
        &[Char('p')],
        "p",
        A::PauseResume,
        "pause",
        "pause or resume at the next step",
        true,
    ),
    binding(
        &[Char('c')],
        "c",
        A::Checkpoint,
        "ckpt",
        "write a checkpoint at the next step",
        true,
    ),
    binding(
        &[Char('q')],
        "q",
        A::Leave,
        "quit",
        "leave: detach, or stop after a checkpoint (also Ctrl-C)",
        false,
    ),
    binding(
        &[Char(':')],
        ":",
        A::Line,
        "cmd",
        "a command in words: grow 2, set lr 2e-4, rollback NAME, take-control, ...",
        false,
    ),
    binding(
        &[Char('f')],
        "f",
        A::Freeze,
        "freeze",
        "freeze the display, or let it follow again",
        false,
    ),
    binding(
        &[Char('s')],
        "s",
        A::Smoothing,
        "",
        "smoothing of the training loss: .98, .9, none",
        false,
    ),
    binding(
        &[Char('y')],
        "y",
        A::LogScale,
        "",
        "logarithmic loss axis",
        false,
    ),
    binding(
        &[Char('x')],
        "x",
        A::Axis,
        "",
        "x axis: step, tokens, time",
        false,
    ),
    binding(
        &[Char('+')],
        "+",
        A::ZoomIn,
        "",
        "zoom in on the chart's right end",
        false,
    ),
    binding(&[Char('-')], "-", A::ZoomOut, "", "zoom out", false),
    binding(
        &[Char('=')],
        "=",
        A::ZoomReset,
        "",
        "show the whole run",
        false,
    ),
    binding(
        &[Char('<'), Left],
        "< or Left",
        A::PanLeft,
        "",
        "move the zoomed chart back",
        false,
    ),
    binding(
        &[Char('>'), Right],
        "> or Right",
        A::PanRight,
        "",
        "move the zoomed chart forward",
        false,
    ),
];

/// Keys inside prompts, for the help.
pub const PROMPT_KEYS: &[(&str, &str)] = &[
    ("Up Down j k", "choose"),
    ("+ -", "change layers to grow by, or steps to train on"),
    ("m", "growth mode: restart or keep"),
    ("r", "gather fresh evidence"),
    ("Tab", "complete a command after :"),
    ("Enter", "go on; on the confirmation: do it"),
    ("Esc", "back, or close the prompt"),
];

/// Whether a key event is Ctrl-C.
pub fn is_interrupt(key: &KeyEvent) -> bool {
    key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// The action a key stands for.
pub fn action(key: &KeyEvent) -> Option<Action> {
    if is_interrupt(key) {
        return Some(A::Leave);
    }
    if key
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    {
        return None;
    }
    BINDINGS
        .iter()
        .find(|b| b.codes.contains(&key.code))
        .map(|b| b.action)
}

/// The table for the README.
pub fn markdown_table() -> String {
    let mut out = String::from("| key | what it does |\n|---|---|\n");
    for b in BINDINGS {
        out.push_str(&format!("| `{}` | {} |\n", b.label, b.help));
    }
    for (keys, what) in PROMPT_KEYS {
        out.push_str(&format!("| `{keys}` | in prompts: {what} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let all: Vec<KeyCode> = BINDINGS
            .iter()
            .flat_map(|b| b.codes.iter().copied())
            .collect();
        for (i, code) in all.iter().enumerate() {
            assert!(!all[..i].contains(code), "{code:?} is bound twice");
        }
    }

    #[test]
    fn ctrl_c_leaves_and_other_chords_do_nothing() {
        let chord = |c, m| KeyEvent::new(KeyCode::Char(c), m);
        assert_eq!(
            action(&chord('c', KeyModifiers::CONTROL)),
            Some(Action::Leave)
        );
        assert_eq!(
            action(&chord('c', KeyModifiers::NONE)),
            Some(Action::Checkpoint)
        );
        assert_eq!(action(&chord('p', KeyModifiers::CONTROL)), None);
        assert_eq!(
            action(&chord('D', KeyModifiers::SHIFT)),
            Some(Action::Decide)
        );
    }
}
