//! Starts threads, which a system may refuse: at a limit on processes, or when memory is full.
//!
//! `std::thread::spawn` and rayon's own start of its global pool panic then; the functions here return errors.

use std::fmt::Display;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread.
///
/// # Errors
/// When the system refuses it; the error names the possible limits.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let started = Builder::new().name(name.into()).spawn(work);
    started.map_err(|why| refused(&format!("the thread \"{name}\""), &why))
}

/// Starts rayon's global pool, with one thread per core or `RAYON_NUM_THREADS` threads. Without this call the pool would start on
/// its first use, and panic if a thread is refused.
///
/// # Errors
/// When the system refuses a thread.
pub fn start_pool() -> io::Result<()> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // The error's kind is private, so its text is compared. An existing pool is accepted.
        Err(why) if !why.to_string().contains("already") => {
            let wanted = std::thread::available_parallelism().map_or(1, usize::from);
            let what = format!("compute threads (one per core, {wanted}, or RAYON_NUM_THREADS)");
            Err(refused(&what, &why))
        }
        _ => Ok(()),
    }
}

/// Makes an error for threads that the system refuses.
pub fn refused(what: &str, why: &dyn Display) -> io::Error {
    io::Error::other(format!(
        "cannot start {what}: {why}. Either the limit on processes and threads is reached (ulimit -u, or the pids limit of a \
         container or a job), or memory is full (ulimit -v)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_there_is_no_error() {
        start_pool().unwrap();
        start_pool().unwrap();
        assert_eq!(spawn("test", || 7).unwrap().join().unwrap(), 7);
    }
}
