//! Handles foreign text: names of directories, journals, logs, configs and messages that may come from an untrusted source.
//!
//! Such text is made harmless when it is read ([`clean`]) and again before it is printed to a terminal ([`sanitize`], [`path`],
//! [`json`]). It is cut to the room that a place has ([`cut`], [`fit`]), and quoted where a reader may paste it into a shell
//! ([`argument`]). A path that is read back is written [exactly](exact). This module depends on no other module of the program.

mod duration;
pub mod exact;
mod python;
mod sanitize;
mod shell;

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use unicode_width::UnicodeWidthChar;

pub use duration::duration;
pub use python::{BYTE_ORDER_MARK, check_mark, python_json, replace_words};
pub use sanitize::{is_invisible, sanitize};
pub use shell::argument;

/// Most bytes of a foreign text; the rest becomes `…`.
pub const LONGEST: usize = 4096;

/// Returns foreign text [sanitised](sanitize), and cut to [`LONGEST`] bytes.
pub fn clean(text: &str) -> Cow<'_, str> {
    match cut(text, LONGEST) {
        Cow::Borrowed(text) => sanitize(text),
        // The text is cut first, so that megabytes cost no more than kilobytes.
        Cow::Owned(head) => Cow::Owned(sanitize(&head).into_owned()),
    }
}

/// Cuts a text to at most `most` bytes (at least 3). The last character of a cut text is `…`.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let mut head = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    Cow::Owned(format!("{}…", &text[..head]))
}

/// Returns the columns of a terminal that a [sanitised](sanitize) text takes.
pub fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// Fits a [sanitised](sanitize) text into exactly `columns` columns of a terminal: pads it with spaces, or cuts it with `…`.
pub fn fit(text: &str, columns: usize) -> String {
    let wide = width(text);
    if wide <= columns {
        return format!("{text}{}", " ".repeat(columns - wide));
    }
    let mut out = String::new();
    let mut room = columns.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    // A wide character that did not fit may have left a column.
    out.push_str(&" ".repeat(room));
    out
}

/// Formats a number with separators: `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Formats a number with its noun: `1 layer`, `2 layers`.
pub fn plural(n: usize, what: &str) -> String {
    match n {
        1 => format!("{n} {what}"),
        _ => format!("{n} {what}s"),
    }
}

/// Formats a path for a message: as [`exact::to_text`] writes it, and [`sanitize`]d.
pub fn path(path: &Path) -> String {
    sanitize(&exact::to_text(path)).into_owned()
}

/// Returns an equivalent JSON document that is harmless to print: characters that [`sanitize`] would remove from its texts are
/// written as `\u` escapes.
pub fn json(document: &str) -> Cow<'_, str> {
    let risky = |c: char| c == '\u{7f}' || !c.is_ascii() && (c.is_control() || is_invisible(c));
    if !document.contains(risky) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if risky(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("ääää", 7), "ää…");
        let long = "数".repeat(3_000_000);
        let cleaned = clean(&long);
        assert!(
            cleaned.len() <= LONGEST && cleaned.ends_with("数…"),
            "{}",
            cleaned.len()
        );
        assert!(matches!(clean("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn columns_hold_whatever_is_written_in_them() {
        for (text, wanted) in [
            ("run", "run     "),
            ("a longer name", "a longe…"),
            ("数字数字", "数字数字"),
            ("数字数字数", "数字数… "),
            ("e\u{301}te\u{301}", "e\u{301}te\u{301}     "),
        ] {
            let fitted = fit(text, 8);
            assert_eq!(fitted, wanted);
            assert_eq!(width(&fitted), 8, "{fitted:?}");
        }
        assert_eq!(fit("name", 0), "");
    }

    #[test]
    fn printed_json_draws_nothing_and_says_the_same() {
        let value = serde_json::json!({"a\u{9b}2J": "\u{1b}[31m\u{7f}\u{202e}\u{e0041}é数"});
        let document = value.to_string();
        let printed = json(&document);
        assert!(printed.contains(r"\u001b[31m\u007f\u202e\udb40\udc41é数"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&printed).unwrap(),
            value
        );
        assert!(matches!(json("{\"é\":1}"), Cow::Borrowed(_)));
    }
}
