//! Finds the places where a long document may be cut, so that its parts can be encoded at the same time and memory stays bounded.

use super::piece::Piece;
use crate::corpus::CorpusError;

/// The rules by which documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// From this many bytes on, cut after the first line break between two characters that are not white space.
    pub at_lines: Option<usize>,
    /// Cut at this many bytes at the latest; ids may then differ from those of the uncut text.
    pub at_most: usize,
}

impl Cuts {
    /// Cuts for a tokenizer whose words never extend over such a line break
    /// ([`crate::corpus::Tokenizer::cuts_at_lines`]), or for any other.
    pub fn new(at_lines: bool) -> Self {
        Self {
            at_lines: at_lines.then_some(256 << 10),
            at_most: 32 << 20,
        }
    }

    /// Returns where the first part of `text` ends. More text would not change the result.
    pub fn first(&self, text: &str) -> Option<usize> {
        if let Some(least) = self.at_lines
            && let Some(at) = line_break(text, least)
        {
            return Some(at);
        }
        if text.len() <= self.at_most {
            return None;
        }
        let most = (0..=self.at_most)
            .rev()
            .find(|&at| text.is_char_boundary(at))?;
        let line = text[..most].rfind('\n').map(|at| at + 1);
        Some(line.filter(|&at| at > most / 2).unwrap_or(most))
    }
}

/// Returns the first place from byte `least` on that follows a line break between two characters that are not white
/// space.
fn line_break(text: &str, least: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = least.max(1);
    while let Some(found) = memchr::memchr(b'\n', bytes.get(from..)?) {
        let newline = from + found;
        let before = text[..newline].chars().next_back();
        let after = text[newline + 1..].chars().next()?;
        if before.is_some_and(|c| !c.is_whitespace()) && !after.is_whitespace() {
            return Some(newline + 1);
        }
        from = newline + 1;
    }
    None
}

/// Documents in parts.
pub struct Cut<I> {
    documents: I,
    cuts: Cuts,
    /// A document that has not been returned completely, and how much of it has.
    rest: Option<(String, usize)>,
}

impl<I> Cut<I> {
    pub fn new(documents: I, cuts: Cuts) -> Self {
        Self {
            documents,
            cuts,
            rest: None,
        }
    }
}

impl<I: Iterator<Item = Result<String, CorpusError>>> Iterator for Cut<I> {
    type Item = Result<Piece, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (document, start) = match self.rest.take() {
            Some(rest) => rest,
            None => match self.documents.next()? {
                Ok(document) => (document, 0),
                Err(error) => return Some(Err(error)),
            },
        };
        let left = &document[start..];
        let cut = self.cuts.first(left);
        let text = match cut {
            None if start == 0 => document,
            None => left.to_string(),
            Some(at) => {
                let text = left[..at].to_string();
                self.rest = Some((document, start + at));
                text
            }
        };
        let ends = cut.is_none();
        Some(Ok(Piece { text, ends }))
    }
}
