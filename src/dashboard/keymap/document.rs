//! The tables of keys and commands for README and `docs/keys.md`.

use super::{SHADOWS, bindings};
use crate::dashboard::commands;
use crate::dashboard::keys::{Binding, Scope};

/// Commands of the most important keys, for the README.
const MOST: [&str; 12] = [
    "help",
    "decision",
    "pause-resume",
    "checkpoint",
    "rollback",
    "leave",
    "suspend",
    "command",
    "view log",
    "zoom in",
    "freeze",
    "play",
];

fn line(binding: &Binding) -> String {
    let keys: Vec<String> = binding.keys.iter().map(|k| format!("`{k}`")).collect();
    format!("| {} | {} |\n", keys.join(" "), binding.help)
}

/// Returns the table of the most important keys, for the tutorial.
pub fn main_keys_table() -> String {
    let mut out = String::from("| key | what it does |\n|---|---|\n");
    for command in MOST {
        // Only the first row of each, because the same command may also have a key in a prompt.
        if let Some(binding) = bindings().find(|b| b.command == command) {
            out.push_str(&line(&binding));
        }
    }
    out
}

/// Returns `docs/keys.md`: every key by scope, the keys that hide others, and every command.
pub fn document() -> String {
    let mut out = String::from(
        "# Keys and commands of the dashboard\n\nMade from the tables in `src/dashboard/keymap/` and \
         `src/dashboard/commands/`; a test compares. A key is a command in words: what is in the second table can \
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
    out.push_str("\n## Commands\n\nThe first ones also work with `heirloom ctl RUN`.\n\n| command | what it does \
     |\n|---|---|\n");
    for entry in commands::listed() {
        out.push_str(&format!("| `{}` | {} |\n", entry.words, entry.help));
    }
    out
}
