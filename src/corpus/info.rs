//! Describes texts and token files: `heirloom data info`.

use std::sync::Arc;

use super::encode::{encode, read};
use super::reader::{Kind, ReadOptions, Skipped, Tally, kind};
use super::token_file::{self, Format, Opened};
use super::{CorpusError, Tokenizer, Width};
use crate::text::exact;

/// Bytes of the first line that are kept.
const LINE_BYTES: usize = 200;
/// Tokens that are decoded for it.
const LINE_TOKENS: usize = 100;

/// The contents of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Info {
    Tokens {
        format: Format,
        width: Width,
        n: u64,
        /// The smallest and the largest id.
        ids: Option<(u32, u32)>,
        /// Number of end-of-text tokens, if their id is known.
        documents: Option<u64>,
        /// The tokenizer's name in the sidecar.
        tokenizer: Option<String>,
        sources: Vec<String>,
        /// The first line, decoded, if the tokenizer is known.
        line: Option<String>,
    },
    Text {
        documents: u64,
        bytes: u64,
        /// The number of tokens that `data prepare` would write, if a tokenizer is given.
        tokens: Option<u64>,
        /// Rows without a text.
        skipped: Skipped,
        /// The first line that is not blank, cut if needed.
        line: Option<String>,
    },
}

/// The settings for examining files.
#[derive(Debug, Clone, Copy)]
pub struct Looking<'a> {
    /// Counts and decodes tokens.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The field of rows that holds the text.
    pub field: &'a str,
}

/// Examines a file. `progress` is called with the number of bytes read from time to time.
///
/// # Errors
/// When it cannot be read or is damaged, with the place.
pub fn info(
    file: &str,
    how: Looking<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Info, CorpusError> {
    match kind(file)? {
        Kind::Tokens => {
            let path = exact::to_path(file);
            Ok(tokens(&token_file::look(&path)?, how.tokenizer, progress))
        }
        _ => text(file, how, progress),
    }
}

fn tokens(file: &Opened, tokenizer: Option<&Tokenizer>, progress: &mut dyn FnMut(u64)) -> Info {
    let side = file.side.as_ref();
    let embedded = match side.map(|s| s.tokenizer.as_str()) {
        Some("byte") => Some(Tokenizer::byte()),
        Some("gpt2") => Some(Tokenizer::gpt2()),
        _ => None,
    };
    let tokenizer = tokenizer.or(embedded.as_ref());
    let end = tokenizer.and_then(Tokenizer::document_end);
    let (mut least, mut most, mut ends) = (u32::MAX, 0, 0);
    let bytes = file.layout.width.bytes() as u64;
    for (i, id) in file.ids().enumerate() {
        least = least.min(id);
        most = most.max(id);
        ends += u64::from(Some(id) == end);
        if i % (1 << 24) == 0 {
            progress(i as u64 * bytes);
        }
    }
    let line = tokenizer.and_then(|tokenizer| {
        // Ids outside the tokenizer's range have no text.
        let ids = file.ids().take(LINE_TOKENS);
        let ids = ids.take_while(|&id| (id as usize) < tokenizer.size() && Some(id) != end);
        let text = tokenizer.decode(&ids.collect::<Vec<_>>()).ok()?;
        first_line(&text)
    });
    Info::Tokens {
        format: file.layout.format,
        width: file.layout.width,
        n: file.layout.n as u64,
        ids: (file.layout.n > 0).then_some((least, most)),
        documents: end.map(|_| ends),
        tokenizer: side.map(|s| s.tokenizer.clone()),
        sources: side.map_or(Vec::new(), |s| s.sources.clone()),
        line,
    }
}

fn text(file: &str, how: Looking<'_>, progress: &mut dyn FnMut(u64)) -> Result<Info, CorpusError> {
    let (mut documents, mut bytes, mut open) = (0, 0, false);
    let (mut n, mut line) = (0, None);
    let tally = Arc::new(Tally::default());
    let cuts_at_lines = how.tokenizer.is_none_or(Tokenizer::cuts_at_lines);
    let options = ReadOptions::new(cuts_at_lines, how.field);
    read(&[file.to_string()], &options, &tally, |batch| {
        for piece in &batch.pieces {
            documents += u64::from(piece.ends);
            bytes += piece.text.len() as u64;
            open = !piece.ends;
            if line.is_none() {
                line = first_line(&piece.text);
            }
        }
        if let Some(tokenizer) = how.tokenizer {
            let ids = encode(&batch.pieces, tokenizer, &|_| {})?;
            n += ids.iter().map(|ids| ids.len() as u64).sum::<u64>();
        }
        progress(tally.bytes());
        Ok::<(), CorpusError>(())
    })?;
    documents += u64::from(open);
    // The separator that ends each document, where the tokenizer has one.
    let ends = |tokenizer: &Tokenizer| tokenizer.document_end().map_or(0, |_| documents);
    Ok(Info::Text {
        documents,
        bytes,
        tokens: how.tokenizer.map(|tokenizer| n + ends(tokenizer)),
        skipped: tally.skipped(),
        line,
    })
}

/// Returns the first line that is not blank, cut if it is long.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(crate::text::cut(line, LINE_BYTES).into_owned())
}
