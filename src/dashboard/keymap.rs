//! The one table of keys: a key is a command in words within a scope. The scopes are asked from the innermost on, so
//! that a key may mean one thing in a prompt and another below it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::commands;
use super::layers;
use super::session::Facts;
use super::update::Ui;
use super::views;

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

/// What must differ after a key, so that a test can press it.
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
}

const fn key(
    scope: Scope,
    keys: &'static [&'static str],
    command: &'static str,
    footer: &'static str,
    differs: Differs,
) -> Binding {
    Binding {
        scope,
        keys,
        command,
        footer,
        differs,
    }
}

use Differs::{Appears, Goes, Journals, Moves, Redraws};
use Scope::{Chart, Confirm, Global, Layer, Replay, View};

/// Keys that open no view and no layer; [`bindings`] has those, too.
#[rustfmt::skip]
const KEYS: &[Binding] = &[
    key(Global, &["p"], "pause-resume", "pause", Journals("command")),
    key(Global, &["c"], "checkpoint", "ckpt", Journals("checkpoint")),
    key(Global, &["f"], "freeze", "freeze", Appears("FROZEN")),
    key(Global, &["Ctrl-L"], "redraw", "", Redraws),

    key(Chart, &["s"], "smoothing", "", Moves(&[])),
    key(Chart, &["y"], "log-scale", "", Appears("· log")),
    key(Chart, &["Y"], "fit", "", Appears("y all (Y)")),
    key(Chart, &["o"], "overlay", "", Moves(&[])),
    key(Chart, &["t"], "gap-chart", "", Appears("gap to reference")),
    key(Chart, &["x"], "x-axis", "", Appears("tokens 0")),
    key(Chart, &["+"], "zoom in", "", Appears("· x2")),
    key(Chart, &["-"], "zoom out", "", Goes(&["+"], "· x2")),
    key(Chart, &["="], "zoom reset", "", Moves(&[])),
    key(Chart, &["<", "Left"], "pan left", "", Moves(&["+", "+"])),
    key(Chart, &[">", "Right"], "pan right", "", Moves(&["+", "+", "<", "<"])),
    key(Chart, &["v"], "cursor", "", Moves(&[])),
    key(Chart, &["h"], "cursor left", "", Moves(&["v"])),
    key(Chart, &["l"], "cursor right", "", Moves(&["v", "h"])),
    key(Chart, &["]"], "series next", "", Moves(&[])),
    key(Chart, &["["], "series previous", "", Moves(&[])),

    key(Replay, &["Space"], "play", "play", Appears("Space pause")),
    key(Replay, &["["], "mark back", "mark", Moves(&[])),
    key(Replay, &["]"], "mark forward", "mark", Moves(&[])),
    key(Replay, &[","], "event back", "", Moves(&[])),
    key(Replay, &["."], "event forward", "", Moves(&[])),
    key(Replay, &["{"], "slower", "slower", Moves(&[])),
    key(Replay, &["}"], "faster", "faster", Moves(&[])),
    key(Replay, &["Home", "g g"], "start", "", Moves(&[])),
    key(Replay, &["End", "G"], "end", "", Moves(&[])),
    key(Replay, &["g 0-9"], "tenths", "", Moves(&[])),

    key(View("log"), &["Up", "k"], "previous", "up", Moves(&[])),
    key(View("log"), &["Down", "j"], "next", "down", Moves(&["g", "g"])),
    key(View("log"), &["PgUp"], "page up", "", Moves(&[])),
    key(View("log"), &["PgDn"], "page down", "", Moves(&["g", "g"])),
    key(View("log"), &["g g"], "top", "top", Moves(&[])),
    key(View("log"), &["G"], "bottom", "follow", Moves(&["g", "g"])),
    key(View("log"), &["n"], "next match", "", Moves(&["/", "e", "v", "a", "l", "Enter", "N"])),
    key(View("log"), &["N"], "previous match", "", Moves(&["/", "e", "v", "a", "l", "Enter"])),
    key(View("log"), &["w"], "wrap", "wrap", Appears("cut")),
    key(View("log"), &["!"], "warnings", "warnings", Appears("warnings alone")),
    key(View("log"), &["Esc"], "back", "", Goes(&["/", "e", "v", "a", "l", "Enter"], "/eval")),

    key(View("home"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(View("home"), &["Down", "j"], "next", "Up Down=choose", Moves(&[])),
    key(View("home"), &["Home", "g g"], "top", "", Moves(&["j"])),
    key(View("home"), &["End", "G"], "bottom", "", Moves(&[])),
    key(View("home"), &["Enter"], "accept", "start or open", Appears("round 1")),
    key(View("home"), &["q", "Esc", "Ctrl-C"], "back", "quit", Differs::Ends),
    key(View("demo"), &["q", "Esc", "Ctrl-C"], "back", "quit", Differs::Ends),

    key(Layer("decision"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("decision"), &["Down", "j", "Tab"], "next", "Up Down=choose", Moves(&[])),
    key(Layer("decision"), &["+", "Right", "l"], "more", "+ -=amount", Moves(&["j"])),
    key(Layer("decision"), &["-", "Left", "h"], "less", "", Moves(&["j"])),
    key(Layer("decision"), &["m"], "mode", "mode", Appears("keep")),
    key(Layer("decision"), &["r"], "refresh", "refresh", Journals("command")),
    key(Layer("decision"), &["Enter"], "accept", "confirm", Appears("Esc back")),
    key(Layer("decision"), &["Esc"], "back", "close", Goes(&[], "evidence of step")),
    key(Layer("decision"), &["Ctrl-C"], "leave", "", Appears(" leave ")),

    key(Confirm, &["Enter", "y"], "accept", "do it", Journals("command")),
    key(Confirm, &["Esc", "n", "Ctrl-C"], "back", "back", Goes(&[], "Esc back")),

    key(Layer("leave"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("leave"), &["Down", "j", "Tab"], "next", "Up Down=choose", Moves(&[])),
    key(Layer("leave"), &["Enter"], "accept", "do it", Differs::Ends),
    key(Layer("leave"), &["Esc", "n", "Ctrl-C"], "back", "stay", Goes(&[], " leave ")),

    key(Layer("command"), &["Up"], "older", "", Moves(&["f", "r", "e", "e", "z", "e", "Enter", ":"])),
    key(Layer("command"), &["Down"], "newer", "", Moves(&["f", "r", "e", "e", "z", "e", "Enter", ":", "Up"])),
    key(Layer("command"), &["Tab"], "complete", "complete", Moves(&["z"])),
    key(Layer("command"), &["Enter"], "accept", "go", Goes(&[], " command ")),
    key(Layer("command"), &["Esc", "Ctrl-C"], "back", "close", Goes(&[], " command ")),

    key(Layer("search"), &["Enter"], "accept", "search", Goes(&["e"], " search ")),
    key(Layer("search"), &["Esc", "Ctrl-C"], "back", "close", Goes(&[], " search ")),

    key(Layer("info"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("info"), &["Down", "j"], "next", "scroll", Moves(&[])),
    key(Layer("info"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("info"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("info"), &["Esc", "i"], "back", "close", Goes(&[], " figures ")),

    key(Layer("help"), &["Up", "k"], "previous", "", Moves(&["j"])),
    key(Layer("help"), &["Down", "j"], "next", "scroll", Moves(&[])),
    key(Layer("help"), &["PgUp"], "page up", "", Moves(&["j"])),
    key(Layer("help"), &["PgDn"], "page down", "", Moves(&[])),
    key(Layer("help"), &["Esc", "?"], "back", "close", Goes(&[], "Esc closes")),
];

/// Where one key hides another on purpose: the inner scope, the key, and why.
#[rustfmt::skip]
pub const SHADOWS: &[(Scope, &str, &str)] = &[
    (Replay, "[", "a replay is moved by its marks; the small series can be chosen by their commands"),
    (Replay, "]", "a replay is moved by its marks; the small series can be chosen by their commands"),
    (View("log"), "G", "the log's end is meant where the log is shown; End is the replay's"),
    (View("log"), "g g", "the log's start is meant where the log is shown; Home is the replay's"),
    (Layer("info"), "i", "the key that opens the figures closes them"),
    (Layer("help"), "?", "the key that opens the help closes it"),
];

/// Every key: those that open views and layers, then the others.
pub fn bindings() -> impl Iterator<Item = Binding> {
    let views = views::all().map(|v| Binding {
        scope: Global,
        keys: v.keys,
        command: v.command,
        footer: "",
        differs: v.differs,
    });
    let layers = layers::all().map(|l| Binding {
        scope: Global,
        keys: l.keys,
        command: l.id,
        footer: l.footer,
        differs: l.differs,
    });
    layers.chain(KEYS.iter().copied()).chain(views)
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

    /// What it does.
    pub fn help(&self) -> &'static str {
        let n = format!("{} N", self.command);
        let help = commands::help_of(self.command).or_else(|| commands::help_of(&n));
        help.unwrap_or_default()
    }

    /// Whether it needs a trainer that takes commands.
    pub fn needs_control(&self) -> bool {
        commands::needs_control(self.command)
    }
}

/// The scopes that are asked, innermost first.
pub fn scopes(ui: &Ui, facts: &Facts) -> Vec<Scope> {
    let mut scopes = Vec::new();
    if ui.layers.confirming() {
        return vec![Confirm];
    }
    if let Some(layer) = ui.layers.top() {
        scopes.push(Layer(layer.row().id));
        if !layer.row().passes {
            return scopes;
        }
    }
    scopes.push(View(ui.view));
    if facts.replay.is_some() {
        scopes.push(Replay);
    }
    if views::has_chart(ui.view) {
        scopes.push(Chart);
    }
    scopes.push(Global);
    scopes
}

/// What a key stands for.
#[derive(Debug, PartialEq)]
pub enum Found {
    Command(String),
    /// The keys of a sequence so far.
    Prefix(String),
    Nothing,
}

/// Looks a key up, after the keys of `prefix`.
pub fn look_up(ui: &Ui, facts: &Facts, prefix: Option<&str>, key: &KeyEvent) -> Found {
    // Alt with a key is how a terminal sends Esc followed at once by that key.
    let escaped = ui.layers.top().is_some() && key.modifiers.contains(KeyModifiers::ALT);
    let name = if escaped {
        Some("Esc".into())
    } else {
        name(key)
    };
    match name {
        Some(name) => look_up_in(&scopes(ui, facts), prefix, &name),
        None => Found::Nothing,
    }
}

/// The same on a screen that has no layers.
pub fn look_up_plain(scope: Scope, prefix: Option<&str>, key: &KeyEvent) -> Found {
    name(key).map_or(Found::Nothing, |name| look_up_in(&[scope], prefix, &name))
}

fn look_up_in(scopes: &[Scope], prefix: Option<&str>, name: &str) -> Found {
    let keys = prefix.map_or(name.to_string(), |p| format!("{p} {name}"));
    for scope in scopes {
        for binding in bindings().filter(|b| b.scope == *scope) {
            for bound in binding.keys {
                if let Some(digit) = matched(bound, &keys) {
                    return Found::Command(format!("{}{digit}", binding.command));
                }
                let rest = bound.strip_prefix(&keys);
                if rest.is_some_and(|rest| rest.starts_with(' ')) {
                    return Found::Prefix(keys);
                }
            }
        }
    }
    // What did not become a sequence is a key of its own.
    match prefix {
        Some(_) => look_up_in(scopes, None, name),
        None => Found::Nothing,
    }
}

/// Whether these are the keys that are bound: what is to be added to the command.
fn matched(bound: &str, keys: &str) -> Option<String> {
    if bound == keys {
        return Some(String::new());
    }
    let digit = keys.strip_prefix(bound.strip_suffix("0-9")?)?;
    (digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit()).then(|| format!(" {digit}"))
}

/// A key's name, as the table has it.
fn name(key: &KeyEvent) -> Option<String> {
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

/// The key for a name of the table; `0-9` is 5. The reverse of what [`look_up`] reads.
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

/// The keys that matter most, for the README.
const MOST: [&str; 10] = [
    "help",
    "decision",
    "pause-resume",
    "checkpoint",
    "leave",
    "command",
    "view log",
    "zoom in",
    "freeze",
    "play",
];

fn line(binding: &Binding) -> String {
    let keys: Vec<String> = binding.keys.iter().map(|k| format!("`{k}`")).collect();
    format!("| {} | {} |\n", keys.join(" "), binding.help())
}

/// The table for the README.
pub fn readme_table() -> String {
    let mut out = String::from("| key | what it does |\n|---|---|\n");
    for command in MOST {
        for binding in bindings().filter(|b| b.command == command) {
            out.push_str(&line(&binding));
        }
    }
    out
}

/// `docs/keys.md`: every key by scope, what hides what, and every command.
pub fn document() -> String {
    let mut out = String::from(
        "# Keys and commands of the dashboard\n\nMade from the tables in `src/dashboard/keymap.rs` and \
         `src/dashboard/commands.rs`; a test compares. A key is a command in words: what is in the second table can \
         be typed after `:` as well.\n",
    );
    let mut scopes: Vec<Scope> = Vec::new();
    for binding in bindings() {
        if !scopes.contains(&binding.scope) {
            scopes.push(binding.scope);
        }
    }
    for scope in scopes {
        let title = scope.title();
        let title = if title.is_empty() {
            "everywhere"
        } else {
            &title
        };
        out.push_str(&format!(
            "\n## Keys {title}\n\n| key | what it does |\n|---|---|\n"
        ));
        for binding in bindings().filter(|b| b.scope == scope) {
            out.push_str(&line(&binding));
        }
    }
    out.push_str("\n## Keys that hide another\n\n");
    for (scope, key, why) in SHADOWS {
        out.push_str(&format!("- `{key}` {}: {why}\n", scope.title()));
    }
    out.push_str("\n## Commands\n\nThe first ones are those of `heirloom ctl RUN`, too.\n\n| command | what it does |\n|---|---|\n");
    for entry in commands::listed() {
        out.push_str(&format!("| `{}` | {} |\n", entry.words, entry.help));
    }
    out
}
