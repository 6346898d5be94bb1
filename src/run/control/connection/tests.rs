use super::*;
use crate::run::control::hub::Hub;
use crate::run::dir::RunDir;
use crate::run::lock::RunLock;
use crate::run::presence::Presence;
use crate::run::shared::SharedRun;
use crate::run::state::RunState;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// Makes the state that connections to a run in `dir` share, and the receiver of their commands.
fn shared(dir: &std::path::Path) -> (Arc<Shared>, Receiver<Request>) {
    let (commands, requests) = channel();
    let (run, _) = SharedRun::begin(RunState::default()).unwrap();
    let hub = Hub::new(Presence::new(false), run);
    let lock = Arc::new(Mutex::new(RunLock::acquire(dir).unwrap()));
    let shared = Shared::new(&RunDir::at(dir), hub, commands, lock);
    (Arc::new(shared), requests)
}

/// The events' end reaches the connection first, the answer to `quit` after it.
#[test]
fn an_answer_that_comes_after_the_events_end_is_still_sent() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let subscribe = Incoming::Subscribe {
        after: 0,
        read_only: false,
        skip: false,
    };
    for first in [Some(subscribe), None] {
        let tmp = tempfile::tempdir().unwrap();
        let (shared, requests) = shared(tmp.path());
        runtime.block_on(async {
            let (server, mut client) = UnixStream::pair().unwrap();
            let serving = tokio::spawn({
                let shared = Arc::clone(&shared);
                async move { serve(server, &shared).await }
            });
            let command = Incoming::Command {
                id: 7,
                command: Command::Quit,
                script: first.is_none(),
            };
            for message in first.iter().chain([&command]) {
                let line = message.to_line();
                client.write_all(line.as_bytes()).await.unwrap();
            }
            let request = loop {
                match requests.try_recv() {
                    Ok(request) => break request,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            shared.hub.end();
            // The connection is this runtime's only other task: it runs whenever this one gives way, and has dealt with
            // the end long before the answer.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            let answered = Answered {
                id: 1,
                applied: true,
                message: "checkpoint b0-1; the process ends".into(),
            };
            let _ = request.reply.unwrap().send(answered);
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            let last = said.lines().last().unwrap();
            assert!(
                matches!(
                    Outgoing::parse(last),
                    Ok(Outgoing::Answer {
                        id: 7,
                        applied: true,
                        ..
                    })
                ),
                "{said}"
            );
            serving.await.unwrap();
        });
    }
}

#[test]
fn a_status_that_waits_holds_up_no_other_client() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tmp = tempfile::tempdir().unwrap();
    let (shared, _requests) = shared(tmp.path());
    let (locked, is_locked) = channel();
    let (release, released) = channel();
    let hub = Arc::clone(&shared.hub);
    let holding = std::thread::spawn(move || {
        hub.with_state(|_| {
            locked.send(()).unwrap();
            // Over at the latest when the test has failed.
            released.recv_timeout(Duration::from_secs(10)).is_ok()
        })
    });
    is_locked.recv().unwrap();
    runtime.block_on(async {
        let client = || {
            let (server, client) = UnixStream::pair().unwrap();
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { serve(server, &shared).await });
            BufReader::new(client)
        };
        let mut line = String::new();
        let mut waiting = client();
        waiting.read_line(&mut line).await.unwrap();
        let status = Incoming::Status { id: 3 }.to_line();
        waiting.write_all(status.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        line.clear();
        client().read_line(&mut line).await.unwrap();
        assert!(line.contains("hello"), "{line}");
        release.send(()).unwrap();
        line.clear();
        waiting.read_line(&mut line).await.unwrap();
        let said = Outgoing::parse(line.trim_end());
        assert!(matches!(said, Ok(Outgoing::Status { id: 3, .. })), "{line}");
    });
    assert!(holding.join().unwrap(), "released too late");
}

#[test]
fn other_users_may_not_connect() {
    let (me, other) = (Uid::from_raw(1000), Uid::from_raw(1001));
    assert!(may_connect(me, me));
    assert!(may_connect(Uid::from_raw(0), me));
    assert!(!may_connect(other, me));
    assert!(!may_connect(me, Uid::from_raw(0)));
}

#[test]
fn an_event_is_sent_as_the_journal_has_it() {
    let line = event_line(r#"{"v":1,"seq":3}"#);
    let event = serde_json::json!({"v": 1, "seq": 3});
    assert_eq!(
        Outgoing::parse(line.trim_end()),
        Ok(Outgoing::Event { event })
    );
}
