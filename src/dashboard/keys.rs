//! Keys and commands as the help, the footer, the completion and the documents list them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On a layer that waits for a confirmation.
    Confirm,
    Layer(&'static str),
    View(&'static str),
    /// While a run is played again.
    Replay,
    /// Where the loss chart is.
    Chart,
    Global,
}

impl Scope {
    /// As the help and the documents name it; empty: everywhere.
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
    /// After these keys a text goes from the screen.
    Goes(&'static [&'static str], &'static str),
    /// After these keys the chart, or the list, is another.
    Moves(&'static [&'static str]),
    /// The trainer's journal gets an event of this kind.
    Journals(&'static str),
    /// The program ends.
    Ends,
    /// The screen is drawn again: more bytes come than an idle screen sends.
    Redraws,
}

/// Keys and what they do.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub scope: Scope,
    /// Each one key or, with blanks between, a sequence; `0-9` is any digit, which is added to the command.
    pub keys: &'static [&'static str],
    pub command: &'static str,
    /// For the footer: what the key does, or `keys=what they do`; empty: not shown there.
    pub footer: &'static str,
    pub differs: Differs,
    /// Its effect.
    pub help: &'static str,
    /// Needs a trainer that takes commands.
    pub control: bool,
}

impl Binding {
    /// Its keys as they are shown.
    pub fn label(&self) -> String {
        self.keys.join(" or ")
    }

    /// The key, or keys, and the words of the footer.
    pub fn footer(&self) -> (&'static str, &'static str) {
        let key = self.keys.first().copied().unwrap_or_default();
        self.footer.split_once('=').unwrap_or((key, self.footer))
    }
}

/// A command as the help and the completion show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub words: String,
    pub help: &'static str,
}

impl Entry {
    /// Its words up to the first argument.
    pub fn fixed(&self) -> String {
        let is_fixed = |w: &&str| !w.contains(|c: char| c.is_uppercase() || c == '[');
        let words: Vec<&str> = self.words.split(' ').take_while(is_fixed).collect();
        words.join(" ")
    }
}

/// Every key and every command that can be typed.
#[derive(Debug)]
pub struct Tables {
    pub bindings: Vec<Binding>,
    pub entries: Vec<Entry>,
}

/// Whether these are the keys that are bound: what is to be added to the command.
pub fn matched(bound: &str, keys: &str) -> Option<String> {
    if bound == keys {
        return Some(String::new());
    }
    let digit = keys.strip_prefix(bound.strip_suffix("0-9")?)?;
    (digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit()).then(|| format!(" {digit}"))
}

/// A key's name, as the table has it.
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

/// The key for a name of the table; `0-9` is 5. The reverse of what [`name`] does.
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
