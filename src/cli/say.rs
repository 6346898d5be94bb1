//! Output to stdout and stderr. A closed terminal or pipe does not end the program, and names and messages from run directories
//! cannot control the terminal.

use std::io::{ErrorKind, Write};

use crate::corpus::Report;
use crate::text::{self, sanitize};

/// Prints lines to stdout.
///
/// # Errors
/// When it cannot be written. A reader that has left (`| head`) is not an error.
pub fn out(text: &str) -> std::io::Result<()> {
    exactly(&by_line(text))
}

/// Prints JSON to stdout. Characters that a terminal would interpret are escaped, so that programs read the same values.
///
/// # Errors
/// As [`out`].
pub fn json(value: &serde_json::Value) -> std::io::Result<()> {
    exactly(&text::json(&format!("{value:#}\n")))
}

fn exactly(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

/// Prints a message to stderr, after the program's name. A failure to write is ignored.
pub fn err(message: &str) {
    let clean = by_line(message.trim_end_matches('\n'));
    let _ = writeln!(std::io::stderr().lock(), "heirloom: {clean}");
}

/// Prints the lines of a report to stderr; reports of progress are not printed.
pub fn report(report: Report<'_>) {
    if let Report::Line(line) | Report::Shared(line) = report {
        err(line);
    }
}

/// Prints the message of the command line's parser to stdout or stderr. Returns the exit code.
pub fn usage(told: &clap::Error) -> i32 {
    let plain = told.render().to_string();
    let clean = by_line(&plain);
    if clean == plain {
        // In colours.
        let _ = told.print();
    } else {
        // It quotes an argument that could draw.
        let _ = write!(std::io::stderr().lock(), "{clean}");
    }
    told.exit_code()
}

/// Each line sanitised; the line ends stay.
fn by_line(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            clean.push('\n');
        }
        clean.push_str(&sanitize(line));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::by_line;

    #[test]
    fn lines_stay_lines_and_draw_nothing() {
        assert_eq!(by_line("a\x1b[2J\nb\r\n\n"), "a\nb\n\n");
        // A sequence that never ends ends with its line.
        assert_eq!(by_line("a\x1b]0;t\nb"), "a\nb");
    }
}
