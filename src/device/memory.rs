//! Memory of this machine and of this process.
//!
//! The trainer plans its memory ([`crate::train::memory`]); this file measures the memory that is available and used.

use std::path::{Path, PathBuf};

/// Returns the bytes that this process can still allocate without swapping: the machine's `MemAvailable`, or less where
/// a control group (v1 or v2) limits the process. `None` where the system does not report it.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = kilobytes(&text, "MemAvailable:")?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_directories(&groups).into_iter();
    Some(
        limits
            .filter_map(|dir| room_in_group(&dir))
            .fold(machine, u64::min),
    )
}

/// Returns the anonymous memory of this process that is resident, in bytes: heap and stacks, without mapped files.
pub fn anonymous() -> Option<u64> {
    anonymous_of(std::process::id())
}

/// Returns the anonymous resident memory of process `pid` in bytes.
pub fn anonymous_of(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kilobytes(&text, "RssAnon:")
}

/// Returns the most memory that this process has had resident so far, mapped files included, in bytes.
pub fn peak_resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&text, "VmHWM:")
}

/// Gives freed memory back to the system.
///
/// `main` sets the allocator to keep freed memory, because the buffers of a training step are freed and allocated
/// again thousands of times. Between phases the freed buffers are large and their successors have other sizes, so the
/// trainer calls this after it has dropped a model.
pub fn return_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes a plain number and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the number of a line such as `MemAvailable:   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kb: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb << 10)
}

/// Returns the directories of the control groups that can limit this process's memory, its own first, then its ancestors.
/// `groups` is `/proc/self/cgroup`: `0::/path` of version 2, `N:memory:/path` of version 1.
fn group_directories(groups: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            list if list.split(',').any(|c| c == "memory") => Path::new("/sys/fs/cgroup/memory"),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let within = own.ancestors().take_while(|dir| dir.starts_with(root));
        all.extend(within.map(Path::to_path_buf));
    }
    all
}

/// Returns the bytes that a control group has left: its limit minus its usage, without file pages that the system can drop at
/// any time.
fn room_in_group(dir: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        std::fs::read_to_string(dir.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    // In version 2, a group without a limit has "max" in place of a number.
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let stat = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let files: u64 = ["inactive_file", "active_file"]
        .iter()
        .map(|name| counter(&stat, name))
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

/// Returns a counter of `memory.stat`. In version 1, totals over the group and its children have another name.
fn counter(stat: &str, name: &str) -> u64 {
    let find = |name: &str| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    };
    find(&format!("total_{name}"))
        .or_else(|| find(name))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found() {
        let v1 = "9:name=systemd:/\n4:memory:/jobs/7\n3:cpuset:/\n0::/\n";
        let dirs = group_directories(v1);
        let wanted = ["memory/jobs/7", "memory/jobs", "memory", ""];
        let wanted = wanted.map(|d| Path::new("/sys/fs/cgroup").join(d));
        assert_eq!(dirs.len(), wanted.len(), "{dirs:?}");
        assert!(
            dirs.iter()
                .zip(&wanted)
                .all(|(a, b)| a.components().eq(b.components()))
        );
        assert_eq!(
            group_directories("0::/user.slice/job\n")[0],
            Path::new("/sys/fs/cgroup/user.slice/job")
        );
    }

    #[test]
    fn a_group_has_left_what_its_limit_allows_beyond_dropped_pages() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write(
            "memory.stat",
            "anon 400\ninactive_file 200\nactive_file 100\n",
        );
        assert_eq!(room_in_group(dir.path()), Some(600));
        write("memory.max", "max\n");
        assert_eq!(room_in_group(dir.path()), None);
        let old = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(old.path().join(name), text).unwrap();
        write("memory.limit_in_bytes", "500\n");
        write("memory.usage_in_bytes", "450\n");
        write("memory.stat", "inactive_file 1\ntotal_inactive_file 50\n");
        assert_eq!(room_in_group(old.path()), Some(100));
    }

    #[test]
    fn this_process_has_memory() {
        let (anonymous, peak) = (anonymous().unwrap(), peak_resident().unwrap());
        assert!(0 < anonymous && anonymous <= peak.max(anonymous));
        assert!(available().unwrap() > 1 << 20);
    }
}
