//! Keeps descriptors from started programs.

/// Marks every descriptor of this process except stdin, stdout and stderr as close-on-exec. Descriptors that it opens
/// are marked from the start; those that a shell or a parent has passed on, or that a library has opened, may not be.
///
/// Best effort: where the system does not list descriptors, nothing is marked.
pub fn close_on_exec() {
    let Ok(entries) = std::fs::read_dir("/dev/fd") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(fd) = name.to_str().and_then(|name| name.parse().ok())
            && fd > libc::STDERR_FILENO
        {
            // SAFETY: `fcntl` takes plain numbers. A descriptor that was closed meanwhile is an error without effect,
            // and one that was opened in its place may be marked like all others.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
