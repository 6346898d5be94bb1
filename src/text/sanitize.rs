//! Removes everything from foreign text that could control a terminal or disguise the text.
//!
//! Removed: escape sequences (CSI, OSC, DCS and similar) with their contents, C0 and C1 controls, bidirectional controls, and
//! characters that are invisible or change the display of the previous one (zero-width spaces, fillers, soft hyphens, variation
//! selectors, tags, emoji modifiers, non-characters). Line ends and tabs become spaces.
//!
//! Kept: the ordinary text of every script, with its combining marks, except marks that would pile up over the lines above, and
//! marks without a base character. The zero-width joiner and non-joiner are kept after a letter or mark that is not ASCII, where
//! Arabic, Persian and the scripts of India need them. Between emoji they are removed: a joined emoji falls apart into its
//! members, whose widths are the same on all terminals.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use unicode_width::UnicodeWidthChar;

/// Most combining marks on one character; Hebrew with vowels and accents needs this number.
const MARKS: usize = 5;

/// Returns the text without anything that could draw, hide or reorder. The result is never longer than `text`, and sanitising it
/// again does not change it.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    // The most common case.
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = Clean::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out.text)
}

/// Text that is being assembled, with the state that the next character depends on.
struct Clean {
    text: String,
    last: Option<char>,
    /// Marks on the last character that takes a column.
    marks: usize,
}

impl Clean {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            last: None,
            marks: 0,
        }
    }

    /// Appends a visible character, or a mark or joiner where it is permitted.
    fn push(&mut self, c: char) {
        match (is_joiner(c), c.width()) {
            (true, _) if !self.last.is_some_and(joins) => return,
            (true, _) => {}
            (false, Some(0)) if self.last.is_none() || self.marks == MARKS => return,
            (false, Some(0)) => self.marks += 1,
            (false, _) => self.marks = 0,
        }
        self.text.push(c);
        self.last = Some(c);
    }
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner may follow this character.
fn joins(c: char) -> bool {
    !c.is_ascii() && !is_joiner(c) && (c.is_alphabetic() || c.width() == Some(0))
}

/// Skips an escape sequence, after its ESC.
fn skip_escape(chars: &mut Peekable<Chars<'_>>) {
    // A second ESC breaks the sequence off.
    if chars.peek() == Some(&'\u{1b}') {
        return;
    }
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        // Two-character sequences, some with intermediates.
        Some(' '..='/') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut Peekable<Chars<'_>>) {
    while let Some(&c) = chars.peek() {
        // Parameters and intermediates, then one final character. Anything else breaks the sequence off.
        match c {
            '\u{20}'..='\u{3f}' => {
                chars.next();
            }
            '\u{40}'..='\u{7e}' => {
                chars.next();
                return;
            }
            _ => return,
        }
    }
}

/// Skips the contents of a control string, up to the string terminator or BEL. Without an end, the rest of the line is skipped.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' | '\n' => return,
            '\u{1b}' => {
                if chars.peek() == Some(&'\\') {
                    chars.next();
                }
                return;
            }
            _ => {}
        }
    }
}

/// Whether a character, other than a control character, is invisible, reorders others, or only changes the display of others.
pub fn is_invisible(c: char) -> bool {
    let code = u32::from(c);
    match code {
        // Soft hyphen, grapheme joiner, Arabic letter mark.
        0xad | 0x34f | 0x61c => true,
        // Fillers of Hangul, inherent vowels of Khmer, selectors and separator of Mongolian.
        0x115f | 0x1160 | 0x3164 | 0xffa0 | 0x17b4 | 0x17b5 | 0x180b..=0x180f => true,
        // Zero-width space; marks, embeddings, overrides and isolates of direction; joiners of words; invisible operators.
        0x200b | 0x200e | 0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff => true,
        // Variation selectors, interlinear annotation, shorthand and musical controls, tags.
        0xfe00..=0xfe0f
        | 0xfff0..=0xfffb
        | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff => true,
        // Emoji modifiers take columns on some terminals only.
        0x1f3fb..=0x1f3ff => true,
        0xfdd0..=0xfdef => true,
        // The last two of every plane are not characters.
        _ => code & 0xfffe == 0xfffe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_draw_is_left() {
        for (text, wanted) in [
            ("a\x1b[31mred\x1b[0mb", "aredb"),
            ("t\x1b]0;title\x07x", "tx"),
            ("t\x1b]8;;http://x\x1b\\link", "tlink"),
            ("d\x1bP1;2q###\x1b\\e", "de"),
            ("c1\u{9b}2Jz", "c1z"),
            ("c1\u{9d}0;title\u{9c}z", "c1z"),
            ("over\rdraw\x08\x07", "overdraw"),
            ("nul\0del\x7f", "nuldel"),
            ("bidi\u{202e}evil\u{2066}\u{61c}", "bidievil"),
            ("tab\tand\nline\u{2028}end", "tab and line end"),
            ("\x1b", ""),
            ("\x1b(Bx", "x"),
            ("\x1b\x1b[2Jx", "x"),
        ] {
            assert_eq!(sanitize(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn nothing_invisible_is_left() {
        for c in [
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{180e}',
            '\u{200b}',
            '\u{2060}',
            '\u{2064}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{1f3fd}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{1fffe}',
        ] {
            assert_eq!(sanitize(&format!("a{c}b")), "ab", "{c:?}");
        }
    }

    #[test]
    fn ordinary_text_of_every_script_is_kept() {
        for text in [
            "plain ± text → 数",
            "Ärger, señor, Ελληνικά, Русский",
            "עִבְרִית שׁ",
            "العربية والفارسية",
            "हिन्दी தமிழ் বাংলা ไทย བོད་",
            "한국어 日本語 中文",
            "\u{1112}\u{1161}\u{11ab}",
            "e\u{301} a\u{30a}\u{323}",
            "🙂 🚀 🇪🇺",
        ] {
            assert_eq!(sanitize(text), text);
        }
    }

    #[test]
    fn joiners_are_kept_where_a_script_needs_them() {
        // Persian "I want", Devanagari half form, Malayalam chillu.
        for text in ["می\u{200c}خواهم", "क\u{94d}\u{200d}ष", "ന\u{d4d}\u{200d}"] {
            assert_eq!(sanitize(text), text);
        }
        assert_eq!(sanitize("pay\u{200d}pal"), "paypal");
        assert_eq!(sanitize("\u{200d}\u{200c}x"), "x");
        assert_eq!(sanitize("می\u{200c}\u{200c}\u{200d}خ"), "می\u{200c}خ");
        assert_eq!(sanitize("👩\u{200d}👩\u{200d}👧"), "👩👩👧");
        assert_eq!(sanitize("❤\u{fe0f}"), "❤");
    }

    #[test]
    fn marks_neither_pile_up_nor_sit_on_what_was_there_before() {
        let pile = format!("a{}b", "\u{301}".repeat(1000));
        assert_eq!(sanitize(&pile), format!("a{}b", "\u{301}".repeat(MARKS)));
        assert_eq!(sanitize("\u{301}\u{20dd}a"), "a");
        assert_eq!(sanitize("\x1b[1m\u{301}a\u{301}"), "a\u{301}");
    }

    #[test]
    fn clean_ascii_is_not_copied() {
        assert!(matches!(sanitize("plain ~ text"), Cow::Borrowed(_)));
    }

    /// Checks every character, alone and after a letter and an emoji, and its effect on its neighbours.
    #[test]
    fn every_character_is_either_harmless_or_gone() {
        for c in '\0'..=char::MAX {
            for before in ["", "a", "क\u{94d}", "👩"] {
                let text = format!("{before}{c}b");
                let once = sanitize(&text);
                assert!(once.len() <= text.len(), "{c:?}");
                assert!(
                    !once.contains(|c: char| c.is_control() || is_invisible(c)),
                    "{c:?}"
                );
                assert_eq!(sanitize(&once), once, "{c:?}");
            }
        }
    }
}
