//! The trainer's end of the control socket: one thread with its own runtime, one task per connection.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::serve;
use super::hub::Hub;
use super::shared::Shared;
use super::socket::Bound;
use crate::run::command::Request;
use crate::run::dir::RunDir;
use crate::run::lock::RunLock;
use crate::text;
use crate::threads;

/// Time between two checks of the socket's file.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two attempts at all places while no socket is bound.
const RETRY: Duration = Duration::from_secs(10);
/// Longest wait for the last events to reach the clients at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The listening socket and its thread.
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// A socket that clients can connect to.
struct Listening {
    listener: UnixListener,
    bound: Bound,
}

/// Binds the socket at the first place that works and writes the address into the lock.
fn bind(shared: &Shared) -> io::Result<Listening> {
    let bound = Bound::anywhere(shared.dir.path())?;
    let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
    shared.publish(Some(bound.path()))?;
    Ok(Listening { listener, bound })
}

impl Server {
    /// Listens for clients of the run at `dir`. Commands are sent to `commands`, and the socket's address is written
    /// into `lock`. Clients receive what [`Hub::publish`] is given. If no place works now, all are tried again every 10
    /// seconds.
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
            bind(&shared)
        };
        if let Err(why) = &listening {
            let attendance = shared.hub.attendance();
            attendance.print(format!(
                "no control socket yet: {why}; attach and ctl cannot reach this run until one of these places works; \
                 retrying every {} s. `heirloom watch` follows the run, and `kill {}` ends it after a checkpoint",
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
            // No server would answer at that address.
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
        self.shared.is_published()
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
            listening = bind(&shared).ok();
            if let Some(now) = &listening {
                let place = text::path(now.bound.path());
                let attendance = shared.hub.attendance();
                attendance.print(format!("control socket at {place}"));
            }
            continue;
        };
        match timeout(LOOK, now.listener.accept()).await {
            Ok(Ok((stream, _))) => admit(stream, &shared),
            // Too many open files, or a client that has left already.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            // The socket's file was deleted, alone or with the run's directory, which is made again within a second or two.
            Err(_) if !now.bound.is_in_place() => match bind(&shared) {
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

/// Serves a client in its own task.
fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    shared.clients.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        serve(stream, &shared).await;
        shared.clients.fetch_sub(1, Ordering::SeqCst);
    });
}
