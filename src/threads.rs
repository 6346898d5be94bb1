//! Threads, which a system may refuse: at a limit on processes, or when memory is full.
//!
//! `std::thread::spawn` and rayon's own start of its global pool panic then; nothing here does.

use std::fmt::Display;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread.
///
/// # Errors
/// When the system refuses it; names which limits there are.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let started = Builder::new().name(name.into()).spawn(work);
    started.map_err(|why| refused(&format!("the thread \"{name}\""), &why))
}

/// Starts rayon's global pool, one thread per core or as `RAYON_NUM_THREADS` says. Without this call the pool starts on
/// its first use, and panics where it cannot.
///
/// # Errors
/// When the system refuses a thread.
pub fn start_pool() -> io::Result<()> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Its kind cannot be asked for: a pool that is there already is as good.
        Err(why) if !why.to_string().contains("already") => {
            let wanted = std::thread::available_parallelism().map_or(1, usize::from);
            let what = format!("compute threads (one per core, {wanted}, or RAYON_NUM_THREADS)");
            Err(refused(&what, &why))
        }
        _ => Ok(()),
    }
}

/// An error for threads that the system does not give.
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
