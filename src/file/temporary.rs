//! Names of files that are being written.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};

/// The suffix of temporary names.
const ENDING: &str = ".new";

/// Returns a hidden name that is unused and cannot be predicted.
pub(super) fn temporary_name(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    // A long name leaves no more space.
    let short = name.len() < 128;
    hidden.push(if short { name } else { OsStr::new("file") });
    hidden.push(format!(".{:016x}{ENDING}", random()));
    hidden
}

/// Returns a number that other users cannot predict, for names in shared directories.
pub fn random() -> u64 {
    // The standard library seeds it from the system's random numbers.
    RandomState::new().hash_one(std::process::id())
}

/// Whether this is a name that [`temporary_name`] gives.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| {
        name.strip_prefix('.')?
            .strip_suffix(ENDING)?
            .rsplit_once('.')
    });
    random.is_some_and(|(_, random)| {
        random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_recognised() {
        let name = temporary_name(OsStr::new("config.toml"));
        assert!(is_temporary(&name), "{name:?}");
        assert_ne!(name, temporary_name(OsStr::new("config.toml")));
        assert!(temporary_name(OsStr::new(&"x".repeat(250))).len() < 64);
        for other in [".new", "config.toml.new", ".config.toml.new", ".x.12.new"] {
            assert!(!is_temporary(OsStr::new(other)), "{other}");
        }
    }
}
