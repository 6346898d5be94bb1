//! The one table of keys: it feeds dispatch, the help overlay, the footer and the README.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::replay::Steer;

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
    /// Moves a replay.
    Steer(Steer),
}

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Everywhere,
    /// Not while a run is played again.
    Live,
    /// Only then.
    Replay,
}

impl Place {
    /// Whether a key of this place works on a screen that shows a replay, or does not.
    pub fn is_here(self, replaying: bool) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Live => !replaying,
            Self::Replay => replaying,
        }
    }
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
    pub place: Place,
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
        place: Place::Everywhere,
    }
}

const fn steer(
    codes: &'static [KeyCode],
    label: &'static str,
    steer: Steer,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        place: Place::Replay,
        ..binding(codes, label, A::Steer(steer), short, help, false)
    }
}

use Action as A;
use KeyCode::{Char, End, Home, Left, Right};

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
    Binding {
        place: Place::Live,
        ..binding(
            &[Char(':')],
            ":",
            A::Line,
            "cmd",
            "a command in words: grow 2, set lr 2e-4, take-control",
            false,
        )
    },
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
        "smoothing of the training loss: more, less, none",
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
        "show the whole run, or its present phase again",
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
    steer(
        &[Char(' ')],
        "Space",
        Steer::PlayPause,
        "play",
        "play or pause",
    ),
    steer(
        &[Char('[')],
        "[",
        Steer::PreviousLandmark,
        "mark",
        "back to the last mark: phase, growth, decision, ...",
    ),
    steer(
        &[Char(']')],
        "]",
        Steer::NextLandmark,
        "mark",
        "on to the next mark",
    ),
    steer(&[Char(',')], ",", Steer::EventBack, "", "one event back"),
    steer(&[Char('.')], ".", Steer::EventForward, "", "one event on"),
    steer(&[Char('{')], "{", Steer::Slower, "slower", "half the speed"),
    steer(
        &[Char('}')],
        "}",
        Steer::Faster,
        "faster",
        "twice the speed",
    ),
    steer(&[Home], "Home", Steer::ToStart, "", "to the start"),
    steer(&[End], "End", Steer::ToEnd, "", "to the end"),
    steer(
        &[
            Char('0'),
            Char('1'),
            Char('2'),
            Char('3'),
            Char('4'),
            Char('5'),
            Char('6'),
            Char('7'),
            Char('8'),
            Char('9'),
        ],
        "0-9",
        Steer::ToTenth(0),
        "",
        "to so many tenths of the run",
    ),
];

/// Keys inside prompts, for the help.
pub const PROMPT_KEYS: &[(&str, &str)] = &[
    ("Up Down j k", "choose"),
    ("+ -", "change layers to grow by, or steps to train on"),
    ("m", "growth mode: restart or keep"),
    ("r", "gather fresh evidence"),
    ("Enter", "go on; on the confirmation: do it"),
    ("Esc", "back, or close the prompt"),
];

/// Whether a key event is Ctrl-C.
pub fn is_interrupt(key: &KeyEvent) -> bool {
    key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// The action a key stands for; `replaying`: on a screen that shows a replay.
pub fn action(key: &KeyEvent, replaying: bool) -> Option<Action> {
    if is_interrupt(key) {
        return Some(A::Leave);
    }
    if key
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    {
        return None;
    }
    // Later bindings are those of a place, and win there.
    let found = BINDINGS
        .iter()
        .rfind(|b| b.place.is_here(replaying) && b.codes.contains(&key.code))?;
    match (found.action, key.code) {
        (A::Steer(Steer::ToTenth(_)), Char(digit)) => {
            let tenths = digit.to_digit(10)?;
            Some(A::Steer(Steer::ToTenth(tenths as u8)))
        }
        (action, _) => Some(action),
    }
}

/// The table for the README.
pub fn markdown_table() -> String {
    let mut out = String::from("| key | what it does |\n|---|---|\n");
    for b in BINDINGS {
        let place = match b.place {
            Place::Everywhere | Place::Live => "",
            Place::Replay => "in a replay: ",
        };
        out.push_str(&format!("| `{}` | {place}{} |\n", b.label, b.help));
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
            action(&chord('c', KeyModifiers::CONTROL), false),
            Some(Action::Leave)
        );
        assert_eq!(
            action(&chord('c', KeyModifiers::NONE), false),
            Some(Action::Checkpoint)
        );
        assert_eq!(action(&chord('p', KeyModifiers::CONTROL), true), None);
        assert_eq!(
            action(&chord('D', KeyModifiers::SHIFT), false),
            Some(Action::Decide)
        );
    }

    #[test]
    fn a_replay_has_keys_of_its_own_beside_all_the_others() {
        let press = |code, replaying| action(&KeyEvent::new(code, KeyModifiers::NONE), replaying);
        assert_eq!(press(Char(' '), false), None);
        let play = Action::Steer(Steer::PlayPause);
        assert_eq!(press(Char(' '), true), Some(play));
        let tenth = Action::Steer(Steer::ToTenth(7));
        assert_eq!(press(Char('7'), true), Some(tenth));
        assert_eq!(press(Char('7'), false), None);
        assert_eq!(press(Char('+'), true), Some(Action::ZoomIn));
    }
}
