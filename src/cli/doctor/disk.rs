//! Checks the disk of the runs directory: whether it can be written, its free space, and the time of a flush.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::file::Dir;
use crate::text;

/// Number of appended lines that are flushed one by one, like those of the journal.
const FLUSHES: usize = 16;
/// Bytes of such a line.
const LINE: usize = 512;
/// Bytes of a block that is written and flushed at once, like a checkpoint.
const BLOCK: usize = 8 << 20;
/// Time of a flush from which checkpoints and results are noticeably delayed.
const SLOW: Duration = Duration::from_millis(250);
/// Free space below which there is a warning: room for a few checkpoints of a small model.
const LITTLE_ROOM: u64 = 1 << 30;

/// The measured speed of the disk.
struct Speed {
    /// Median time of one flushed line.
    flush: Duration,
    /// Bytes per second of a flushed block.
    rate: f64,
}

/// Checks the runs directory, or the directory that it will be created in.
pub fn check(runs: &Path) -> Vec<Finding> {
    let place = nearest(runs);
    let shown = text::path(&place);
    let other = "name another directory with --runs DIR";
    let room = nix::sys::statvfs::statvfs(&place)
        .map(|stat| stat.blocks_available() * stat.fragment_size());
    let mut all = Vec::new();
    match measure(&place) {
        Ok(speed) => {
            let found = format!(
                "{shown}: fsync {:.1} ms, {:.0} MB/s",
                speed.flush.as_secs_f64() * 1e3,
                speed.rate / 1e6
            );
            all.push(match speed.flush > SLOW {
                true => Finding::warn("disk", found, format!("flushes are slow; {other}")),
                false => Finding::ok("disk", found),
            });
        }
        Err(error) => all.push(Finding::fail(
            "disk",
            format!("{shown} cannot be written: {error}"),
            other,
        )),
    }
    if let Ok(bytes) = room {
        let found = format!("{:.1} GB free", bytes as f64 / 1e9);
        all.push(match bytes < LITTLE_ROOM {
            true => Finding::warn(
                "space",
                found,
                "checkpoints may not fit; `heirloom train CONFIG --dry-run` prints what a run takes",
            ),
            false => Finding::ok("space", found),
        });
    }
    all
}

/// Returns the directory itself or its nearest parent that exists.
fn nearest(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut parents = path.ancestors();
    parents.find(|p| p.is_dir()).unwrap_or(&path).into()
}

/// Times flushes of a file in a temporary directory, which is removed afterwards.
fn measure(place: &Path) -> io::Result<Speed> {
    let dir = Dir::open(place)?;
    let (name, inside) = dir.create_temporary_subdir("doctor")?;
    let speed = time(&inside);
    dir.remove_all(&name)?;
    speed
}

fn time(dir: &Dir) -> io::Result<Speed> {
    let mut file = dir.create_file("speed")?;
    let line = [b'x'; LINE];
    let mut flushes = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let begin = Instant::now();
        file.write_all(&line)?;
        file.sync_data()?;
        flushes.push(begin.elapsed());
    }
    flushes.sort_unstable();
    let block = vec![b'x'; BLOCK];
    let begin = Instant::now();
    file.write_all(&block)?;
    file.sync_data()?;
    Ok(Speed {
        flush: flushes[FLUSHES / 2],
        rate: BLOCK as f64 / begin.elapsed().as_secs_f64().max(1e-9),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_directory_is_measured_and_left_as_it_was() {
        let tmp = tempfile::tempdir().unwrap();
        // If the runs directory does not exist yet, its parent is checked.
        let found = check(&tmp.path().join("runs/deep"));
        assert_eq!(found[0].level(), Level::Ok, "{found:?}");
        assert!(found[0].line().contains("fsync"), "{found:?}");
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_fails() {
        // Not even root can create files in the kernel's directory.
        let found = check(Path::new("/proc/self"));
        assert_eq!(found[0].level(), Level::Fail, "{found:?}");
    }
}
