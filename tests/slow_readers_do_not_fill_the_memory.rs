//! A slow reader of a run's events loses only metrics, gets their number, and does not make the trainer's memory grow.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use common::{Background, PATIENCE, Place, signal, wait};
use nix::sys::signal::Signal;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::{Value, json};

/// Fault that emits 10,000 events a second, and time for which they are not read.
const FLOOD: &str = "flood:10000";
const ASLEEP: Duration = Duration::from_secs(20);
/// Time after which the queue is full, so that the trainer's memory must not grow any more.
const FULL: Duration = Duration::from_secs(5);
/// An unbounded queue would grow by about 60 MB meanwhile.
const MOST_GROWTH: u64 = 16 << 20;

/// Returns the anonymous memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// A line of the journal or of the output.
#[derive(Debug)]
struct Told {
    line: String,
    kind: String,
    seq: u64,
    /// Number of lost events of a gap.
    dropped: u64,
}

impl Told {
    fn new(line: String) -> Self {
        let event: Value = serde_json::from_str(&line).unwrap();
        Self {
            kind: event["kind"].as_str().unwrap().into(),
            seq: event["seq"].as_u64().unwrap(),
            dropped: event["dropped"].as_u64().unwrap_or(0),
            line,
        }
    }

    fn is_metric(&self) -> bool {
        self.kind == "train" || self.kind == "log"
    }
}

/// Checks that `printed` is the journal with gaps in place of events that may be lost. Returns the number of lost events.
fn is_the_journal_but_for_gaps(journal: &[Told], printed: &[Told]) -> u64 {
    let mut rest = journal.iter();
    let mut lost = 0;
    for event in printed {
        if event.kind == "gap" {
            let missing: Vec<&Told> = rest.by_ref().take(event.dropped as usize).collect();
            assert!(missing.iter().all(|e| e.is_metric()), "at {event:?}");
            assert_eq!(missing.last().unwrap().seq, event.seq);
            lost += event.dropped;
        } else {
            assert_eq!(rest.next().map(|e| &e.line), Some(&event.line));
        }
    }
    assert!(rest.next().is_none(), "something is missing at the end");
    lost
}

/// Connects a client to the socket and subscribes.
fn subscribe(socket: &str, words: &Value) -> UnixStream {
    let mut client = UnixStream::connect(socket).unwrap();
    client.write_all(format!("{words}\n").as_bytes()).unwrap();
    client
}

/// Returns the messages to a client of the socket until the server disconnects it or the run ends.
fn messages(stream: UnixStream) -> Vec<Value> {
    let lines = BufReader::new(stream).lines();
    lines
        .map_while(Result::ok)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

#[test]
fn a_reader_and_a_client_that_sleep_miss_metrics_alone_and_learn_how_many() {
    let place = Place::new();
    let mut command = place.heirloom(&["train", "mini.toml", "--name", "mine", "--json"]);
    // Evaluations, probes, checkpoints and phases continue during the flood.
    command.args(["--set", "reference.train.steps=500"]);
    command.args([
        "--set",
        "control.random=false",
        "--set",
        "train.steps=1000000",
    ]);
    command.env("HEIRLOOM_FAULT", FLOOD).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let _guard = Background(pid);
    place.wait_event("mine", "the flood", |e| e["kind"] == "log");
    let socket = place.lock("mine")["socket"].as_str().unwrap().to_string();
    let client = subscribe(&socket, &json!({"v": 1, "type": "subscribe", "after": 0}));
    std::thread::sleep(FULL);
    let full = memory(pid);
    std::thread::sleep(ASLEEP - FULL);
    let grown = memory(pid).saturating_sub(full);
    assert!(grown <= MOST_GROWTH, "{} MB", grown >> 20);

    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut event = || Some(Told::new(lines.next()?.unwrap()));
    // The reader continues until after the gap; then the run ends.
    let mut printed = Vec::new();
    while printed.last().is_none_or(|e: &Told| e.kind != "gap") {
        printed.push(event().unwrap());
    }
    let reading = std::thread::spawn(move || messages(client));
    // A client without access to the journal gets the remaining events, and the number of lost ones.
    let skip = json!({"v": 1, "type": "subscribe", "after": 1, "skip": true});
    // On a busy machine the flood may overtake the client again, which ends its connection. It subscribes again, like a dashboard.
    let first = wait("two events", || {
        let first = BufReader::new(subscribe(&socket, &skip)).lines();
        let first: Vec<Value> = first
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .filter(|message: &Value| message["type"] == "event")
            .map(|mut message| message["event"].take())
            .take(2)
            .collect();
        (first.len() == 2).then_some(first)
    });
    let seq = first[0]["seq"].as_u64().unwrap();
    assert_eq!(first[0]["kind"], "gap");
    assert_eq!(first[0]["dropped"], seq - 1, "all from number 2 on");
    assert_eq!(first[1]["seq"], seq + 1);
    signal(pid, Signal::SIGTERM);
    printed.extend(std::iter::from_fn(event));
    assert_eq!(child.wait().unwrap().code(), Some(75));

    let journal = std::fs::read_to_string(place.run_dir("mine").join("events.jsonl")).unwrap();
    let journal: Vec<Told> = journal.lines().map(|l| Told::new(l.into())).collect();
    let lost = is_the_journal_but_for_gaps(&journal, &printed);
    assert!(lost > 100_000, "{lost} lost of {}", journal.len());
    let never = printed.iter().filter(|e| !e.is_metric());
    assert!(never.count() > 20, "there was more than the flood");

    let messages = reading.join().unwrap();
    let seqs: Vec<u64> = messages
        .iter()
        .filter(|m| m["type"] == "event")
        .map(|m| m["event"]["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "no hole");
    let last = messages.last().unwrap();
    assert_eq!(last["type"], "lagged", "{last}");
    assert!(last["missed"].as_u64() > Some(50_000), "{last}");
}

#[test]
fn a_reader_that_never_reads_does_not_hold_up_a_stop() {
    let place = Place::new();
    let long = ["train", "mini.toml", "--name", "mine", "--json"];
    let mut command = place.heirloom(&long);
    command.args(["--set", "reference.train.steps=1000000"]);
    command.env("HEIRLOOM_FAULT", "flood:2000");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let _guard = Background(child.id());
    // Far more events than a pipe holds.
    place.wait_event("mine", "a full pipe", |e| e["seq"].as_u64() > Some(3000));
    signal(child.id(), Signal::SIGUSR1);
    let begin = std::time::Instant::now();
    let status = wait("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(75));
    assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
    assert_eq!(place.show("mine")["state"], "interrupted");
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_a_stop() {
    let place = Place::new();
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_heirloom"));
    command.args(["train", "mini.toml", "--name", "mine"]);
    command.args(["--set", "reference.train.steps=1000000"]);
    command.cwd(place.path());
    command.env("TERM", "xterm-256color");
    command.env_remove("HEIRLOOM_PARENT");
    command.env_remove("ACCESSIBLE");
    let mut parent = pair.slave.spawn_command(command).unwrap();
    place.wait_event("mine", "training", |e| e["kind"] == "train");
    let trainer = place.lock("mine")["pid"].as_u64().unwrap() as u32;
    let _guard = Background(trainer);
    // The help, a large part of the screen, opens and closes until the terminal's buffer is full.
    let mut keys = pair.master.take_writer().unwrap();
    wait("the dashboard that cannot write", || {
        for _ in 0..40 {
            keys.write_all(b"?").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        is_blocked(trainer)
    });
    signal(trainer, Signal::SIGUSR1);
    let begin = std::time::Instant::now();
    let status = wait("the end", || parent.try_wait().unwrap());
    assert_eq!(status.exit_code(), 75);
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert_eq!(place.show("mine")["state"], "interrupted");
}

/// Returns `Some` if the main thread of a process has not woken for half a second. Normally it wakes often to check for keys, so it
/// is waiting for the terminal to take its output.
fn is_blocked(pid: u32) -> Option<()> {
    let woken = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find(|l| l.starts_with("voluntary_ctxt_switches"))?;
        Some(line.to_string())
    };
    let before = woken()?;
    std::thread::sleep(Duration::from_millis(500));
    (woken()? == before).then_some(())
}
