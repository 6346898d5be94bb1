//! The trainer's end of the control socket: one thread with a runtime of its own, one task per connection.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address;
use super::connection::serve;
use super::hub::Hub;
use crate::run::command::Request;
use crate::run::dir::RunDir;
use crate::run::event::Event;
use crate::run::journal::Observer;
use crate::run::queue::{self, EventReceiver};

/// How often the socket's file is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// At the end, so long the last events may take to reach the clients.
const FAREWELL: Duration = Duration::from_secs(2);

/// The listening socket and its thread.
pub struct Server {
    address: PathBuf,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// What every connection needs.
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) dir: RunDir,
    pub(super) commands: Sender<Request>,
    pub(super) clients: AtomicUsize,
    pub(super) numbers: AtomicU64,
    /// When a refusal was journaled last.
    logged: Mutex<Option<Instant>>,
}

/// A stream of refusals is journaled no faster.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl Shared {
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
}

impl Server {
    /// Listens for clients of the run at `dir`; `commands` is where the trainer takes them from. Returns the observer
    /// that feeds the clients, too.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start(
        dir: &RunDir,
        hub: Arc<Hub>,
        commands: Sender<Request>,
    ) -> io::Result<(Self, Observer)> {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let address = address::choose(dir.path(), runtime_dir.as_deref(), &std::env::temp_dir())?;
        remove_stale(&address)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            bind(&address)?
        };
        let shared = Arc::new(Shared {
            hub,
            dir: dir.clone(),
            commands,
            clients: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            logged: Mutex::new(None),
        });
        let (events, from_trainer) = queue::bounded();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("control".into()).spawn({
            let address = address.clone();
            move || runtime.block_on(run(listener, address, shared, from_trainer, stopped))
        })?;
        let observer = move |event: &Event| events.send(event);
        let server = Self {
            address,
            thread: Some(thread),
            stop: Some(stop),
        };
        Ok((server, Box::new(observer)))
    }

    /// Where it listens.
    pub fn address(&self) -> &Path {
        &self.address
    }
}

impl Drop for Server {
    /// Ends the connections, after the last events have gone out.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.address);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket that a killed process left behind; anything else in its place is not ours to remove.
fn remove_stale(address: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(address) {
        Ok(m) if m.file_type().is_socket() => std::fs::remove_file(address),
        Ok(_) => Err(io::Error::other(format!(
            "{} is in the control socket's way",
            address.display()
        ))),
        Err(_) => Ok(()),
    }
}

/// A socket that only this user can open. It needs a runtime around it.
fn bind(address: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(address)?;
    std::fs::set_permissions(address, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn run(
    listener: UnixListener,
    address: PathBuf,
    shared: Arc<Shared>,
    events: EventReceiver,
    stopped: oneshot::Receiver<()>,
) {
    let hub = Arc::clone(&shared.hub);
    let publishing = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            hub.publish(&event);
        }
        hub.end();
    });
    let accepting = tokio::spawn(accept(listener, address, Arc::clone(&shared)));
    let _ = stopped.await;
    accepting.abort();
    let last_words = async {
        let _ = publishing.await;
        while shared.clients.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(FAREWELL, last_words).await;
}

async fn accept(mut listener: UnixListener, address: PathBuf, shared: Arc<Shared>) {
    loop {
        let Ok(accepted) = timeout(LOOK, listener.accept()).await else {
            // Deleted with the run's directory, or by somebody who tidies up.
            if !address.exists()
                && let Ok(new) = bind(&address)
            {
                listener = new;
            }
            continue;
        };
        match accepted {
            Ok((stream, _)) => {
                shared.clients.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve(stream, &shared).await;
                    shared.clients.fetch_sub(1, Ordering::SeqCst);
                });
            }
            // Too many open files, or a client that has left already.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
