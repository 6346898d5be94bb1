//! Keeps the token ids of texts in files, so that only one of several processes that read the same texts encodes them. The other
//! processes of its host map the file; on a shared file system, so do those of other hosts.
//!
//! A file's name is a hash of the texts' contents, the tokenizer and the program's version. A file gets its name when it is completely on disk. Files may
//! be deleted while no run uses them: they are made again when they are needed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::encode::{self, Texts};
use super::reader::{self, Kind, Skipped, Tally, kind};
use super::tokens::Width;
use super::{CorpusError, Report, Reporter, Tokens};
use crate::file::lock::{self, Locked};
use crate::file::{self, Dir, NewFile};
use crate::text::exact;

/// Version of the files: increased when their layout changes, or when a text is encoded into other ids.
const VERSION: u32 = 1;
/// Bytes of the header, which is one line of JSON, padded with spaces.
const HEADER: usize = 512;
/// Texts of fewer bytes are not shared: to encode them takes less time than to wait for another process.
const LEAST: u64 = 4 << 20;
/// Interval between two checks for the file that another process is writing.
const GLANCE: Duration = Duration::from_millis(200);
/// Bytes of ids that are collected before they are written.
const PART: usize = 1 << 20;

/// A directory of encoded texts that several processes share.
#[derive(Debug, Clone)]
pub struct TokenCache {
    dir: PathBuf,
    /// Whether the other processes of the run wait for this one, so that it may write a file without a lock.
    leads: bool,
    least: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    v: u32,
    /// Bytes per id.
    width: usize,
    n: usize,
    /// The ids' [`Tokens::fingerprint`].
    fingerprint: String,
    /// Rows that were skipped because their text is null, and because they lack the field.
    null: u64,
    missing: u64,
}

/// The outcome of waiting for other processes that need the same ids.
enum Turn {
    /// This process writes the file, and holds this lock meanwhile, if it could take one.
    Write(Option<File>),
    /// Files cannot be locked here, and another process writes this one: this process encodes the texts into its own memory.
    Keep,
    /// The file exists; these are its ids.
    Made(Tokens),
}

impl TokenCache {
    /// Returns the cache in `heirloom/tokens` under `$XDG_CACHE_HOME` or `~/.cache`; `None` if neither is known. The process that `leads`
    /// is the one that the others wait for.
    pub fn of_user(leads: bool) -> Option<Self> {
        let set = |name: &str| {
            let dir = std::env::var_os(name).filter(|dir| !dir.is_empty());
            dir.map(PathBuf::from).filter(|dir| dir.is_absolute())
        };
        let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(Self {
            dir: cache.join("heirloom").join("tokens"),
            leads,
            least: LEAST,
        })
    }

    /// Returns the ids of texts from the directory, or encodes the texts and writes the ids there. `tally` counts the rows without a
    /// text, and `report` receives the progress.
    ///
    /// # Errors
    /// As [`encode::tokens`]. A directory that cannot be used is only reported; the ids are then held in memory.
    pub(super) fn tokens(
        &self,
        texts: Texts<'_>,
        tally: &Arc<Tally>,
        report: Reporter<'_>,
    ) -> Result<Tokens, CorpusError> {
        let files = texts.files;
        let in_memory = || encode::tokens(texts, tally, report);
        let mut total = 0;
        for file in files {
            total += reader::size(file)?;
        }
        if total < self.least {
            return in_memory();
        }
        let path = self.dir.join(format!("{}.tokens", key(texts)?));
        if let Some(tokens) = read(&path, texts, tally) {
            return Ok(tokens);
        }
        let name = crate::text::cut(&files.join(", "), 200).into_owned();
        let refuse = |why: &dyn std::fmt::Display| {
            report(Report::Shared(&format!(
                "the tokens of {name} cannot be kept for other processes, and each of them encodes the text: {why}"
            )));
        };
        let turn = match self.turn(&path, texts, tally, &name, report) {
            Ok(turn) => turn,
            Err(why) => {
                refuse(&format!("{}: {why}", crate::text::path(&self.dir)));
                Turn::Keep
            }
        };
        let lock = match turn {
            Turn::Made(tokens) => return Ok(tokens),
            Turn::Keep => return in_memory(),
            Turn::Write(lock) => lock,
        };
        report(Report::Shared(&format!(
            "encoding {name} ({} MB) once for all processes of this run that see {}",
            total >> 20,
            crate::text::path(&self.dir)
        )));
        let written = write(&path, texts, tally, report);
        if let Some(lock) = lock {
            release(&path, lock);
        }
        match written {
            Err(why @ CorpusError::Write { .. }) => {
                refuse(&why);
                in_memory()
            }
            written => written,
        }
    }

    /// Decides whether this process encodes the texts; waits while another process encodes the same ones.
    fn turn(
        &self,
        path: &Path,
        texts: Texts<'_>,
        tally: &Arc<Tally>,
        name: &str,
        report: Reporter<'_>,
    ) -> std::io::Result<Turn> {
        self.prepare_folder()?;
        let lock = file::open_to_append(&lock_of(path))?;
        let mut waits = false;
        loop {
            let locked = lock::lock(&lock)?;
            // Another process may have finished the file since the last check.
            let made = read(path, texts, tally);
            if let Some(tokens) = made {
                if locked == Locked::Taken {
                    release(path, lock);
                }
                return Ok(Turn::Made(tokens));
            }
            match locked {
                // Also if the process that this one has waited for could not write the file, or was killed.
                Locked::Taken => {
                    self.clear(path);
                    return Ok(Turn::Write(Some(lock)));
                }
                Locked::Held if !waits => {
                    waits = true;
                    report(Report::Shared(&format!(
                        "waiting for another process, which encodes {name}; if it is gone, stop this run and delete {}",
                        crate::text::path(&lock_of(path))
                    )));
                }
                Locked::Held => {}
                Locked::Read | Locked::Unsupported if self.leads => return Ok(Turn::Write(None)),
                Locked::Read | Locked::Unsupported => return Ok(Turn::Keep),
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Creates the directory if it is missing, for this user alone: the ids in it are as private as the texts.
    fn prepare_folder(&self) -> std::io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        file::create_dirs(self.dir.parent().unwrap_or(&self.dir))?;
        let (parent, name) = Dir::of_file(&self.dir)?;
        match parent.create_private_subdir(name) {
            // Another process has created it meanwhile.
            Err(why) if why.kind() != ErrorKind::AlreadyExists => Err(why),
            _ => Ok(()),
        }
    }

    /// Deletes unfinished files of the same ids, which a killed process has left. The caller has the lock, so none is being written.
    fn clear(&self, path: &Path) {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            return;
        };
        let unfinished = format!(".{name}.");
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let found = entry.file_name();
            let same = found
                .to_str()
                .is_some_and(|found| found.starts_with(&unfinished));
            if same && file::is_temporary(&found) {
                let _ = file::remove(&entry.path());
            }
        }
    }
}

/// Deletes the lock file and releases the lock. Processes that wait for the lock still hold the deleted file open, and look for the
/// file of ids once they have the lock.
fn release(path: &Path, lock: File) {
    let _ = file::remove(&lock_of(path));
    drop(lock);
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Returns a hash of everything that the ids depend on: the files' contents and kinds, the field of rows, the tokenizer and the
/// version of this program. Names of files are left out, because they may differ between hosts.
fn key(texts: Texts<'_>) -> Result<String, CorpusError> {
    let mut hash = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(&VERSION.to_le_bytes());
    part(env!("CARGO_PKG_VERSION").as_bytes());
    part(texts.field.as_bytes());
    part(&texts.tokenizer.tokenizer_json());
    part(texts.tokenizer.fingerprint().as_bytes());
    part(format!("{:?}", texts.tokenizer.document_end()).as_bytes());
    for name in texts.files {
        let kind = kind(name)?;
        part(format!("{kind:?}").as_bytes());
        if kind != Kind::Builtin {
            let path = &*exact::to_path(name);
            let mut contents = blake3::Hasher::new();
            let read = file::open(path).and_then(|file| contents.update_reader(file).map(|_| ()));
            read.map_err(|source| CorpusError::Read {
                path: path.into(),
                source,
            })?;
            part(contents.finalize().as_bytes());
        }
    }
    Ok(hash.finalize().to_hex()[..32].to_string())
}

/// Maps a file of ids; `None` if it is missing or damaged.
fn read(path: &Path, texts: Texts<'_>, tally: &Arc<Tally>) -> Option<Tokens> {
    let file = file::open(path).ok()?;
    // SAFETY: the map is read only. Files are replaced by renaming, never changed; if another process shortens one, this process ends.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    let header: Header = serde_json::from_slice(map.get(..HEADER)?).ok()?;
    let width = Width::of(texts.tokenizer.size());
    let bytes = header.n.checked_mul(width.bytes())?.checked_add(HEADER)?;
    if header.v != VERSION || header.width != width.bytes() || bytes != map.len() {
        return None;
    }
    let tokens = mapped(map, header.n, texts).ok()?;
    if tokens.fingerprint() != header.fingerprint {
        return None;
    }
    tally.add(Skipped {
        null: header.null,
        missing: header.missing,
    });
    Some(tokens)
}

fn mapped(map: Mmap, n: usize, texts: Texts<'_>) -> Result<Tokens, (usize, u32)> {
    let size = texts.tokenizer.size();
    let name = texts.files.join(", ");
    Tokens::mapped(map, HEADER, Width::of(size), n, &name, size)
}

/// Encodes texts into a file and maps it.
///
/// # Errors
/// [`CorpusError::Write`] when the file cannot be written, and the errors of encoding. No file is left then.
fn write(
    path: &Path,
    texts: Texts<'_>,
    tally: &Arc<Tally>,
    report: Reporter<'_>,
) -> Result<Tokens, CorpusError> {
    let failed = |source| CorpusError::Write {
        path: path.into(),
        source,
    };
    let mut new = NewFile::create(path).map_err(failed)?;
    let mut bytes = vec![b' '; HEADER];
    let (width, mut n) = (Width::of(texts.tokenizer.size()), 0);
    // A tally of its own: if writing fails, the texts are read again, and their rows must not be counted twice.
    let own = Arc::new(Tally::default());
    encode::each(texts, &own, report, &mut |ids| {
        n += ids.len();
        for id in ids {
            bytes.extend_from_slice(&id.to_le_bytes()[..width.bytes()]);
        }
        if bytes.len() >= PART {
            new.write_all(&bytes).map_err(failed)?;
            bytes.clear();
        }
        Ok(())
    })?;
    new.write_all(&bytes).map_err(failed)?;
    // SAFETY: as in `read`; only the header, which lies before the ids, is still written.
    let map = unsafe { Mmap::map(&*new.file()) }.map_err(failed)?;
    let outside = |(at, id)| CorpusError::Outside {
        name: texts.files.join(", "),
        at,
        id,
        size: texts.tokenizer.size(),
    };
    let tokens = mapped(map, n, texts).map_err(outside)?;
    let skipped = own.skipped();
    let header = Header {
        v: VERSION,
        width: width.bytes(),
        n,
        fingerprint: tokens.fingerprint(),
        null: skipped.null,
        missing: skipped.missing,
    };
    let mut line = serde_json::to_vec(&header).map_err(|why| failed(why.into()))?;
    line.resize(HEADER - 1, b' ');
    line.push(b'\n');
    let named = new
        .seek(SeekFrom::Start(0))
        .and_then(|_| new.write_all(&line))
        .and_then(|()| new.commit());
    named.map_err(failed)?;
    tally.add(skipped);
    Ok(tokens)
}

#[cfg(test)]
mod tests;
