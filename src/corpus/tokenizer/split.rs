//! Splits text into words, as the regular expressions of byte-level tokenizers do, without backtracking: a million
//! spaces take linear time. `fancy-regex` is not used because it backtracks and fails on such texts.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// The expressions known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,MOST}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:
    /// Llama 3 with 3 digits at most, Qwen 2 with 1.
    Lines { most_digits: usize },
    /// The text is one word.
    Whole,
}

/// Llama 3's expression as `tokenizer.json` spells it.
pub const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's.
pub const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral's, and that of GPT-4o. Texts are split by them in the `tokenizers` crate.
pub const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A rule that splits a text into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// First, every digit becomes a separate word.
    pub digits_apart: bool,
    pub pattern: Pattern,
}

impl Split {
    /// Calls `word` with every word of `text`, in order.
    pub fn words<'a>(&self, text: &'a str, word: &mut impl FnMut(&'a str)) {
        if !self.digits_apart {
            return self.pattern.words(text, word);
        }
        let mut start = 0;
        for (at, c) in text.char_indices() {
            if class(c) == NUMBER {
                self.pattern.words(&text[start..at], word);
                start = at + c.len_utf8();
                word(&text[at..start]);
            }
        }
        self.pattern.words(&text[start..], word);
    }
}

impl Pattern {
    fn words<'a>(self, mut text: &'a str, word: &mut impl FnMut(&'a str)) {
        while !text.is_empty() {
            let end = match self {
                Self::Gpt2 => gpt2(text),
                Self::Lines { most_digits } => lines(text, most_digits),
                Self::Whole => text.len(),
            };
            word(&text[..end]);
            text = &text[end..];
        }
    }
}

const OTHER: u8 = 0;
const LETTER: u8 = 1;
const NUMBER: u8 = 2;
const SPACE: u8 = 3;

/// The class of every character.
static CLASSES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut classes = vec![OTHER; 0x11_0000];
    for (pattern, class) in [(r"\p{L}", LETTER), (r"\p{N}", NUMBER)] {
        let Ok(hir) = regex_syntax::parse(pattern) else {
            unreachable!("a fixed pattern")
        };
        if let HirKind::Class(Class::Unicode(set)) = hir.kind() {
            for range in set.iter() {
                classes[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
    }
    for c in (0..=0x3000).filter_map(char::from_u32) {
        if c.is_whitespace() {
            classes[c as usize] = SPACE;
        }
    }
    classes
});

fn class(c: char) -> u8 {
    match c {
        'a'..='z' | 'A'..='Z' => LETTER,
        '0'..='9' => NUMBER,
        ' ' | '\t'..='\r' => SPACE,
        '\0'..='\x7f' => OTHER,
        _ => CLASSES[c as usize],
    }
}

/// Returns the number of bytes at the start of `text` whose characters are of one class.
fn run(text: &str, wanted: u8) -> usize {
    text.char_indices()
        .find(|&(_, c)| class(c) != wanted)
        .map_or(text.len(), |(at, _)| at)
}

fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// Bytes of the first word by GPT-2's pattern.
fn gpt2(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    if first == '\'' {
        let rest = &text.as_bytes()[1..];
        match rest {
            [b's' | b't' | b'm' | b'd', ..] => return 2,
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => return 3,
            _ => {}
        }
    }
    let kind = class(first);
    if kind != SPACE {
        return run(text, kind);
    }
    match chars.next().map(class) {
        Some(next) if first == ' ' && next != SPACE => 1 + run(&text[1..], next),
        _ => spaces(text),
    }
}

/// `\s+(?!\S)|\s+`: all white space, but the last of several characters stays with the word that follows.
fn spaces(text: &str) -> usize {
    let end = run(text, SPACE);
    if end == text.len() {
        return end;
    }
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    if last == end { end } else { end - last }
}

/// Bytes of the first word by Llama 3's and Qwen 2's patterns.
fn lines(text: &str, most_digits: usize) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    if first == '\'' {
        let mut rest = text[1..].chars();
        let lower = |c: char| c.to_ascii_lowercase();
        match (rest.next().map(lower), rest.next().map(lower)) {
            // The long s is an s to a pattern that ignores case.
            (Some('ſ'), _) => return 1 + 'ſ'.len_utf8(),
            (Some('s' | 't' | 'm' | 'd'), _) => return 2,
            (Some('r' | 'v'), Some('e')) | (Some('l'), Some('l')) => return 3,
            _ => {}
        }
    }
    let next = chars.next().map(class);
    let width = first.len_utf8();
    match class(first) {
        LETTER => run(text, LETTER),
        NUMBER => text
            .char_indices()
            .take(most_digits)
            .take_while(|&(_, c)| class(c) == NUMBER)
            .map(|(at, c)| at + c.len_utf8())
            .last()
            .unwrap_or(width),
        _ if !is_newline(first) && next == Some(LETTER) => width + run(&text[width..], LETTER),
        OTHER => marks(text, 0),
        _ if first == ' ' && next == Some(OTHER) => marks(text, 1),
        _ => {
            let end = run(text, SPACE);
            match text[..end].rfind(is_newline) {
                Some(newline) => newline + 1,
                None => spaces(text),
            }
        }
    }
}

/// `[^\s\p{L}\p{N}]+[\r\n]*` from byte `start` on.
fn marks(text: &str, start: usize) -> usize {
    let end = start + run(&text[start..], OTHER);
    let newlines = text[end..].find(|c| !is_newline(c));
    newlines.map_or(text.len(), |n| end + n)
}
