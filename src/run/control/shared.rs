//! State that the control socket's connections and its server share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hub::Hub;
use crate::run::command::Request;
use crate::run::dir::RunDir;
use crate::run::holder::DirId;
use crate::run::lock::RunLock;

/// State that every connection needs.
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) dir: RunDir,
    pub(super) commands: Sender<Request>,
    pub(super) clients: AtomicUsize,
    pub(super) numbers: AtomicU64,
    /// The lock, into which the socket's address is written.
    lock: Arc<Mutex<RunLock>>,
    address: Mutex<Option<PathBuf>>,
    /// The time of the last refusal that was journaled.
    logged: Mutex<Option<Instant>>,
}

/// Shortest time between two refusals that are journaled.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn new(
        dir: &RunDir,
        hub: Arc<Hub>,
        commands: Sender<Request>,
        lock: Arc<Mutex<RunLock>>,
    ) -> Self {
        Self {
            hub,
            dir: dir.clone(),
            commands,
            clients: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            lock,
            address: Mutex::new(None),
            logged: Mutex::new(None),
        }
    }

    /// Whether a refusal may be journaled now.
    pub(super) fn may_log(&self) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = logged.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if may {
            *logged = Some(now);
        }
        may
    }

    /// The id of the run's directory, which clients use to check whose socket this is.
    pub(super) fn dir_id(&self) -> Option<DirId> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.dir_id()
    }

    /// Writes the address into the lock, where clients look for it.
    pub(super) fn publish(&self, address: Option<&Path>) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let written = lock.set_socket(address.map(Path::to_path_buf));
        let known = address.filter(|_| written.is_ok());
        let mut own = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        *own = known.map(Path::to_path_buf);
        written
    }

    /// Whether the lock holds the socket's address.
    pub(super) fn is_published(&self) -> bool {
        let address = self.address.lock();
        address.unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
