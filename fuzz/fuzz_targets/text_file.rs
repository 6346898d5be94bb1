//! Reads arbitrary bytes as a text of some kind, as `heirloom data info` does. The file is described, or refused with a sentence
//! without terminal control sequences. JSON Lines give the same text as `.json`, also after a byte order mark.
//!
//! The first byte selects the kind. Parquet is left to its own library.

#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::corpus::TEXT_FIELD;
use heirloom::corpus::info::{Info, Looking, info};
use heirloom::text::is_invisible;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 9] = [
    "a.txt",
    "a.jsonl",
    "a.json",
    "a.txt.gz",
    "a.jsonl.gz",
    "a.json.gz",
    "a.jsonl.zst",
    "a.bin",
    "a.npy",
];
const MARK: &[u8] = b"\xef\xbb\xbf";

fn directory() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(scratch::directory)
}

fn read(name: &str, bytes: &[u8]) -> Option<Info> {
    let path = directory().join(name);
    std::fs::write(&path, bytes).expect("the text can be written");
    let how = Looking {
        tokenizer: None,
        field: TEXT_FIELD,
    };
    match info(&path.to_string_lossy(), how, &mut |_| {}) {
        Ok(found) => Some(found),
        Err(error) => {
            let what = error.to_string();
            let draws = |c: char| c.is_control() || is_invisible(c);
            assert!(!what.is_empty() && !what.contains(draws), "{what:?}");
            None
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else {
        return;
    };
    let name = NAMES[usize::from(kind) % NAMES.len()];
    let found = read(name, bytes);
    if let Some(Info::Text { bytes: text, .. }) = found
        && name == "a.txt"
        && !bytes.starts_with(&[0x1f, 0x8b])
        && !bytes.starts_with(&[0x28, 0xb5])
    {
        assert!(text <= bytes.len() as u64);
    }
    let array = bytes.trim_ascii_start().starts_with(b"[");
    let marked = bytes.starts_with(MARK);
    if name == "a.jsonl" && found.is_some() && !marked && !array {
        assert_eq!(read("a.json", bytes), found);
        if bytes
            .first()
            .is_some_and(|b| b.is_ascii_whitespace() || *b == b'{')
        {
            assert_eq!(read("a.jsonl", &[MARK, bytes].concat()), found);
        }
    }
});
