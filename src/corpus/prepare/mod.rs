//! Texts into token files, once for all runs. What is written is kept: a preparation that was stopped goes on where it
//! was, after it has made sure that the text before that place is still the same.

mod output;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::output::Output;
use self::state::State;
use super::encode::{Batch, encode, read, separator};
use super::reader::{self, Cuts, Kind, Piece, expand, kind};
use super::token_file::LARGEST;
use super::tokens::Width;
use super::{CorpusError, Tokenizer};

/// How often what is written is made safe.
const SAFE_EVERY: Duration = Duration::from_secs(2);

/// What is to be prepared.
#[derive(Debug, Clone)]
pub struct Job {
    /// Files, directories, patterns.
    pub inputs: Vec<String>,
    pub out: PathBuf,
    /// A share of the documents, evenly strided, and the file they go to.
    pub val: Option<(f64, PathBuf)>,
    pub tokenizer: Tokenizer,
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
            force: false,
            shard_tokens: LARGEST,
        }
    }
}

/// What a preparation has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub tokens: u64,
    /// Tokens held out for validation.
    pub val_tokens: u64,
    /// Bytes of text, without what parts documents.
    pub bytes: u64,
    pub documents: u64,
    /// The files, in order; those of the validation text last. Empty when it was stopped.
    pub files: Vec<PathBuf>,
    /// Whether everything is done; else the same call goes on.
    pub done: bool,
    /// Bytes of text that an earlier call had done.
    pub kept: u64,
}

/// How far a preparation is, in bytes of the input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub read: u64,
    pub total: u64,
    /// Whether it is still looking through what an earlier call had done.
    pub checking: bool,
}

/// Encodes a job's inputs into its token file; the end of text follows each document and each file. Between batches
/// `progress` is told, and says whether to go on.
///
/// # Errors
/// When an input cannot be read, `out` exists and `force` is not given, what is left of an earlier call does not fit, or
/// writing fails. `out` is then as it was, and what was done is kept beside it.
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
    let mut files = Vec::new();
    for input in &job.inputs {
        files.extend(expand(input)?);
    }
    let mut total = 0;
    for file in &files {
        total += size(file)?;
    }
    let separator = separator(&job.tokenizer)?;
    let fresh = State::new(
        &job.tokenizer,
        &files,
        job.val.as_ref().map(|(share, _)| *share),
    );
    let state = match job.force {
        true => {
            State::remove(&job.out);
            None
        }
        false => State::read(&job.out, &fresh)?,
    };
    let state = state.unwrap_or(fresh);
    let width = Width::of(job.tokenizer.size());
    let output = |out: &Path, shards: &[u64]| Output::open(out, width, job.shard_tokens, shards);
    let mut work = Work {
        train: output(&job.out, &state.train)?,
        val: match &job.val {
            Some((share, out)) => Some((*share, output(out, &state.val)?)),
            None => None,
        },
        skip: state.pieces,
        kept: state.bytes,
        hash: blake3::Hasher::new(),
        separator,
        open: false,
        safe: Instant::now(),
        state,
        job,
    };
    let consumed = Arc::new(AtomicU64::new(0));
    let cuts = Cuts::new(job.tokenizer.cuts_at_lines());
    let ended = read(&files, cuts, &consumed, |batch| {
        work.take(batch)?;
        let go_on = progress(Progress {
            read: consumed.load(Ordering::Relaxed),
            total,
            checking: work.skip > 0,
        });
        if go_on { Ok(()) } else { Err(End::Stopped) }
    });
    match ended {
        Ok(()) => work.finish(&files),
        Err(End::Stopped) => {
            work.make_safe()?;
            Ok(work.prepared(Vec::new(), false))
        }
        Err(End::Failed(error)) => {
            // The first failure is the one to tell of.
            let _ = work.make_safe();
            Err(error)
        }
    }
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
            what: "holds tokens already; give texts".into(),
        }),
        _ => reader::size(name),
    }
}

struct Work<'a> {
    job: &'a Job,
    state: State,
    train: Output,
    val: Option<(f64, Output)>,
    /// Parts that an earlier call has done and this one has not seen yet.
    skip: u64,
    /// Bytes of text in them.
    kept: u64,
    /// Over the parts seen.
    hash: blake3::Hasher,
    separator: u32,
    /// Whether the last document of what was seen has not ended.
    open: bool,
    safe: Instant,
}

impl Work<'_> {
    fn take(&mut self, batch: Batch) -> Result<(), CorpusError> {
        let old = self.skip.min(batch.pieces.len() as u64);
        let (old, new) = batch.pieces.split_at(old as usize);
        for piece in old {
            self.see(piece);
        }
        if !old.is_empty() {
            self.skip -= old.len() as u64;
            if self.skip == 0 && self.state.hash != self.hash.finalize().to_hex().as_str() {
                return Err(self.changed());
            }
        }
        let encoded = encode(new, &self.job.tokenizer, &|_| {})?;
        for (piece, ids) in new.iter().zip(encoded) {
            self.see(piece);
            self.push(&ids, piece.ends)?;
            self.state.pieces += 1;
            self.state.bytes += piece.text.len() as u64;
        }
        // A file ends a document.
        if batch.last && std::mem::take(&mut self.open) && self.skip == 0 && !self.state.closed {
            self.push(&[], true)?;
            self.state.closed = true;
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
            self.state.closed = false;
        }
    }

    fn push(&mut self, ids: &[u32], ends: bool) -> Result<(), CorpusError> {
        let document = self.state.documents as f64;
        let output = match &mut self.val {
            // Every 1/share-th document, whatever number of them there will be.
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
            self.state.documents += 1;
        }
        Ok(())
    }

    fn changed(&self) -> CorpusError {
        CorpusError::Unlike {
            path: State::path(&self.job.out),
            what: "the text has changed since this preparation began".into(),
        }
    }

    /// Writes down what is done, so that another call goes on from here. Nothing done leaves nothing behind.
    fn make_safe(&mut self) -> Result<(), CorpusError> {
        self.safe = Instant::now();
        if self.skip > 0 {
            // Still what the earlier call wrote down.
            return Ok(());
        }
        if self.state.pieces == 0 {
            self.train.remove();
            if let Some((_, val)) = &self.val {
                val.remove();
            }
            return Ok(());
        }
        self.state.hash = self.hash.finalize().to_hex().to_string();
        self.state.train = self.train.sync()?;
        if let Some((_, val)) = &mut self.val {
            self.state.val = val.sync()?;
        }
        self.state.write(&self.job.out)
    }

    fn prepared(&self, files: Vec<PathBuf>, done: bool) -> Prepared {
        Prepared {
            tokens: self.train.n(),
            val_tokens: self.val.as_ref().map_or(0, |(_, val)| val.n()),
            bytes: self.state.bytes,
            documents: self.state.documents,
            files,
            done,
            kept: self.kept,
        }
    }

    fn finish(mut self, inputs: &[String]) -> Result<Prepared, CorpusError> {
        if self.skip > 0 {
            return Err(self.changed());
        }
        let mut prepared = self.prepared(Vec::new(), true);
        // Should this be interrupted, the next call comes here again.
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
