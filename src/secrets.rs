//! Keeps access tokens out of files that remain after this process.
//!
//! A core dump contains all memory, including the environment with `HF_TOKEN`. A process with such a variable writes no core
//! dump, not even through a collector of the system (systemd-coredump, apport).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Environment variables that hold a token of the hub.
pub const TOKENS: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
/// Suffixes of the names of variables that hold secrets.
const SECRET_ENDS: [&str; 7] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIALS",
    "_KEY",
    "_PAT",
];

/// Forbids core dumps if the environment holds a token. Must be called before anything else.
pub fn protect_environment() {
    let holds = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if TOKENS.iter().any(holds) {
        keep_out_of_core_dumps();
    }
}

/// Forbids core dumps of this process and of processes that it starts.
pub fn keep_out_of_core_dumps() {
    // A limit of 0 ends dumps into files only. With 1, Linux also leaves out those that are piped to a collector
    // (core(5)), and a file of 1 byte holds no secret. The operator may raise it again, so the hard limit is left alone.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let soft = if cfg!(target_os = "linux") {
            hard.min(1)
        } else {
            0
        };
        // Fails only for a soft limit above the hard one.
        let _ = setrlimit(Resource::RLIMIT_CORE, soft, hard);
    }
}

/// Whether a variable's name indicates that it holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in TOKENS
            .iter()
            .chain(&["AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "github_token"])
        {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "HEIRLOOM_DATA",
            "HOME",
            "TOKENIZERS",
            "SCRATCH",
            "KEYS",
            "MONKEY",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
