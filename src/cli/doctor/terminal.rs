//! Checks the terminal: size, colours, locale, characters.

use std::io::{IsTerminal, Write};

use crossterm::{cursor, terminal};

use super::finding::Finding;
use crate::cli::global::UiArgs;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::Depth;

/// Columns and rows that the full overview needs.
const COMFORTABLE: (u16, u16) = (80, 24);

/// Characters of charts, frames and bars, each one column wide.
const SAMPLE: &str = "⣿⠤⢄●◆░▁▃▇┌─┐│±→";

/// Checks the terminal; `draw` allows the test of characters, which prints them.
pub fn check(ui: &UiArgs, draw: bool) -> Vec<Finding> {
    let term = std::env::var("TERM").unwrap_or_default();
    let is_terminal = std::io::stdout().is_terminal();
    let mut all = vec![match (is_terminal, terminal::size()) {
        (false, _) => Finding::ok("terminal", "stdout is not a terminal")
            .with_advice("heirloom prints plain lines here; run doctor in a terminal to check it"),
        (true, _) if ui.plain() => Finding::ok("terminal", format!("TERM={term}: plain lines"))
            .with_advice(
                "for the full screen: unset ACCESSIBLE, and set TERM to the terminal's name",
            ),
        (true, Ok((columns, rows))) if columns > 0 && rows > 0 => size(&term, columns, rows),
        (true, _) => Finding::warn(
            "terminal",
            format!("TERM={term}, its size is unknown"),
            "set it with `stty cols 80 rows 24`, or use --plain",
        ),
    }];
    all.push(colours(ui.depth()));
    all.push(locale(|name| std::env::var(name).unwrap_or_default()));
    let glyphs = ui.glyphs().unwrap_or_else(Glyphs::of_terminal);
    all.push(match glyphs {
        Glyphs::Ascii => Finding::ok("glyphs", "ascii"),
        Glyphs::Block => Finding::ok("glyphs", "block: charts drawn with half-block characters"),
        Glyphs::Braille if draw && is_terminal && std::io::stdin().is_terminal() => measure(),
        Glyphs::Braille => Finding::ok("glyphs", format!("braille: {SAMPLE}")).with_advice(
            "if these characters are not readable, use --glyphs block or --glyphs ascii",
        ),
    });
    all
}

fn size(term: &str, columns: u16, rows: u16) -> Finding {
    let found = format!("TERM={term}, {columns}x{rows}");
    let (wide, high) = COMFORTABLE;
    match columns >= wide && rows >= high {
        true => Finding::ok("terminal", found),
        false => Finding::warn(
            "terminal",
            found,
            format!("panels are left out below {wide}x{high}: enlarge the window"),
        ),
    }
}

fn colours(depth: Depth) -> Finding {
    match depth {
        Depth::True => Finding::ok("colours", "24 bits"),
        Depth::Indexed => Finding::ok("colours", "256"),
        Depth::Basic => Finding::ok("colours", "16")
            .with_advice("if the terminal has more: --color 256, or TERM=xterm-256color"),
        Depth::Mono => Finding::ok("colours", "none (NO_COLOR, TERM or --color never)"),
    }
}

/// Checks that the locale is UTF-8, by its variables in the order of precedence.
fn locale(value: impl Fn(&str) -> String) -> Finding {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| (name, value(name)));
    let Some((name, locale)) = set.into_iter().find(|(_, value)| !value.is_empty()) else {
        return Finding::warn(
            "locale",
            "none is set: charts use ASCII characters",
            "export LC_ALL=C.UTF-8",
        );
    };
    let lower = locale.to_lowercase();
    match lower.contains("utf-8") || lower.contains("utf8") {
        true => Finding::ok("locale", format!("{name}={locale}")),
        false => Finding::warn(
            "locale",
            format!("{name}={locale} is not UTF-8: charts use ASCII characters"),
            "export LC_ALL=C.UTF-8",
        ),
    }
}

/// Prints the sample and asks the terminal how far its cursor has moved: a terminal that does not decode UTF-8, or
/// draws these characters two columns wide, moves it by another number of columns.
fn measure() -> Finding {
    let wanted = SAMPLE.chars().count();
    let moved = || -> std::io::Result<usize> {
        let mut out = std::io::stdout();
        write!(out, "\r{SAMPLE}")?;
        out.flush()?;
        let moved = cursor::position().map(|(column, _)| usize::from(column));
        // Erases the sample, because the finding shows it again.
        write!(out, "\r{:wanted$}\r", "")?;
        out.flush()?;
        moved
    };
    match moved() {
        Ok(columns) if columns == wanted => {
            Finding::ok("glyphs", format!("braille, one column each: {SAMPLE}")).with_advice(
                "if these characters are not readable, use --glyphs block or --glyphs ascii",
            )
        }
        Ok(columns) => Finding::warn(
            "glyphs",
            format!("{wanted} characters take {columns} columns"),
            "use --glyphs ascii",
        ),
        Err(_) => Finding::ok("glyphs", format!("braille, not measured: {SAMPLE}")).with_advice(
            "the terminal did not answer; if these characters are not readable, use --glyphs ascii",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_locale_is_utf_8_by_the_variable_that_counts() {
        let level = |set: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map_or(String::new(), |(_, value)| (*value).to_string())
            };
            locale(value).level()
        };
        assert_eq!(level(&[("LANG", "en_GB.UTF-8")]), Level::Ok);
        assert_eq!(
            level(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")]),
            Level::Warn
        );
        assert_eq!(level(&[("LC_CTYPE", "C.utf8"), ("LANG", "C")]), Level::Ok);
        assert_eq!(level(&[]), Level::Warn);
    }

    #[test]
    fn small_terminals_are_warned_about() {
        assert_eq!(size("xterm", 80, 24).level(), Level::Ok);
        assert_eq!(size("xterm", 79, 24).level(), Level::Warn);
        assert_eq!(size("xterm", 200, 20).level(), Level::Warn);
    }
}
