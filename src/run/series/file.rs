//! `series.bin`: a fold as it was at a position in its journal.
//!
//! A fixed header, a short head that `ls` needs, and the body with the curves; each with its checksum. The head is
//! JSON, because it consists of the journal's own types; the body is postcard. A file that another version of the fold
//! wrote, that is damaged, or that belongs to another journal is not an error: it is ignored.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::admit;
use super::bounded::at_most;
use crate::file::NewFile;
use crate::run::event::{RankTimes, RunInfo};
use crate::run::state::{
    CHECKPOINTS_KEPT, CheckpointNote, Core, History, Left, NOTES_KEPT, Note, PhaseNow, RunState,
    Snapshots,
};
use crate::run::tail::Position;

const MAGIC: &[u8; 8] = b"HLSERIES";
const HASH: usize = 32;
/// Magic, fingerprint of the fold, place in the journal, length and hash of head and body, hash of all that.
const HEADER: usize = 8 + HASH + 8 + 2 * (8 + HASH) + HASH;
/// Larger files are neither written nor read.
const MOST_BYTES: u64 = 48 << 20;
const MOST_HEAD: u64 = 4 << 20;

/// Paths and texts of source files.
macro_rules! sources {
    ($($path:literal),* $(,)?) => { &[$(($path, include_str!($path))),*] };
}

/// The fold's code.
const SOURCES: &[(&str, &str)] = sources![
    "../event/baseline.rs",
    "../event/body.rs",
    "../event/checkpoint.rs",
    "../event/command.rs",
    "../event/decision.rs",
    "../event/envelope.rs",
    "../event/forecast.rs",
    "../event/foreign.rs",
    "../event/info.rs",
    "../event/inherit.rs",
    "../event/kind.rs",
    "../event/line.rs",
    "../event/measure.rs",
    "../event/number.rs",
    "../event/phase.rs",
    "../event/ranks.rs",
    "../event/start.rs",
    "../event/task.rs",
    "../gpu_stats.rs",
    "../schedule.rs",
    "../event/train_line.rs",
    "../state/mod.rs",
    "../state/fold.rs",
    "../state/fold/checkpoints.rs",
    "../state/fold/commands.rs",
    "../state/fold/measurements.rs",
    "../state/fold/phases.rs",
    "../state/fold/tasks.rs",
    "../state/json_list.rs",
    "../state/known.rs",
    "../state/left.rs",
    "../state/points.rs",
    "../state/prospects.rs",
    "../state/ranks.rs",
    "../state/snapshots.rs",
    "../state/branch.rs",
    "../state/results.rs",
    "../state/tasks.rs",
    "../state/thin.rs",
    "bounded.rs",
    "file.rs",
    "pyramid.rs",
];

/// Identifies the fold's code: a file that other code wrote is not read, since that code may have folded differently.
fn fingerprint() -> &'static [u8; HASH] {
    static FINGERPRINT: OnceLock<[u8; HASH]> = OnceLock::new();
    FINGERPRINT.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        for (_, source) in SOURCES {
            hasher.update(source.as_bytes());
        }
        *hasher.finalize().as_bytes()
    })
}

/// The facts about a run without its curves.
#[derive(Serialize, Deserialize)]
struct Head {
    position: Position,
    info: Option<RunInfo>,
    core: Core,
    seq: u64,
    elapsed: f64,
    t: i64,
    refusals: u64,
    running_since: u64,
    dropped: u64,
    notes_gone: u64,
    #[serde(default)]
    ranks: Option<RankTimes>,
    #[serde(default)]
    remarks: Vec<Note>,
    #[serde(default)]
    phases: Vec<PhaseNow>,
    #[serde(default)]
    left: Option<Left>,
    noted: bool,
}

#[derive(Deserialize)]
struct Body {
    history: History,
    #[serde(deserialize_with = "at_most::<CHECKPOINTS_KEPT, _, _>")]
    checkpoints: Vec<CheckpointNote>,
    #[serde(deserialize_with = "at_most::<NOTES_KEPT, _, _>")]
    notes: Vec<Note>,
    /// Written as JSON, like the head.
    snapshots: Vec<u8>,
}

/// A [`Body`] to be written.
#[derive(Serialize)]
struct BodyOf<'a> {
    history: &'a History,
    checkpoints: &'a [CheckpointNote],
    notes: Vec<&'a Note>,
    snapshots: Vec<u8>,
}

/// `series.bin` of a run's directory.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("series.bin")
}

/// Returns the bytes of the file for a fold at `position` of its journal; `None` if it could not be read back.
pub fn encode(state: &RunState, position: &Position) -> Option<Vec<u8>> {
    if !(state.history.is_sound() && state.snapshots.is_sound()) {
        return None;
    }
    let head = Head {
        position: position.clone(),
        info: state.info.clone(),
        core: Core {
            status: state.reported_status(),
            ..state.core.clone()
        },
        seq: state.seq,
        elapsed: state.elapsed,
        t: state.t,
        refusals: state.refusals,
        running_since: state.running_since,
        dropped: state.dropped,
        notes_gone: state.notes_gone,
        ranks: state.ranks.clone(),
        remarks: state.remarks.clone(),
        phases: state.phases.clone(),
        left: state.left,
        noted: state.noted,
    };
    let body = BodyOf {
        history: &state.history,
        checkpoints: &state.checkpoints,
        notes: state.notes.iter().collect(),
        snapshots: serde_json::to_vec(&state.snapshots).ok()?,
    };
    let head = serde_json::to_vec(&head).ok()?;
    let body = postcard::to_stdvec(&body).ok()?;
    let mut bytes = Vec::with_capacity(HEADER + head.len() + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(fingerprint());
    bytes.extend_from_slice(&position.offset.to_le_bytes());
    for part in [&head, &body] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(part).as_bytes());
    }
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&body);
    (head.len() as u64 <= MOST_HEAD && bytes.len() as u64 <= MOST_BYTES).then_some(bytes)
}

/// Writes the file under a temporary name and renames it, so that no reader sees half of it.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = NewFile::create(&path(dir))?;
    new.write_all(bytes)?;
    // Not flushed: a file that a crash leaves damaged is not read.
    new.commit_unsynced()
}

/// The position in the journal that the file names, whether or not it fits the journal.
pub fn offset(dir: &Path) -> Option<u64> {
    Some(Opened::open(dir)?.offset)
}

/// The state without curves, notes and checkpoints, and its place in the journal.
pub fn read_head(dir: &Path) -> Option<(RunState, Position)> {
    Opened::open(dir)?.head(dir)
}

/// The state and its place in the journal.
pub fn read(dir: &Path) -> Option<(RunState, Position)> {
    let mut file = Opened::open(dir)?;
    let (mut state, position) = file.head(dir)?;
    let body: Body = postcard::from_bytes(&file.part(file.body)?).ok()?;
    let snapshots: Snapshots = json(&body.snapshots)?;
    if !(body.history.is_sound() && snapshots.is_sound()) {
        return None;
    }
    state.history = body.history;
    state.checkpoints = body.checkpoints;
    state.notes = body.notes.into();
    state.snapshots = snapshots;
    admit::past(&state).then_some((state, position))
}

/// A file with a complete header, written by this version of the code.
struct Opened {
    file: File,
    offset: u64,
    head: Part,
    body: Part,
}

#[derive(Clone, Copy)]
struct Part {
    len: u64,
    hash: [u8; HASH],
}

impl Opened {
    fn open(dir: &Path) -> Option<Self> {
        let mut file = crate::file::open(&path(dir)).ok()?;
        let meta = file.metadata().ok()?;
        let mut header = [0; HEADER];
        if meta.len() > MOST_BYTES || file.read_exact(&mut header).is_err() {
            return None;
        }
        let (told, hash) = header.split_at(HEADER - HASH);
        let mut rest = told.strip_prefix(MAGIC)?;
        let fingerprint_there = take(&mut rest)?;
        if blake3::hash(told).as_bytes() != hash || &fingerprint_there != fingerprint() {
            return None;
        }
        let offset = u64::from_le_bytes(take(&mut rest)?);
        let mut part = || {
            let len = u64::from_le_bytes(take(&mut rest)?);
            let hash = take(&mut rest)?;
            Some(Part { len, hash })
        };
        let (head, body) = (part()?, part()?);
        let whole = head.len.checked_add(body.len)?.checked_add(HEADER as u64)?;
        (whole == meta.len() && head.len <= MOST_HEAD).then_some(Self {
            file,
            offset,
            head,
            body,
        })
    }

    /// Returns the next part, if it is complete.
    fn part(&mut self, part: Part) -> Option<Vec<u8>> {
        let mut bytes = vec![0; part.len as usize];
        self.file.read_exact(&mut bytes).ok()?;
        (blake3::hash(&bytes).as_bytes() == &part.hash).then_some(bytes)
    }

    /// The head, if it belongs to the journal at `dir`.
    fn head(&mut self, dir: &Path) -> Option<(RunState, Position)> {
        let head: Head = json(&self.part(self.head)?)?;
        let journal = crate::file::open(&dir.join("events.jsonl")).ok()?;
        if !head.position.fits(&journal) {
            return None;
        }
        let state = RunState {
            info: head.info,
            core: head.core,
            seq: head.seq,
            elapsed: head.elapsed,
            t: head.t,
            refusals: head.refusals,
            running_since: head.running_since,
            dropped: head.dropped,
            notes_gone: head.notes_gone,
            ranks: head.ranks,
            left: head.left,
            remarks: head.remarks,
            phases: head.phases,
            noted: head.noted,
            version: 1,
            ..RunState::default()
        };
        admit::head(&state, &head.position).then_some((state, head.position))
    }
}

/// Reads a JSON document, if its texts are clean.
fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let document = std::str::from_utf8(bytes).ok()?;
    admit::is_clean_json(document)
        .then(|| serde_json::from_str(document).ok())
        .flatten()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Calls `each` with the Rust files below `dir` that are not tests.
    fn walk(dir: PathBuf, each: &mut dyn FnMut(PathBuf)) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "tests" | "tests.rs" => {}
                _ if path.is_dir() => walk(path, each),
                _ => each(path),
            }
        }
    }

    #[test]
    fn all_code_of_the_fold_is_in_its_fingerprint() {
        let series = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/run/series");
        let known: Vec<PathBuf> = SOURCES
            .iter()
            .map(|(path, _)| series.join(path).canonicalize().unwrap())
            .collect();
        for folder in ["event", "state"] {
            let folder = series.join("..").join(folder).canonicalize().unwrap();
            // A list of re-exports.
            let exports = folder.join("mod.rs");
            walk(folder, &mut |path| {
                let is_known = known.contains(&path) || path == exports;
                assert!(is_known, "{} is not in SOURCES", path.display());
            });
        }
    }
}
