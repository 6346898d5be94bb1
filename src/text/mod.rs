//! Foreign text: names of directories, journals, logs, configs and messages that someone else may have written.
//!
//! It is made harmless where it enters ([`clean`]) and once more where it leaves for a terminal ([`sanitize`],
//! [`path`], [`json`]), cut to what a place can hold ([`cut`], [`fit`]), and quoted where a reader may paste it into
//! a shell ([`argument`]). A path that is read back is written [to the byte](exact). This room knows nothing else of the house.

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

/// Bytes that a text from elsewhere may have; the rest becomes `…`.
pub const LONGEST: usize = 4096;

/// Foreign text as it may enter: [sanitised](sanitize), and cut to [`LONGEST`] bytes.
pub fn clean(text: &str) -> Cow<'_, str> {
    match cut(text, LONGEST) {
        Cow::Borrowed(text) => sanitize(text),
        // What is cut off is not looked at: a text of megabytes costs no more than one of kilobytes.
        Cow::Owned(head) => Cow::Owned(sanitize(&head).into_owned()),
    }
}

/// At most `most` bytes of a text (at least 3), the last character being `…` where something is missing.
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

/// Columns of a terminal that a [sanitised](sanitize) text takes.
pub fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// A [sanitised](sanitize) text over exactly `columns` columns of a terminal: filled up with spaces, or cut with `…`.
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
    // A wide character may have left a column.
    out.push_str(&" ".repeat(room));
    out
}

/// `12,345`.
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

/// `1 layer`, `2 layers`.
pub fn plural(n: usize, what: &str) -> String {
    match n {
        1 => format!("{n} {what}"),
        _ => format!("{n} {what}s"),
    }
}

/// A path for a message: as [`exact::to_text`] writes it, and [`sanitize`]d.
pub fn path(path: &Path) -> String {
    sanitize(&exact::to_text(path)).into_owned()
}

/// A JSON document that says the same and is harmless to print: what [`sanitize`] would take out of its texts is
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
