//! Texts into token ids, some parts at a time and in parallel; a thread reads ahead.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::reader::{self, Cuts, Piece};
use super::tokens::Width;
use super::{CorpusError, Tokenizer, Tokens};
use crate::text::exact;
use crate::threads;

/// Bytes of text that are encoded at a time.
const BATCH: usize = 8 << 20;
/// Parts of documents in a batch: short documents do not wait for others without end.
const MOST_PIECES: usize = 1 << 14;
/// Batches read ahead.
const AHEAD: usize = 2;

/// Parts of a text in order, read together.
pub struct Batch {
    pub pieces: Vec<Piece>,
    /// Whether the text ends with the last of them.
    pub last: bool,
}

/// Reads texts batch by batch on a thread of its own; `each` gets them in order and may stop the reading by an error. `count` grows
/// by the bytes read of the files.
///
/// # Errors
/// What reading or `each` fails with. What was read before a failure is given to `each` first.
pub fn read<E: From<CorpusError>>(
    names: &[String],
    cuts: Cuts,
    count: &Arc<AtomicU64>,
    mut each: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(AHEAD);
        let reading = move || {
            for name in names {
                let mut send = |batch| sender.send(Ok(batch)).is_ok();
                match read_one(name, cuts, count, &mut send) {
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
        // Taken along, so that the reader ends when this does.
        let batches: Receiver<Result<Batch, CorpusError>> = batches;
        for batch in batches {
            each(batch?)?;
        }
        Ok(())
    })
}

/// Whether everything was taken.
fn read_one(
    name: &str,
    cuts: Cuts,
    count: &Arc<AtomicU64>,
    send: &mut dyn FnMut(Batch) -> bool,
) -> Result<bool, CorpusError> {
    let mut pieces = Vec::new();
    let (mut bytes, mut any) = (0, false);
    for piece in reader::open(name, cuts, count)? {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                send(Batch {
                    pieces,
                    last: false,
                });
                return Err(error);
            }
        };
        any |= !piece.text.is_empty();
        bytes += piece.text.len();
        pieces.push(piece);
        if bytes >= BATCH || pieces.len() == MOST_PIECES {
            bytes = 0;
            let pieces = std::mem::take(&mut pieces);
            if !send(Batch {
                pieces,
                last: false,
            }) {
                return Ok(false);
            }
        }
    }
    if !any {
        return Err(CorpusError::Empty { name: name.into() });
    }
    Ok(send(Batch { pieces, last: true }))
}

/// The ids of each part.
pub fn encode(pieces: &[Piece], tokenizer: &Tokenizer) -> Vec<Vec<u32>> {
    let encode = |piece: &Piece| tokenizer.encode(&piece.text);
    pieces.par_iter().map(encode).collect()
}

/// The id between documents.
///
/// # Errors
/// When the tokenizer has none.
pub fn separator(tokenizer: &Tokenizer) -> Result<u32, CorpusError> {
    let name = || tokenizer.name().to_string();
    let none = || CorpusError::NoEndOfText { name: name() };
    tokenizer.document_end().ok_or_else(none)
}

/// Texts in memory, the end of text between documents and between files.
pub fn tokens(
    names: &[String],
    tokenizer: &Tokenizer,
    progress: &dyn Fn(&str),
) -> Result<Tokens, CorpusError> {
    let size = |name: &String| std::fs::metadata(exact::to_path(name)).map_or(0, |m| m.len());
    let total: u64 = names.iter().map(size).sum();
    // Bytes take no time; BPE about a second per 20 MB.
    if tokenizer.name() != "byte" && total > 8 << 20 {
        progress(&format!(
            "tokenizing {} ({} MB); `heirloom data prepare` does it once for all runs",
            names.join(", "),
            total >> 20
        ));
    }
    let width = Width::of(tokenizer.size());
    let (mut short, mut long) = (Vec::new(), Vec::new());
    let mut push = |ids: &[u32]| match width {
        // They fit: the tokenizer has no larger ids.
        Width::Two => short.extend(ids.iter().map(|&id| id as u16)),
        Width::Four => long.extend_from_slice(ids),
    };
    let mut left = names.len();
    let mut open = false;
    let cuts = Cuts::new(tokenizer.cuts_at_lines());
    read(names, cuts, &Arc::default(), |batch| {
        let encoded = encode(&batch.pieces, tokenizer);
        for (piece, ids) in batch.pieces.iter().zip(encoded) {
            push(&ids);
            open = !piece.ends;
            if piece.ends {
                push(&[separator(tokenizer)?]);
            }
        }
        if batch.last {
            left -= 1;
            if open && left > 0 {
                push(&[separator(tokenizer)?]);
            }
        }
        Ok::<(), CorpusError>(())
    })?;
    Ok(match width {
        Width::Two => Tokens::owned(short),
        Width::Four => Tokens::owned_long(long),
    })
}
