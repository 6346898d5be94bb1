//! Types of keys and commands, for the help, the footer, the completion and the documents.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On a layer that waits for a confirmation.
    Confirm,
    Layer(&'static str),
    View(&'static str),
    /// During a replay.
    Replay,
    /// In a view with the loss chart.
    Chart,
    Global,
}

impl Scope {
    /// Returns its name in the help and the documents; empty for all scopes.
    pub fn title(self) -> String {
        match self {
            Self::Confirm => "in a confirmation".into(),
            Self::Layer("new run") => "in the form of a new run".into(),
            Self::Layer(id) => format!("in {id}"),
            Self::View("home") => "on the home screen".into(),
            Self::View("demo") => "in `heirloom demo`".into(),
            Self::View(id) => format!("in the {id} view"),
            Self::Replay => "in a replay".into(),
            Self::Chart => "on the chart".into(),
            Self::Global => String::new(),
        }
    }
}

/// The part of the screen that must differ after a key, so that a test can press it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// A text appears on the screen.
    Appears(&'static str),
    /// After these keys a text disappears from the screen.
    Goes(&'static [&'static str], &'static str),
    /// After these keys the chart, or the list, has changed.
    Moves(&'static [&'static str]),
    /// The trainer's journal gets an event of this kind.
    Journals(&'static str),
    /// The program ends.
    Ends,
    /// The screen is redrawn: more bytes come than an idle screen sends.
    Redraws,
}

/// Keys and their command.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub scope: Scope,
    /// Each is a key or, with blanks, a sequence of keys. `0-9` means any digit, which is added to the command.
    pub keys: &'static [&'static str],
    pub command: &'static str,
    /// Text in the footer: the key's effect, or `keys=effect`; empty: not shown there.
    pub footer: &'static str,
    pub differs: Differs,
    /// Description of the effect.
    pub help: &'static str,
    /// Whether it needs a trainer that takes commands.
    pub control: bool,
}

impl Binding {
    /// Returns its keys as they are shown.
    pub fn label(&self) -> String {
        self.keys.join(" or ")
    }

    /// Returns the keys and the text in the footer.
    pub fn footer(&self) -> (&'static str, &'static str) {
        let key = self.keys.first().copied().unwrap_or_default();
        self.footer.split_once('=').unwrap_or((key, self.footer))
    }
}

/// A command in the help and the completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub words: String,
    pub help: &'static str,
}

impl Entry {
    /// Returns its words up to the first argument.
    pub fn fixed(&self) -> String {
        let is_fixed = |w: &&str| !w.contains(|c: char| c.is_uppercase() || c == '[');
        let words: Vec<&str> = self.words.split(' ').take_while(is_fixed).collect();
        words.join(" ")
    }
}

/// All keys, and all commands that can be typed.
#[derive(Debug)]
pub struct Tables {
    pub bindings: Vec<Binding>,
    pub entries: Vec<Entry>,
}

/// Returns the text to add to the command if `keys` match `bound`, otherwise `None`.
pub fn matched(bound: &str, keys: &str) -> Option<String> {
    if bound == keys {
        return Some(String::new());
    }
    let digit = keys.strip_prefix(bound.strip_suffix("0-9")?)?;
    (digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit()).then(|| format!(" {digit}"))
}

/// Returns a key's name in the table.
pub fn name(key: &KeyEvent) -> Option<String> {
    let name = match key.code {
        KeyCode::Char(' ') => "Space".into(),
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            format!("Ctrl-{}", c.to_ascii_uppercase())
        }
        KeyCode::Char(c) => c.to_string(),
        KeyCode::PageUp => "PgUp".into(),
        KeyCode::PageDown => "PgDn".into(),
        KeyCode::BackTab => "Shift-Tab".into(),
        code @ (KeyCode::Left
        | KeyCode::Right
        | KeyCode::Up
        | KeyCode::Down
        | KeyCode::Home
        | KeyCode::End
        | KeyCode::Enter
        | KeyCode::Tab
        | KeyCode::Esc) => format!("{code:?}"),
        _ => return None,
    };
    (!key.modifiers.contains(KeyModifiers::ALT)).then_some(name)
}

/// Returns the key with a name of the table, the reverse of [`name`]; `0-9` gives 5.
pub fn event(name: &str) -> KeyEvent {
    let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
    if let Some(c) = name.strip_prefix("Ctrl-") {
        let c = c.chars().next().unwrap_or_default().to_ascii_lowercase();
        return KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    }
    plain(match name {
        "Space" => KeyCode::Char(' '),
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "Enter" => KeyCode::Enter,
        "Tab" => KeyCode::Tab,
        "Esc" => KeyCode::Esc,
        "0-9" => KeyCode::Char('5'),
        other => KeyCode::Char(other.chars().next().unwrap_or_default()),
    })
}
