//! Encodes texts into token ids, some parts at a time and in parallel; a thread reads ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::reader::{self, Piece, ReadOptions, Tally};
use super::tokenizer::Stage;
use super::tokens::Width;
use super::{CorpusError, Report, Reporter, Tokenizer, Tokens};
use crate::device::memory;
use crate::threads;

/// Bytes of text that are encoded at a time.
const BATCH: usize = 8 << 20;
/// Most parts of documents in a batch, which bounds how long short documents wait.
const MOST_PIECES: usize = 1 << 14;
/// Batches read ahead.
const AHEAD: usize = 2;

/// Parts of a text in order, read together.
pub struct Batch {
    pub pieces: Vec<Piece>,
    /// Whether the text ends with the last of them.
    pub last: bool,
    /// The file they are from, counted from 0.
    pub file: usize,
    /// Bytes of all files that had been read when they were complete.
    read: u64,
}

/// Reads texts batch by batch on a separate thread; `each` receives them in order and may stop the reading with an
/// error. `tally` counts the bytes read of the files, and the skipped rows. The last batch of a file may be empty, as
/// the file may be.
///
/// # Errors
/// Errors of reading or of `each`. Texts read before a failure are passed to `each` first.
pub fn read<E: From<CorpusError>>(
    names: &[String],
    how: &ReadOptions,
    tally: &Arc<Tally>,
    mut each: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(AHEAD);
        let reading = move || {
            for (file, name) in names.iter().enumerate() {
                let mut send = |pieces, last| {
                    let read = tally.bytes();
                    let batch = Batch {
                        pieces,
                        last,
                        file,
                        read,
                    };
                    sender.send(Ok(batch)).is_ok()
                };
                match read_one(name, how, tally, &mut send) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => return drop(sender.send(Err(error))),
                }
            }
        };
        let thread = std::thread::Builder::new().name("reader".into());
        thread.spawn_scoped(scope, reading).map_err(|why| {
            let why = threads::refused("the thread that reads texts", &why);
            CorpusError::Thread(why)
        })?;
        // Moved into the closure, so that the reader ends when this does.
        let batches: Receiver<Result<Batch, CorpusError>> = batches;
        for batch in batches {
            each(batch?)?;
        }
        Ok(())
    })
}

/// Reads a file in batches. Returns whether `send` has accepted all of them.
fn read_one(
    name: &str,
    how: &ReadOptions,
    tally: &Arc<Tally>,
    send: &mut dyn FnMut(Vec<Piece>, bool) -> bool,
) -> Result<bool, CorpusError> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for piece in reader::open(name, how, tally)? {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                send(pieces, false);
                return Err(error);
            }
        };
        bytes += piece.text.len();
        pieces.push(piece);
        if bytes >= BATCH || pieces.len() == MOST_PIECES {
            bytes = 0;
            if !send(std::mem::take(&mut pieces), false) {
                return Ok(false);
            }
        }
    }
    Ok(send(pieces, true))
}

/// Returns the ids of each part; `done` is called with the bytes of each encoded part.
///
/// # Errors
/// When a part of a `tokenizer.json` grows the text beyond the limit. When it takes too long, the process ends.
pub fn encode(
    pieces: &[Piece],
    tokenizer: &Tokenizer,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<u32>>, CorpusError> {
    let watch = tokenizer.watch(pieces.iter().map(|piece| piece.text.len()))?;
    let encode = |(i, piece): (usize, &Piece)| {
        let ids = match &watch {
            Some(watch) => watch.run(i, |stage| tokenizer.encode_here(&piece.text, stage)),
            None => tokenizer.encode_here(&piece.text, &Stage::default()),
        };
        done(piece.text.len());
        ids
    };
    let encoded: Result<_, String> = pieces.par_iter().enumerate().map(encode).collect();
    encoded.map_err(|what| tokenizer.refused(what))
}

/// Returns the id between documents.
///
/// # Errors
/// When the tokenizer has none.
pub fn separator(tokenizer: &Tokenizer) -> Result<u32, CorpusError> {
    let name = || tokenizer.name().to_string();
    let none = || CorpusError::NoEndOfText { name: name() };
    tokenizer.document_end().ok_or_else(none)
}

/// Texts that are read one after the other, and how they are encoded.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    pub files: &'a [String],
    pub tokenizer: &'a Tokenizer,
    /// The field of rows that holds the text.
    pub field: &'a str,
}

/// Encodes texts into tokens in memory, as [`each`] does.
///
/// # Errors
/// As [`each`], and when the tokens do not fit into memory.
pub fn tokens(
    texts: Texts<'_>,
    tally: &Arc<Tally>,
    report: Reporter<'_>,
) -> Result<Tokens, CorpusError> {
    let mut held = Held::new(Width::of(texts.tokenizer.size()), memory::available);
    each(texts, tally, report, &mut |ids| {
        held.push(ids).map_err(|free| CorpusError::NoMemory {
            name: texts.files.join(", "),
            held: held.bytes() >> 20,
            free: free >> 20,
        })
    })?;
    Ok(held.tokens())
}

/// Encodes texts, with the end of text between documents and between files, and passes the ids to `push` in order. `tally`
/// counts the rows without one, and `report` receives the progress.
///
/// # Errors
/// When a text cannot be read or encoded, or `push` fails.
pub fn each(
    texts: Texts<'_>,
    tally: &Arc<Tally>,
    report: Reporter<'_>,
    push: &mut dyn FnMut(&[u32]) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let Texts {
        files: names,
        tokenizer,
        field,
    } = texts;
    let size = |name: &String| reader::size(name).unwrap_or(0);
    let total: u64 = names.iter().map(size).sum();
    // The byte tokenizer takes no time to speak of; BPE takes about a second per 20 MB.
    if tokenizer.name() != "byte" && total > 8 << 20 {
        report(Report::Line(&format!(
            "tokenizing {} ({} MB); `heirloom data prepare` does it once for all runs",
            names.join(", "),
            total >> 20
        )));
    }
    let at = |file: usize, done: u64| {
        report(Report::Reading {
            file: &names[file],
            done: done.min(total),
            total,
        });
    };
    if !names.is_empty() {
        at(0, 0);
    }
    // Bytes of the files that have been encoded completely.
    let mut before = 0;
    // Whether a document continues, and whether its file has ended, after which another document begins.
    let (mut open, mut parted) = (false, false);
    let how = ReadOptions::new(tokenizer.cuts_at_lines(), field);
    read(names, &how, tally, |batch| {
        let length: usize = batch.pieces.iter().map(|piece| piece.text.len()).sum();
        let done = AtomicU64::new(0);
        // Compressed files have fewer bytes than their text: a share of the batch counts as that share of its bytes.
        let encoded = encode(&batch.pieces, tokenizer, &|bytes| {
            let done = done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
            let share = done as f64 / length.max(1) as f64;
            let new = batch.read.saturating_sub(before);
            at(batch.file, before + (share * new as f64) as u64);
        })?;
        before = batch.read;
        for (piece, ids) in batch.pieces.iter().zip(encoded) {
            if std::mem::take(&mut parted) {
                push(&[separator(tokenizer)?])?;
            }
            push(&ids)?;
            open = !piece.ends;
            if piece.ends {
                push(&[separator(tokenizer)?])?;
            }
        }
        parted |= batch.last && std::mem::take(&mut open);
        Ok::<(), CorpusError>(())
    })
}

/// Memory that is left for the rest of the program.
const SPARE_BYTES: u64 = 256 << 20;
/// Smallest number of ids that memory is allocated for.
const LEAST_ROOM: usize = 1 << 20;

/// Collects ids in memory. Checks the free memory before it grows: a text may be many times as long as its file.
struct Held<F> {
    short: Vec<u16>,
    long: Vec<u32>,
    width: Width,
    /// Returns the free bytes of memory, if the system reports them.
    free: F,
}

impl<F: Fn() -> Option<u64>> Held<F> {
    fn new(width: Width, free: F) -> Self {
        Self {
            short: Vec::new(),
            long: Vec::new(),
            width,
            free,
        }
    }

    fn bytes(&self) -> u64 {
        (self.width.bytes() * (self.short.len() + self.long.len())) as u64
    }

    /// Appends ids; the error is the number of bytes that are free.
    fn push(&mut self, ids: &[u32]) -> Result<(), u64> {
        match self.width {
            // They fit: the tokenizer has no larger ids.
            Width::Two => {
                make_room(&mut self.short, ids.len(), &self.free)?;
                self.short.extend(ids.iter().map(|&id| id as u16));
            }
            Width::Four => {
                make_room(&mut self.long, ids.len(), &self.free)?;
                self.long.extend_from_slice(ids);
            }
        }
        Ok(())
    }

    fn tokens(self) -> Tokens {
        match self.width {
            Width::Two => Tokens::owned(self.short),
            Width::Four => Tokens::owned_long(self.long),
        }
    }
}

/// Allocates memory for `n` more: doubles it, or adds an eighth if doubling is too much. While it grows, the old and
/// the new memory may both be held.
fn make_room<T>(ids: &mut Vec<T>, n: usize, free: &impl Fn() -> Option<u64>) -> Result<(), u64> {
    if ids.capacity() - ids.len() >= n {
        return Ok(());
    }
    let least = ids.len().saturating_add(n);
    let free = free().unwrap_or(u64::MAX);
    for room in [ids.len().saturating_mul(2), ids.len() / 8 * 9, least] {
        let room = room.max(least).max(LEAST_ROOM);
        let bytes = (room as u64).saturating_mul(size_of::<T>() as u64);
        let fits = bytes.saturating_add(SPARE_BYTES) <= free || room == LEAST_ROOM;
        if fits && ids.try_reserve_exact(room - ids.len()).is_ok() {
            return Ok(());
        }
    }
    Err(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_held_as_long_as_memory_is_free() {
        let free = std::cell::Cell::new(Some(u64::MAX));
        let mut held = Held::new(Width::Two, || free.get());
        let ids: Vec<u32> = (0..LEAST_ROOM as u32).map(|i| i % 60_000).collect();
        held.push(&ids).unwrap();
        // Memory for an eighth more, but not for twice as much.
        free.set(Some(SPARE_BYTES + 3 * (LEAST_ROOM as u64)));
        held.push(&ids[..10]).unwrap();
        free.set(Some(SPARE_BYTES));
        held.push(&ids[..10]).unwrap();
        assert_eq!(held.push(&ids), Err(SPARE_BYTES));
        assert_eq!(held.bytes(), 2 * (LEAST_ROOM as u64 + 20));
        let tokens = held.tokens();
        assert_eq!(
            (tokens.len(), tokens.get(5), tokens.get(LEAST_ROOM)),
            (LEAST_ROOM + 20, 5, 0)
        );
    }
}
