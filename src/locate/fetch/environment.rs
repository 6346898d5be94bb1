//! Settings of the hub in the environment: its address, a token, and whether to stay offline.

use std::path::{Path, PathBuf};

use crate::file;

/// Most bytes of a file with a token in it.
const LARGEST_TOKEN: u64 = 4 << 10;

/// Returns a variable of the environment that is set and not empty.
pub(in crate::locate) fn variable(key: &str) -> Option<String> {
    let value = std::env::var(key).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_string())
}

pub(in crate::locate) fn is_offline() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
}

/// Returns `HF_TOKEN`, or the token that `hf auth login` has stored.
pub(in crate::locate) fn token() -> Option<String> {
    let home = |key: &str, rest: &str| variable(key).map(|dir| Path::new(&dir).join(rest));
    let in_file = || {
        let path = variable("HF_TOKEN_PATH")
            .map(PathBuf::from)
            .or_else(|| home("HF_HOME", "token"))
            .or_else(|| home("XDG_CACHE_HOME", "huggingface/token"))
            .or_else(|| home("HOME", ".cache/huggingface/token"))?;
        let text = file::read_text(&path, LARGEST_TOKEN).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_string())
    };
    variable("HF_TOKEN").or_else(in_file)
}
