//! The trainer's end of the control socket: one thread with a runtime of its own, one task per connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::serve;
use super::hub::Hub;
use super::socket::Bound;
use crate::run::command::Request;
use crate::run::dir::RunDir;
use crate::run::holder::DirId;
use crate::run::lock::RunLock;
use crate::text;
use crate::threads;

/// How often the socket's file is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often all places are tried again while none has taken the socket.
const RETRY: Duration = Duration::from_secs(10);
/// At the end, so long the last events may take to reach the clients.
const FAREWELL: Duration = Duration::from_secs(2);

/// The listening socket and its thread.
pub struct Server {
    shared: Arc<Shared>,
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
    /// Where the socket's address is written.
    lock: Arc<Mutex<RunLock>>,
    address: Mutex<Option<PathBuf>>,
    /// When a refusal was journaled last.
    logged: Mutex<Option<Instant>>,
}

/// A stream of refusals is journaled no faster.
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

    /// The run's directory, for clients that must know whose socket this is.
    pub(super) fn dir_id(&self) -> Option<DirId> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.dir_id()
    }

    /// Writes the address into the lock, where clients look for it.
    fn publish(&self, address: Option<&Path>) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let written = lock.set_socket(address.map(Path::to_path_buf));
        let known = address.filter(|_| written.is_ok());
        let mut own = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        *own = known.map(Path::to_path_buf);
        written
    }

    /// Binds the socket at the first place that takes it and writes the address into the lock.
    fn bind(&self) -> io::Result<Listening> {
        let bound = Bound::anywhere(self.dir.path())?;
        let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
        self.publish(Some(bound.path()))?;
        Ok(Listening { listener, bound })
    }
}

/// A socket that clients can connect to.
struct Listening {
    listener: UnixListener,
    bound: Bound,
}

impl Server {
    /// Listens for clients of the run at `dir`; `commands` is where the trainer takes them from, and the socket's
    /// address is written into `lock`. The clients get what [`Hub::publish`] is given. Where no place takes the socket now,
    /// all are tried again every 10 seconds.
    ///
    /// # Errors
    /// When the system has no descriptors or no thread for it.
    pub fn start(
        dir: &RunDir,
        hub: Arc<Hub>,
        commands: Sender<Request>,
        lock: Arc<Mutex<RunLock>>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let shared = Arc::new(Shared::new(dir, hub, commands, lock));
        let listening = {
            let _entered = runtime.enter();
            shared.bind()
        };
        if let Err(why) = &listening {
            let attendance = shared.hub.attendance();
            attendance.tell(format!(
                "no control socket yet: {why}; attach and ctl cannot reach this run until one of these places takes it, \
                 which is tried every {} s. `heirloom watch` follows the run, and `kill {}` ends it after a checkpoint",
                RETRY.as_secs(),
                std::process::id()
            ));
        }
        let (stop, stopped) = oneshot::channel();
        let thread = threads::spawn("control", {
            let shared = Arc::clone(&shared);
            move || runtime.block_on(run(listening.ok(), shared, stopped))
        });
        let thread = thread.inspect_err(|_| {
            // Nothing would answer there.
            let _ = shared.publish(None);
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
            stop: Some(stop),
        })
    }

    /// Whether clients can find and reach it now.
    pub fn is_reachable(&self) -> bool {
        let address = self.shared.address.lock();
        address.unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Drop for Server {
    /// Ends the connections, after the last events have gone out.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(listening: Option<Listening>, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let accepting = tokio::spawn(accept(listening, Arc::clone(&shared)));
    let _ = stopped.await;
    accepting.abort();
    let last_words = async {
        while !shared.hub.is_over() || shared.clients.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(FAREWELL, last_words).await;
}

async fn accept(mut listening: Option<Listening>, shared: Arc<Shared>) {
    loop {
        let Some(now) = &listening else {
            tokio::time::sleep(RETRY).await;
            listening = shared.bind().ok();
            if let Some(now) = &listening {
                let place = text::path(now.bound.path());
                let attendance = shared.hub.attendance();
                attendance.tell(format!("control socket at {place}"));
            }
            continue;
        };
        match timeout(LOOK, now.listener.accept()).await {
            Ok(Ok((stream, _))) => admit(stream, &shared),
            // Too many open files, or a client that has left already.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            // Deleted with the run's directory, or to tidy up; the directory comes again within a second or two.
            Err(_) if !now.bound.is_in_place() => match shared.bind() {
                Ok(new) => listening = Some(new),
                Err(_) => {
                    let _ = shared.publish(None);
                    listening = None;
                }
            },
            Err(_) => {}
        }
    }
}

/// Serves a client in a task of its own.
fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    shared.clients.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        serve(stream, &shared).await;
        shared.clients.fetch_sub(1, Ordering::SeqCst);
    });
}
