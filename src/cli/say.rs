//! Text for the shell, written so that a terminal or reader that has gone ends nothing.

use std::io::{ErrorKind, Write};

/// To stdout.
///
/// # Errors
/// When it cannot be written. A reader that has left (`| head`) is no error.
pub fn out(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

/// A line to stderr, headed by the program's name. Where it cannot be written, nobody is there to read it.
pub fn err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "heirloom: {line}");
}
