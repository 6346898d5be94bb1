//! A directory for the files of a target.

use std::path::PathBuf;

/// Makes and returns a directory of this process, in memory where the system has such a file system.
pub fn directory() -> PathBuf {
    let fast = PathBuf::from("/dev/shm");
    let base = if fast.is_dir() {
        fast
    } else {
        std::env::temp_dir()
    };
    let dir = base.join(format!("heirloom-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the target");
    dir
}
