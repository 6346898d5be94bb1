//! One client's connection: what it sends, and what it receives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, geteuid};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::hub::{Controller, Next};
use super::lines::{LineError, Lines};
use super::protocol::{Incoming, Outgoing};
use super::shared::Shared;
use super::who;
use crate::run::command::{Answered, By, Command, Request};
use crate::run::machine::{boot_id, process_start};
use crate::run::presence::Attached;
use crate::run::show::{self, Kept};
use crate::threads;

/// Connections at the same time.
const MOST_CLIENTS: usize = 64;
/// A client that does not read for this long is disconnected; it can reconnect and read the journal.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for a directory service to name a client's user; after that the client is known by its number.
const NAMING: Duration = Duration::from_secs(2);

/// Whether user `peer` may connect to a process of user `own`.
fn may_connect(peer: Uid, own: Uid) -> bool {
    peer == own || peer.is_root()
}

/// Serves one client until it leaves, is refused, or the run ends.
pub(super) async fn serve(stream: UnixStream, shared: &Arc<Shared>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    let (reading, writing) = stream.into_split();
    let mut client = Client {
        id: shared.numbers.fetch_add(1, Ordering::SeqCst),
        pid,
        shared: Arc::clone(shared),
        writing,
        sent: None,
        told: None,
        attached: None,
        read_only: false,
        unanswered: 0,
    };
    let refusal = if !may_connect(Uid::from_raw(peer.uid()), geteuid()) {
        Some(format!("user {} may not control this run", peer.uid()))
    } else if shared.clients.load(Ordering::SeqCst) > MOST_CLIENTS {
        Some(format!("{MOST_CLIENTS} clients are connected already"))
    } else {
        client.talk(reading).await.err()
    };
    if let Some(message) = refusal {
        let who = pid.map_or("a client".into(), |pid| format!("process {pid}"));
        if shared.may_log() {
            let attendance = shared.hub.attendance();
            attendance.print(format!("control socket: {who} refused: {message}"));
        }
        let _ = client.say(&Outgoing::Error { message }).await;
    }
    shared.hub.leave(client.holder());
}

struct Client {
    id: u64,
    pid: Option<u32>,
    shared: Arc<Shared>,
    writing: OwnedWriteHalf,
    /// Number of the last event sent, once subscribed.
    sent: Option<u64>,
    /// The controller that the client was last informed of.
    told: Option<Controller>,
    attached: Option<Attached>,
    read_only: bool,
    unanswered: usize,
}

/// The client has disconnected, or does not read.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Client {
    fn holder(&self) -> Controller {
        Controller::Client {
            id: self.id,
            pid: self.pid,
        }
    }

    /// Serves the client until it leaves or the run ends. The error is sent to the client and journaled.
    async fn talk(&mut self, reading: OwnedReadHalf) -> Result<(), String> {
        let hub = Arc::clone(&self.shared.hub);
        let mut changes = hub.watch();
        let mut lines = Lines::new(reading);
        let (answers, mut answered) = unbounded_channel();
        let mut silent = false;
        let hello = Outgoing::Hello {
            program: crate::PROGRAM.into(),
            run: self.shared.dir.name(),
            pid: std::process::id(),
            seq: hub.seq(),
            pid_start: process_start(std::process::id()),
            boot_id: boot_id(),
            dir: self.shared.dir_id(),
        };
        if self.say(&hello).await.is_err() {
            return Ok(());
        }
        loop {
            let on = tokio::select! {
                line = lines.next(), if !silent => match line {
                    Ok(Some(line)) => {
                        let message = Incoming::parse(&line).map_err(|e| e.to_string())?;
                        self.take(message, &answers).await
                    }
                    // The client sends nothing more (`echo ... | nc -U`), but what it has asked is still answered.
                    Ok(None) => {
                        silent = true;
                        Ok(())
                    }
                    Err(LineError::Refused(refusal)) => return Err(refusal.to_string()),
                    Err(LineError::Io) => Err(Gone),
                },
                Some(answer) = answered.recv() => {
                    self.unanswered -= 1;
                    match self.say(&answer).await {
                        // The end may have waited for this answer, and no further change comes after it.
                        Ok(()) if hub.is_over() => self.look().await,
                        said => said,
                    }
                }
                changed = changes.changed() => match changed {
                    Ok(()) => self.look().await,
                    Err(_) => Err(Gone),
                },
            };
            if on.is_err() || (silent && (self.sent.is_some() || self.unanswered == 0)) {
                return Ok(());
            }
        }
    }

    /// Sends new events to a client that has subscribed, and ends the connection once the run is over.
    async fn look(&mut self) -> Result<(), Gone> {
        match self.sent {
            Some(_) => self.follow().await,
            // A client that asks for nothing does not delay the end.
            None if self.shared.hub.is_over() && self.unanswered == 0 => Err(Gone),
            None => Ok(()),
        }
    }

    async fn take(
        &mut self,
        message: Incoming,
        answers: &UnboundedSender<Outgoing>,
    ) -> Result<(), Gone> {
        let hub = Arc::clone(&self.shared.hub);
        match message {
            Incoming::Subscribe {
                after,
                read_only,
                skip,
            } => {
                // Before anything is sent: the events that follow a gap are not kept for long.
                if let Some(pid) = self.pid.filter(|_| !read_only) {
                    let name = timeout(NAMING, aside("who", move || who::describe(pid))).await;
                    if let Ok(Ok(name)) = name {
                        hub.introduce(self.id, name);
                    }
                }
                self.sent = Some(after);
                if let Some(gap) = hub.gap(after).filter(|_| skip) {
                    self.write(&event_line(&gap.to_line())).await?;
                    self.sent = Some(gap.seq);
                }
                self.read_only = read_only;
                if !read_only {
                    self.attached = Some(hub.attendance().attach());
                    if hub.holder() == Controller::Free {
                        hub.take_control(self.holder());
                    }
                }
                self.follow().await
            }
            Incoming::TakeControl if self.read_only => {
                let message = "this client is read-only".to_string();
                self.say(&Outgoing::Error { message }).await
            }
            Incoming::TakeControl => {
                hub.take_control(self.holder());
                self.follow().await
            }
            Incoming::Status { id } => {
                let dir = self.shared.dir.clone();
                let look = move || {
                    // Before the state is locked: the disk may take its time.
                    let kept = Kept::list(&dir);
                    let is_kept = |name: &str| kept.has(name);
                    hub.with_state(|state| {
                        let run = show::json_knowing(state, &dir, &is_kept);
                        (run, show::status_knowing(state, &dir, &is_kept))
                    })
                };
                match aside("status", look).await {
                    Ok((run, text)) => {
                        let lines = text.lines().map(String::from).collect();
                        self.say(&Outgoing::Status { id, run, lines }).await
                    }
                    Err(refused) => {
                        let message = refused.to_string();
                        self.say(&Outgoing::Error { message }).await
                    }
                }
            }
            Incoming::Command {
                id,
                command,
                script,
            } => match self.pass_on(id, command, script, answers) {
                Ok(()) => Ok(()),
                Err(message) => {
                    self.say(&Outgoing::Answer {
                        id,
                        applied: false,
                        message,
                    })
                    .await
                }
            },
        }
    }

    /// Hands a command to the trainer, whose answer goes to `answers`.
    fn pass_on(
        &mut self,
        id: u64,
        command: Command,
        script: bool,
        answers: &UnboundedSender<Outgoing>,
    ) -> Result<(), String> {
        let hub = Arc::clone(&self.shared.hub);
        if !script {
            if self.read_only {
                return Err("this client is read-only".into());
            }
            hub.may_command(self.holder())?;
        }
        hub.admit(Instant::now())?;
        let (reply, answer) = oneshot::channel::<Answered>();
        let request = Request {
            by: if script { By::Control } else { By::Keyboard },
            command,
            pid: self.pid,
            reply: Some(reply),
        };
        if self.shared.commands.send(request).is_err() {
            hub.answered();
            return Err("the trainer has ended".into());
        }
        self.unanswered += 1;
        let answers = answers.clone();
        tokio::spawn(async move {
            let (applied, message) = match answer.await {
                Ok(answer) => (answer.applied, answer.message),
                Err(_) => (false, "the trainer ended before it answered".into()),
            };
            hub.answered();
            // The client may have left.
            let _ = answers.send(Outgoing::Answer {
                id,
                applied,
                message,
            });
        });
        Ok(())
    }

    /// Sends everything new since the last call.
    async fn follow(&mut self) -> Result<(), Gone> {
        let hub = Arc::clone(&self.shared.hub);
        let holder = hub.holder();
        if self.told != Some(holder) {
            self.told = Some(holder);
            self.say(&Outgoing::Control {
                mine: holder == self.holder(),
                holder: hub.holder_words(),
            })
            .await?;
        }
        while let Some(after) = self.sent {
            match hub.next(after) {
                Next::Lines(lines) => {
                    let mut text = String::new();
                    for (seq, line) in lines {
                        text.push_str(&event_line(&line));
                        self.sent = Some(seq);
                    }
                    self.write(&text).await?;
                }
                Next::Nothing => return Ok(()),
                Next::Lagged(missed) => {
                    self.say(&Outgoing::Lagged { missed }).await?;
                    return Err(Gone);
                }
                // The end of the events can come before the last answer, such as the answer to `quit`. The wait is
                // short: a trainer that has ended has answered or dropped every command, and the server's shutdown
                // limits how long it waits for clients.
                Next::Over if self.unanswered > 0 => return Ok(()),
                Next::Over => return Err(Gone),
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: &Outgoing) -> Result<(), Gone> {
        self.write(&message.to_line()).await
    }

    async fn write(&mut self, text: &str) -> Result<(), Gone> {
        match timeout(PATIENCE, self.writing.write_all(text.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// Runs work that may wait for a disk, a lock or a directory service on its own thread, since the server has one thread
/// for all clients.
///
/// # Errors
/// When the system refuses the thread, or the work panics.
async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (send, done) = oneshot::channel();
    threads::spawn(name, move || {
        // If the client has left, the result is dropped.
        let _ = send.send(work());
    })?;
    let died = |_| io::Error::other(format!("the thread \"{name}\" died"));
    done.await.map_err(died)
}

/// [`Outgoing::Event`] around a line of the journal, without reading it.
fn event_line(line: &str) -> String {
    format!(
        "{{\"v\":{},\"type\":\"event\",\"event\":{line}}}\n",
        super::protocol::VERSION
    )
}

#[cfg(test)]
mod tests;
