//! Steps that can multiply a text at once, as the `tokenizers` crate computes them, but counted: `Replace` and a table
//! of characters (`Precompiled`).

use serde_json::Value;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::pattern::Pattern;
use tokenizers::utils::SysRegex;
use tokenizers::{NormalizedString, Offsets};
use unicode_segmentation::UnicodeSegmentation;

/// `Replace`, as in the crate.
pub struct Replacement {
    /// The pattern as an expression, from which a copy is made.
    pattern: String,
    regex: SysRegex,
    content: String,
}

impl Clone for Replacement {
    fn clone(&self) -> Self {
        let Ok(regex) = SysRegex::new(&self.pattern) else {
            unreachable!("the same pattern was compiled before")
        };
        Self {
            pattern: self.pattern.clone(),
            regex,
            content: self.content.clone(),
        }
    }
}

impl Replacement {
    /// Splits a step of the crate into its parts.
    ///
    /// # Errors
    /// When its pattern cannot be compiled again.
    pub fn of(replace: &tokenizers::normalizers::Replace) -> Result<Self, String> {
        let value = serde_json::to_value(replace).unwrap_or_default();
        let pattern = match (&value["pattern"]["String"], &value["pattern"]["Regex"]) {
            (Value::String(text), _) => regex_syntax::escape(text),
            (_, Value::String(regex)) => regex.clone(),
            _ => return Err("it has a Replace without a pattern".into()),
        };
        let regex = SysRegex::new(&pattern).map_err(|e| format!("its Replace: {e}"))?;
        Ok(Self {
            pattern,
            regex,
            content: replace.content.clone(),
        })
    }

    /// Replaces in a text that is being normalized. Returns false when the result has more than `most` bytes.
    ///
    /// # Errors
    /// Those of the crate.
    pub fn normalize(&self, text: &mut NormalizedString, most: usize) -> tokenizers::Result<bool> {
        let counted = Counted {
            replacement: self,
            most,
        };
        match text.replace(&counted, &self.content) {
            Ok(()) => Ok(true),
            Err(error) if error.is::<TooLong>() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces in the texts of tokens; returns `None` when the result has more than `most` bytes.
    pub fn decode(&self, tokens: &[String], most: usize) -> Option<Vec<String>> {
        let mut bytes = 0;
        let mut decoded = Vec::with_capacity(tokens.len());
        for token in tokens {
            let counted = Counted {
                replacement: self,
                most: most - bytes,
            };
            let matches = (&counted).find_matches(token).ok()?;
            let mut text = String::new();
            for ((start, end), is_match) in matches {
                text.push_str(match is_match {
                    true => &self.content,
                    false => &token[start..end],
                });
            }
            bytes += text.len();
            if bytes > most {
                return None;
            }
            decoded.push(text);
        }
        Some(decoded)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the text grows too long")]
struct TooLong;

/// The matches of a pattern in a text, found as the crate finds them, as long as the resulting text is not too long.
struct Counted<'a> {
    replacement: &'a Replacement,
    most: usize,
}

impl Pattern for &Counted<'_> {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let (mut before, mut bytes) = (0, 0);
        let mut parts = Vec::with_capacity(inside.len());
        for (start, end) in self.replacement.regex.find_iter(inside) {
            if before != start {
                parts.push(((before, start), false));
            }
            parts.push(((start, end), true));
            bytes += start - before + self.replacement.content.len();
            if bytes > self.most {
                return Err(TooLong.into());
            }
            before = end;
        }
        if before != inside.len() {
            parts.push(((before, inside.len()), false));
        }
        Ok(parts)
    }
}

/// Normalizes with a table of characters, in the same steps as the crate. Returns false when the result has more than
/// `most` bytes.
pub fn precompiled(table: &Precompiled, text: &mut NormalizedString, most: usize) -> bool {
    let mut changes = Vec::with_capacity(text.get().len());
    let (mut changed, mut bytes) = (false, 0);
    for grapheme in text.get().graphemes(true) {
        if grapheme.len() < 6
            && let Some(new) = table.transform(grapheme)
        {
            changed = true;
            bytes += new.len();
            if bytes > most {
                return false;
            }
            change(&mut changes, grapheme, new);
            continue;
        }
        for (at, c) in grapheme.char_indices() {
            let part = &grapheme[at..at + c.len_utf8()];
            let new = table.transform(part);
            bytes += new.map_or(part.len(), str::len);
            if bytes > most {
                return false;
            }
            match new {
                Some(new) => {
                    changed = true;
                    change(&mut changes, part, new);
                }
                None => changes.push((c, 0)),
            }
        }
    }
    if changed {
        text.transform(changes, 0);
    }
    true
}

/// Appends the characters of `new` with their offsets from those of `old`: 1 for each added character; the last one
/// carries the removed ones.
fn change(changes: &mut Vec<(char, isize)>, old: &str, new: &str) {
    let difference = new.chars().count() as isize - old.chars().count() as isize;
    changes.extend(new.chars().map(|c| (c, 0)));
    if difference > 0 {
        let added = changes.iter_mut().rev().take(difference as usize);
        added.for_each(|(_, change)| *change = 1);
    } else if let Some((_, change)) = changes.last_mut() {
        *change += difference;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::Normalizer;

    /// A table as sentencepiece writes it: a trie as a double array, and the replacements, each ended by a zero.
    fn table(pairs: &[(char, &str)]) -> Precompiled {
        let mut units = vec![0u32; 4096];
        let mut texts = Vec::new();
        let unit = |label: u8, leaf: bool, offset: usize| {
            u32::from(label) | u32::from(leaf) << 8 | (offset as u32) << 10
        };
        // Entries of first bytes begin at 256, those of second bytes at an offset that the first byte determines.
        units[0] = unit(0, false, 256);
        let mut next = 512;
        let mut begun = std::collections::HashMap::new();
        for (i, (c, text)) in pairs.iter().enumerate() {
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            let mut base = 256;
            for (depth, &byte) in utf8.iter().enumerate() {
                let at = base ^ usize::from(byte);
                let last = depth + 1 == utf8.len();
                let to = if last {
                    3072 + i
                } else {
                    *begun.entry(utf8[..=depth].to_vec()).or_insert_with(|| {
                        next += 256;
                        next
                    })
                };
                units[at] = unit(byte, last, at ^ to);
                base = to;
            }
            units[3072 + i] = texts.len() as u32;
            texts.extend_from_slice(text.as_bytes());
            texts.push(0);
        }
        let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(texts);
        Precompiled::from(&bytes).unwrap()
    }

    #[test]
    fn tables_change_texts_as_the_crate_does() {
        let table = table(&[
            ('a', "bb"),
            ('\u{e9}', "e\u{301}"),
            ('\u{2122}', "TM"),
            ('x', ""),
            ('\u{3000}', " "),
        ]);
        for text in [
            "",
            "plain",
            "banana xx x\u{e9}\u{2122}\u{2122}\u{3000}y",
            "xaxaxa",
            "e\u{301}a\u{301}\u{302} \u{1f468}\u{200d}\u{1f469} \r\n\u{2122}x",
        ] {
            let (mut ours, mut theirs) =
                (NormalizedString::from(text), NormalizedString::from(text));
            assert!(precompiled(&table, &mut ours, 1000));
            table.normalize(&mut theirs).unwrap();
            assert_eq!(ours, theirs, "{text:?}");
        }
        let mut changed = NormalizedString::from("banana x\u{2122}");
        assert!(precompiled(&table, &mut changed, 1000));
        assert_eq!(changed.get(), "bbbnbbnbb TM");
    }

    #[test]
    fn tables_are_stopped_where_they_make_too_much() {
        let table = table(&[('a', &"b".repeat(3000)), ('\u{e9}', &"c".repeat(3000))]);
        for text in ["za", "z\u{e9}"] {
            let mut changed = NormalizedString::from(text);
            assert!(!precompiled(&table, &mut changed, 3000));
            assert_eq!(changed.get(), text);
            assert!(precompiled(&table, &mut changed, 3001));
        }
    }
}
