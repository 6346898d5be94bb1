//! Encodes texts into token files, once for all runs. An interrupted preparation keeps its output and continues there,
//! after checking that the text before that point is unchanged.

mod output;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::output::Output;
use self::state::State;
use super::encode::{Batch, encode, read, separator};
use super::reader::{self, Kind, Piece, ReadOptions, Skipped, Tally, find, kind};
use super::token_file::LARGEST;
use super::tokens::Width;
use super::{CorpusError, TEXT_FIELD, Tokenizer};

/// Interval between flushes of the output.
const SAFE_EVERY: Duration = Duration::from_secs(2);

/// A preparation's inputs and settings.
#[derive(Debug, Clone)]
pub struct Job {
    /// Files, directories, patterns.
    pub inputs: Vec<String>,
    pub out: PathBuf,
    /// A share of the documents, evenly strided, and the file they go to.
    pub val: Option<(f64, PathBuf)>,
    pub tokenizer: Tokenizer,
    /// The field of JSON rows and the column of Parquet files that holds the text.
    pub field: String,
    /// Overwrite files, and begin again.
    pub force: bool,
    /// Tokens in one file before the next is begun.
    pub shard_tokens: u64,
}

impl Job {
    /// All of `inputs` into `out`.
    pub fn new(inputs: &[String], out: &Path, tokenizer: Tokenizer) -> Self {
        Self {
            inputs: inputs.to_vec(),
            out: out.into(),
            val: None,
            tokenizer,
            field: TEXT_FIELD.into(),
            force: false,
            shard_tokens: LARGEST,
        }
    }
}

/// The outcome of a preparation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub tokens: u64,
    /// Tokens held out for validation.
    pub val_tokens: u64,
    /// Bytes of text, without document separators.
    pub bytes: u64,
    pub documents: u64,
    /// The files, in order; those of the validation text last. Empty when it was stopped.
    pub files: Vec<PathBuf>,
    /// Whether everything is done; otherwise the same call continues.
    pub done: bool,
    /// Bytes of text that an earlier call had encoded.
    pub kept: u64,
    /// Rows that have no text.
    pub skipped: Skipped,
    /// Lines on the files of the inputs' directories that are not read.
    pub left_out: Vec<String>,
}

/// The progress of a preparation, in bytes of the input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub read: u64,
    pub total: u64,
    /// Whether it is still checking what an earlier call had encoded.
    pub checking: bool,
}

/// Encodes a job's inputs into its token file; the end of text follows each document and each file. `progress` is
/// called between batches, and returns whether to continue.
///
/// # Errors
/// When an input cannot be read, none has a text, `out` exists and `force` is not given, the state of an interrupted
/// call does not fit, or writing fails. `out` is then unchanged, and completed work is kept next to it: the corrected
/// call continues from there, or begins again if the texts before the fault have changed.
pub fn prepare(
    job: &Job,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared, CorpusError> {
    let outs = [Some(&job.out), job.val.as_ref().map(|(_, out)| out)];
    for out in outs.into_iter().flatten() {
        if out.exists() && !job.force {
            return Err(CorpusError::Exists { path: out.clone() });
        }
    }
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for input in &job.inputs {
        let found = find(input)?;
        left_out.extend(found.left_out(input));
        files.extend(found.files);
    }
    let mut total = 0;
    for file in &files {
        total += size(file)?;
    }
    let share = job.val.as_ref().map(|(share, _)| *share);
    let fresh = State::new(&job.tokenizer, &files, share, &job.field);
    let candidates = match job.force {
        true => {
            State::remove(&job.out);
            Vec::new()
        }
        false => fresh.candidates(&job.out)?,
    };
    let mut candidates = candidates.into_iter();
    let mut state = candidates.next().unwrap_or(fresh);
    loop {
        let made = continue_from(job, state, &files, total, progress);
        match (made, candidates.next()) {
            (Err(CorpusError::Unlike { .. }), Some(next)) => state = next,
            (made, _) => return made.map(|made| Prepared { left_out, ..made }),
        }
    }
}

/// Continues from a state.
fn continue_from(
    job: &Job,
    mut state: State,
    files: &[String],
    total: u64,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared, CorpusError> {
    let width = Width::of(job.tokenizer.size());
    let output = |out: &Path, shards: &[u64]| {
        let opened = Output::open(out, width, job.shard_tokens, shards);
        opened.map_err(|error| match error {
            // The output that the state describes does not exist: it has another name, or was removed.
            CorpusError::TokenFile { path, what } => CorpusError::Unlike { path, what },
            error => error,
        })
    };
    let tally = Arc::new(Tally::default());
    state.failed = false;
    let mut work = Work {
        train: output(&job.out, &state.done.train)?,
        val: match &job.val {
            Some((share, out)) => Some((*share, output(out, &state.done.val)?)),
            None => None,
        },
        skip: state.done.pieces,
        kept: state.done.bytes,
        hash: blake3::Hasher::new(),
        separator: separator(&job.tokenizer)?,
        open: false,
        safe: Instant::now(),
        tally: Arc::clone(&tally),
        state,
        job,
    };
    let how = ReadOptions::new(job.tokenizer.cuts_at_lines(), &job.field);
    let ended = read(files, &how, &tally, |batch| {
        work.take(batch)?;
        let wanted = progress(Progress {
            read: tally.bytes(),
            total,
            checking: work.skip > 0,
        });
        if wanted { Ok(()) } else { Err(End::Stopped) }
    });
    let failed = match ended {
        Ok(()) => match work.state.done.bytes {
            0 => CorpusError::Empty {
                name: crate::text::cut(&job.inputs.join(", "), 200).into_owned(),
                skipped: tally.skipped(),
            },
            _ => return work.finish(files),
        },
        Err(End::Stopped) => {
            work.make_safe()?;
            return Ok(work.prepared(Vec::new(), false));
        }
        Err(End::Failed(error)) => error,
    };
    work.state.failed = true;
    // The first failure is the one to report.
    let _ = work.make_safe();
    Err(failed)
}

enum End {
    Failed(CorpusError),
    Stopped,
}

impl From<CorpusError> for End {
    fn from(error: CorpusError) -> Self {
        Self::Failed(error)
    }
}

fn size(name: &str) -> Result<u64, CorpusError> {
    match kind(name)? {
        Kind::Tokens => Err(CorpusError::TokenFile {
            path: name.into(),
            what: "holds tokens already; pass text files instead".into(),
        }),
        _ => reader::size(name),
    }
}

struct Work<'a> {
    job: &'a Job,
    state: State,
    train: Output,
    val: Option<(f64, Output)>,
    /// Parts that an earlier call has encoded and this one has not seen yet.
    skip: u64,
    /// Bytes of text in them.
    kept: u64,
    /// Over the parts seen.
    hash: blake3::Hasher,
    separator: u32,
    /// Whether the last document seen has not ended.
    open: bool,
    safe: Instant,
    tally: Arc<Tally>,
}

impl Work<'_> {
    fn take(&mut self, batch: Batch) -> Result<(), CorpusError> {
        let old = self.skip.min(batch.pieces.len() as u64);
        let (old, new) = batch.pieces.split_at(old as usize);
        for piece in old {
            self.see(piece);
        }
        if !old.is_empty() {
            let left = self.skip - old.len() as u64;
            if left == 0 && self.state.done.hash != self.hash.finalize().to_hex().as_str() {
                // Before the state counts as seen: nothing of this text may be recorded.
                return Err(self.changed());
            }
            self.skip = left;
        }
        let encoded = encode(new, &self.job.tokenizer, &|_| {})?;
        for (piece, ids) in new.iter().zip(encoded) {
            self.see(piece);
            self.push(&ids, piece.ends)?;
            self.state.done.pieces += 1;
            self.state.done.bytes += piece.text.len() as u64;
        }
        // A file ends a document.
        let closes = batch.last && std::mem::take(&mut self.open);
        if closes && self.skip == 0 && !self.state.done.closed {
            self.push(&[], true)?;
            self.state.done.closed = true;
        }
        if batch.last && self.skip == 0 {
            self.count_tokens();
            self.state.files = Some((batch.file + 1, self.state.done.clone()));
        }
        if self.safe.elapsed() > SAFE_EVERY {
            self.make_safe()?;
        }
        Ok(())
    }

    fn see(&mut self, piece: &Piece) {
        self.hash.update(piece.text.as_bytes());
        self.hash.update(&[u8::from(piece.ends)]);
        self.open = !piece.ends;
        if self.skip == 0 {
            self.state.done.closed = false;
        }
    }

    fn push(&mut self, ids: &[u32], ends: bool) -> Result<(), CorpusError> {
        let document = self.state.done.documents as f64;
        let output = match &mut self.val {
            // Every 1/share-th document, for any number of documents.
            Some((share, val))
                if ((document + 1.0) * *share).floor() > (document * *share).floor() =>
            {
                val
            }
            _ => &mut self.train,
        };
        output.push(ids)?;
        if ends {
            output.push(&[self.separator])?;
            output.end_document()?;
            self.state.done.documents += 1;
        }
        Ok(())
    }

    fn changed(&self) -> CorpusError {
        CorpusError::Unlike {
            path: State::path(&self.job.out),
            what: "the text has changed since this preparation began".into(),
        }
    }

    /// Records the completed work, so that another call can continue. Leaves no file if nothing is done.
    fn make_safe(&mut self) -> Result<(), CorpusError> {
        self.safe = Instant::now();
        if self.skip > 0 {
            // The record of the earlier call still holds.
            return Ok(());
        }
        if self.state.done.pieces == 0 {
            self.train.remove();
            if let Some((_, val)) = &self.val {
                val.remove();
            }
            return Ok(());
        }
        self.train.sync()?;
        if let Some((_, val)) = &mut self.val {
            val.sync()?;
        }
        self.count_tokens();
        self.state.write(&self.job.out)
    }

    /// Updates the state to the completed work.
    fn count_tokens(&mut self) {
        self.state.done.hash = self.hash.finalize().to_hex().to_string();
        self.state.done.train = self.train.shards();
        if let Some((_, val)) = &self.val {
            self.state.done.val = val.shards();
        }
    }

    fn prepared(&self, files: Vec<PathBuf>, done: bool) -> Prepared {
        Prepared {
            tokens: self.train.n(),
            val_tokens: self.val.as_ref().map_or(0, |(_, val)| val.n()),
            bytes: self.state.done.bytes,
            documents: self.state.done.documents,
            files,
            done,
            kept: self.kept,
            skipped: self.tally.skipped(),
            left_out: Vec::new(),
        }
    }

    fn finish(mut self, inputs: &[String]) -> Result<Prepared, CorpusError> {
        if self.skip > 0 {
            return Err(self.changed());
        }
        let mut prepared = self.prepared(Vec::new(), true);
        // If this is interrupted, the next call gets here again.
        self.make_safe()?;
        let tokenizer = &self.job.tokenizer;
        prepared.files = self.train.finish(tokenizer, inputs)?;
        if let Some((_, val)) = self.val {
            prepared.files.extend(val.finish(tokenizer, inputs)?);
        }
        State::remove(&self.job.out);
        Ok(prepared)
    }
}
