//! Text for the shell, written so that a terminal or reader that has gone ends nothing, and so that names and messages
//! from run directories cannot draw on the terminal.

use std::io::{ErrorKind, Write};

use crate::dashboard::sanitize::sanitize;

/// Lines to stdout.
///
/// # Errors
/// When it cannot be written. A reader that has left (`| head`) is no error.
pub fn out(text: &str) -> std::io::Result<()> {
    let clean: String = text
        .split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => sanitize(line) + "\n",
            None => sanitize(line),
        })
        .collect();
    exactly(&clean)
}

/// JSON to stdout, as it is.
///
/// # Errors
/// As [`out`].
pub fn json(value: &serde_json::Value) -> std::io::Result<()> {
    exactly(&format!("{value:#}\n"))
}

fn exactly(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

/// A message to stderr, headed by the program's name. Where it cannot be written, nobody is there to read it.
pub fn err(message: &str) {
    let clean: Vec<String> = message.lines().map(sanitize).collect();
    let _ = writeln!(std::io::stderr().lock(), "heirloom: {}", clean.join("\n"));
}
