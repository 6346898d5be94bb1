//! Reads arbitrary bytes as `series.bin`, either as they are or as head and body behind a valid header. The file must be
//! ignored, or its contents must be usable: drawn, printed and extended, without terminal control sequences.
//!
//! The first byte selects the case; in the second case the head's length (two bytes), the head and the body follow.

#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::dashboard::still;
use heirloom::run::dir::RunDir;
use heirloom::run::series::{file, open};
use heirloom::run::state::RunState;
use heirloom::run::tail::Tail;
use heirloom::run::{show, table};
use heirloom::text::{is_invisible, json};
use libfuzzer_sys::fuzz_target;

/// The journal from which the seeds were folded, all but its last line.
const JOURNAL: &[u8] = include_bytes!("../seeds/replay/run");

/// Returns a run directory of this process with the journal, and the beginning of a file's header: its format, and the version of the
/// code.
fn directory() -> &'static (PathBuf, Vec<u8>) {
    static DIR: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = scratch::directory();
        std::fs::write(dir.join("events.jsonl"), JOURNAL).expect("the journal can be written");
        let position = Tail::open(&dir).position();
        let empty = file::encode(&RunState::default(), &position).expect("an empty fold");
        (dir, empty[..40].to_vec())
    })
}

/// Makes a file with a header that fits these parts.
fn whole(begin: &[u8], head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = begin.to_vec();
    bytes.extend_from_slice(&0u64.to_le_bytes());
    for part in [head, body] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(part).as_bytes());
    }
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(body);
    bytes
}

fn harmless(text: &str) {
    let draws = |c: char| c != '\n' && (c.is_control() || is_invisible(c));
    assert!(!text.contains(draws), "{text:?}");
}

fn shown(dir: &RunDir, state: &RunState) {
    for size in [(80, 24), (200, 50)] {
        let Ok(frame) = still(state, size);
        for cell in frame.content() {
            harmless(cell.symbol());
        }
    }
    harmless(&table::text(state));
    harmless(&show::text(state, dir));
    harmless(&json(&show::json(state, dir).to_string()));
    harmless(&json(&show::summary_json(state, dir).to_string()));
}

fuzz_target!(|bytes: &[u8]| {
    let (dir, begin) = directory();
    let bytes = match bytes {
        [0, a, b, parts @ ..] => {
            let head = usize::from(u16::from_le_bytes([*a, *b])).min(parts.len());
            whole(begin, &parts[..head], &parts[head..])
        }
        [_, raw @ ..] => raw.to_vec(),
        [] => return,
    };
    std::fs::write(file::path(dir), &bytes).expect("the file can be written");
    let run = RunDir::at(dir);
    if let Some((state, _)) = file::read_head(dir) {
        shown(&run, &state);
    }
    if let Some((state, _)) = file::read(dir) {
        shown(&run, &state);
        shown(&run, &open::load(dir).expect("the journal can be read"));
    }
});
