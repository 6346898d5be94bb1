//! Identifies this machine, its boots and its processes.

/// This machine's name.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Changes with every boot; empty where the system has none.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_string())
        .unwrap_or_default()
}

/// When a process of this machine started, in clock ticks since the boot: field 22 of `/proc/PID/stat`. Together with
/// the process id and the boot's id it identifies a process uniquely. `None` without such a process, or without
/// `/proc`.
pub fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}
