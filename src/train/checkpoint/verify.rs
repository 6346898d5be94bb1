//! Reads `state.json` of a checkpoint, and checks the other files against the checksums in it.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::saved::OPTIMIZER;
use crate::file::Dir;
use crate::run::dir::is_name;
use crate::text;
use crate::train::state::TrainState;

pub(super) const STATE: &str = "state.json";
/// The files next to `state.json`.
pub(super) const FILES: [&str; 4] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    OPTIMIZER,
];
/// Most bytes of `state.json`: enough for a loss for each of a million windows.
const LARGEST_STATE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
pub(super) struct FileSum {
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

/// Bytes that are hashed between two checks for lost ranks.
const AT_ONCE: u64 = 256 << 20;

/// Version of `state.json`.
pub(super) const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StateFile {
    pub(super) v: u32,
    pub(super) program: String,
    pub(super) files: BTreeMap<String, FileSum>,
    pub(super) state: TrainState,
}

/// Checks every file of a checkpoint in its directory against its checksum. `between` is called before each file and between parts
/// of a large one; if it returns an error, the check ends with that error.
pub(super) fn verify_in(
    dir: &Dir,
    name: &str,
    between: &dyn Fn() -> Result<(), CheckpointError>,
) -> Result<TrainState, CheckpointError> {
    let file = read_state(dir, name)?;
    for part in FILES {
        if !file.files.contains_key(part) {
            return Err(damaged(name, format!("{STATE} has no entry for {part}")));
        }
    }
    for (part, want) in &file.files {
        between()?;
        if !is_name(part) {
            return Err(damaged(
                name,
                format!("{STATE} names a file in another directory"),
            ));
        }
        let got = checksum(dir, part, between).map_err(|error| match error {
            CheckpointError::Io { .. } => damaged(name, error.to_string()),
            ended => ended,
        })?;
        if got.bytes != want.bytes {
            let what = format!("{part} has {} of {} bytes", got.bytes, want.bytes);
            return Err(damaged(name, what));
        }
        if got.blake3 != want.blake3 {
            return Err(damaged(name, format!("{part} does not match its checksum")));
        }
    }
    Ok(file.state)
}

pub(super) fn read_state(dir: &Dir, name: &str) -> Result<StateFile, CheckpointError> {
    let text = dir
        .read_bytes(STATE, LARGEST_STATE)
        .map_err(|e| damaged(name, format!("{STATE} cannot be read ({e})")))?;
    let version = serde_json::from_slice::<Versioned>(&text).map_or(VERSION, |file| file.v);
    if version != VERSION {
        let what = format!(
            "{STATE} has version {version}, this program reads {VERSION} (resume the run with the program that wrote it)"
        );
        return Err(damaged(name, what));
    }
    let file: StateFile = serde_json::from_slice(&text).map_err(|e| {
        // The error's text quotes the file.
        let e = e.to_string();
        damaged(name, format!("{STATE} is incomplete ({})", text::clean(&e)))
    })?;
    let sound = file.state.check();
    sound.map_err(|e| damaged(name, format!("{STATE} was not written by a trainer: {e}")))?;
    Ok(file)
}

pub(super) fn damaged(name: &str, what: String) -> CheckpointError {
    CheckpointError::Damaged {
        name: name.into(),
        what,
        remedy: String::new(),
    }
}

pub(super) fn checksum(
    dir: &Dir,
    name: &str,
    between: &dyn Fn() -> Result<(), CheckpointError>,
) -> Result<FileSum, CheckpointError> {
    let io = |source| CheckpointError::Io {
        path: dir.path_of(name),
        source,
    };
    let mut hash = blake3::Hasher::new();
    let mut file = dir.open_file(name).map_err(io)?;
    let mut bytes = 0;
    loop {
        let part = io::copy(&mut (&mut file).take(AT_ONCE), &mut hash).map_err(io)?;
        bytes += part;
        if part < AT_ONCE {
            break;
        }
        between()?;
    }
    Ok(FileSum {
        bytes,
        blake3: hash.finalize().to_hex().to_string(),
    })
}
