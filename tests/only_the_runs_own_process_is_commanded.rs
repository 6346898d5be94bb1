//! A foreign run directory may name any process as its trainer: `ctl` and `attach` send nothing to a process that does not train
//! the run.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use common::{Place, is_alive, texts, wait};
use heirloom::dashboard::{AttachFeed, Feed};
use heirloom::run::command::Command;
use heirloom::run::dir::RunDir;
use heirloom::run::holder::{DirId, process_start};
use heirloom::run::state::RunState;
use serde_json::{Value, json};

const LONG: [&str; 2] = ["--set", "reference.train.steps=1000000"];

/// A run directory `foreign` that this process holds like a trainer.
struct Foreign {
    dir: PathBuf,
    _held: [File; 2],
}

impl Foreign {
    fn new(place: &Place) -> Self {
        let dir = place.run_dir("foreign");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.toml"), "").unwrap();
        let held = ["lock", "events.jsonl"].map(|name| {
            let open = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name));
            let file = open.unwrap();
            file.try_lock().unwrap();
            heirloom::file::lock::lock(&file).unwrap();
            file
        });
        Self { dir, _held: held }
    }

    /// Writes a lock with this process, this boot and the socket, and replaces the fields in `but`.
    fn lock(&self, socket: &Path, but: Value) {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let mut lock = json!({
            "pid": std::process::id(),
            "pid_start": process_start(std::process::id()),
            "host": nix::unistd::gethostname().unwrap().to_str().unwrap(),
            "boot_id": boot.trim(),
            "dir": DirId::of(&self.dir).unwrap(),
            "socket": socket,
            "started": "",
        });
        for (key, value) in but.as_object().unwrap() {
            lock[key] = value.clone();
        }
        std::fs::write(self.dir.join("lock"), lock.to_string()).unwrap();
    }

    /// Returns the greeting of the run's own process, with the fields in `but` replaced.
    fn hello(&self, but: Value) -> Value {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let mut hello = json!({
            "v": 1, "type": "hello", "program": "heirloom", "run": "foreign", "seq": 0,
            "pid": std::process::id(),
            "pid_start": process_start(std::process::id()),
            "boot_id": boot.trim(),
            "dir": DirId::of(&self.dir).unwrap(),
        });
        for (key, value) in but.as_object().unwrap() {
            hello[key] = value.clone();
        }
        hello
    }
}

/// Starts a server that greets one client and answers its command. The thread returns the client's messages.
fn serve(socket: &Path, hello: &Value) -> JoinHandle<String> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    let hello = format!("{hello}\n");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(hello.as_bytes());
        let mut said = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        if lines.read_line(&mut said).is_ok_and(|n| n > 0) {
            let answer =
                json!({"v": 1, "type": "answer", "id": 1, "applied": true, "message": "done"});
            let _ = stream.write_all(format!("{answer}\n").as_bytes());
        }
        said
    })
}

#[test]
fn a_lock_that_names_another_runs_socket_commands_nothing() {
    let place = Place::new();
    let run = place.in_background("mine", &LONG, "");
    let mine = place.lock("mine");
    let foreign = Foreign::new(&place);
    let socket = PathBuf::from(mine["socket"].as_str().unwrap());
    // The lock of the other run, and variants that a forger could write.
    for but in [
        json!({"pid": mine["pid"], "pid_start": mine["pid_start"], "dir": mine["dir"]}),
        json!({"pid": mine["pid"], "pid_start": mine["pid_start"]}),
        json!({"pid": mine["pid"], "pid_start": null, "dir": null}),
        json!({}),
        json!({"host": "unknown"}),
        json!({"host": "unknown", "boot_id": "", "pid": mine["pid"]}),
        json!({"host": "unknown", "boot_id": "other", "pid": mine["pid"]}),
    ] {
        foreign.lock(&socket, but.clone());
        for words in [&["stop"][..], &["quit"], &["status"]] {
            let (code, out, err) = place.ctl("foreign", words);
            assert_eq!((code, out.as_str()), (2, ""), "{but}: {err}");
        }
    }
    assert!(is_alive(run.0));
    assert!(place.events("mine").iter().all(|e| e["kind"] != "command"));
    // The run itself can still be commanded, also through a link.
    std::os::unix::fs::symlink("mine", place.run_dir("linked")).unwrap();
    assert_eq!(place.ctl("linked", &["status"]).0, 0);
    assert_eq!(place.ctl("mine", &["quit"]).0, 0);
}

#[test]
fn what_answers_must_be_the_process_that_the_lock_names() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let socket = place.path().join("s.sock");
    let other = DirId::of(place.path()).unwrap();
    for (lock, hello, why) in [
        (json!({}), json!({}), ""),
        (json!({}), json!({"pid": 1}), "process 1 answers"),
        (json!({"pid": 1}), json!({}), "names process 1"),
        (
            json!({}),
            json!({"pid_start": 1}),
            "started at another time",
        ),
        (
            json!({}),
            json!({"pid_start": null}),
            "started at another time",
        ),
        (json!({}), json!({"boot_id": "other"}), "another boot"),
        (json!({}), json!({"dir": other}), "another run's"),
        (json!({"dir": other}), json!({}), "another run's"),
        // A trainer of an older program that has this run's files open, and a process that the lock does not name.
        (
            json!({"dir": null, "pid_start": null}),
            json!({"dir": null, "pid_start": null, "boot_id": ""}),
            "",
        ),
        (
            json!({"pid": 1, "dir": null}),
            json!({"pid": 1, "dir": null}),
            "older program",
        ),
        (
            json!({}),
            json!({"type": "lagged", "missed": 1}),
            "does not identify itself",
        ),
    ] {
        foreign.lock(&socket, lock.clone());
        let server = serve(&socket, &foreign.hello(hello.clone()));
        let (code, out, err) = place.ctl("foreign", &["stop"]);
        let said = server.join().unwrap();
        match why {
            "" => assert!(
                code == 0 && said.contains("stop"),
                "{lock} {hello}: {out}{err}"
            ),
            why => {
                assert!(code == 2 && err.contains(why), "{lock} {hello}: {err}");
                assert!(
                    err.contains("was not sent") && said.is_empty(),
                    "{err}{said}"
                );
            }
        }
    }
}

#[test]
fn an_address_that_is_not_a_socket_is_refused_at_once() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let at = |name: &str| place.path().join(name);
    let _listener = UnixListener::bind(at("real")).unwrap();
    std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (socket, why) in [
        (at("link"), "is a link"),
        (at("fifo"), "is not a socket"),
        ("/dev/zero".into(), "is not a socket"),
        (at("none"), "cannot be found"),
        ("real".into(), "is not an absolute path"),
        ("".into(), "is not an absolute path"),
    ] {
        foreign.lock(&socket, json!({}));
        let begin = std::time::Instant::now();
        let (code, _, err) = place.ctl("foreign", &["stop"]);
        assert!(
            code == 2 && err.contains(why),
            "{}: {err}",
            socket.display()
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

/// A server that does not accept connections, like a stopped process or a hostile one: `ctl` does not wait forever.
#[test]
fn a_server_that_never_answers_is_given_up() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let socket = place.path().join("full");
    let listener = UnixListener::bind(&socket).unwrap();
    // SAFETY: listen takes plain numbers; the descriptor is the listener's.
    unsafe { libc::listen(listener.as_raw_fd(), 0) };
    let mut open = Vec::new();
    for _ in 0..2 {
        let socket = socket.clone();
        open.push(std::thread::spawn(move || UnixStream::connect(socket)));
    }
    std::thread::sleep(Duration::from_millis(200));
    foreign.lock(&socket, json!({}));
    let output = place.run(&["ctl", "foreign", "stop", "--timeout", "0.5"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("cannot connect to process"), "{err}");
    drop(listener);
    for waiting in open {
        let _ = waiting.join();
    }
}

/// Runs the calls of a dashboard's feed on a thread, so that a call that never returns fails the test instead of hanging it.
struct Watched {
    work: Sender<Work>,
    done: Receiver<()>,
    _feed: JoinHandle<()>,
}

type Work = Box<dyn FnOnce(&mut AttachFeed, &mut RunState) + Send>;

impl Watched {
    fn connect(dir: &Path) -> Self {
        let (work, orders) = channel::<Work>();
        let (tell, done) = channel();
        let dir = RunDir::at(dir);
        let feed = std::thread::spawn(move || {
            let (mut feed, mut state) = AttachFeed::connect(&dir, false).unwrap();
            for order in orders {
                order(&mut feed, &mut state);
                tell.send(()).unwrap();
            }
        });
        Self {
            work,
            done,
            _feed: feed,
        }
    }

    /// Calls a function with the feed, with a time limit below the 10 s that a greeting or a write may take.
    #[track_caller]
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AttachFeed, &mut RunState) -> T + Send + 'static,
    ) -> T {
        let (tell, result) = channel();
        let order: Work = Box::new(move |feed, state| tell.send(work(feed, state)).unwrap());
        self.work.send(order).unwrap();
        let done = self.done.recv_timeout(Duration::from_secs(5));
        done.expect("the feed's call returns");
        result.recv().unwrap()
    }

    #[track_caller]
    fn drain(&self) {
        assert!(self.with(|feed, state| feed.drain(state)).unwrap());
    }
}

/// The process accepts the connection but is too busy to greet: the dashboard draws and takes keys meanwhile.
#[test]
fn a_dashboard_connects_without_waiting_for_the_server() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let socket = place.path().join("slow");
    foreign.lock(&socket, json!({}));
    let hello = format!("{}\n", foreign.hello(json!({})));
    let listener = UnixListener::bind(&socket).unwrap();
    let greeting = hello.clone();
    let first = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(greeting.as_bytes()).unwrap();
        (listener, stream)
    });
    let desk = Watched::connect(&foreign.dir);
    desk.drain();
    let (listener, stream) = first.join().unwrap();
    drop(stream);
    listener.set_nonblocking(true).unwrap();
    let mut second = wait("another connection", || {
        desk.drain();
        listener.accept().ok().map(|(stream, _)| stream)
    });
    for _ in 0..50 {
        desk.drain();
        let refused = desk.with(|feed, _| feed.send(Command::Pause)).unwrap_err();
        assert!(refused.contains("not connected"), "{refused}");
        assert!(desk.with(|feed, _| feed.read_only()));
    }
    second.write_all(hello.as_bytes()).unwrap();
    wait("the command's way out", || {
        desk.drain();
        desk.with(|feed, _| feed.send(Command::Pause)).ok()
    });
    let mut lines = BufReader::new(second).lines();
    let mut said = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(said()["type"], "subscribe");
    assert_eq!(said()["command"]["name"], "pause");
}

/// The process greets and then reads nothing: commands fill the socket, and no key waits for it.
#[test]
fn a_server_that_reads_nothing_holds_up_no_key() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let socket = place.path().join("deaf");
    foreign.lock(&socket, json!({}));
    let hello = format!("{}\n", foreign.hello(json!({})));
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(hello.as_bytes()).unwrap();
        (listener, stream)
    });
    let desk = Watched::connect(&foreign.dir);
    let _deaf = server.join().unwrap();
    let mut sent = 0;
    let refused = loop {
        desk.drain();
        let checkpoint = "x".repeat(500);
        match desk.with(|feed, _| feed.send(Command::Rollback { checkpoint })) {
            Ok(_) => sent += 1,
            Err(why) => break why,
        }
        assert!(sent < 100_000, "no socket holds as much");
    };
    assert!(refused.contains("reads no commands"), "{refused}");
    // Every command that was sent gets an answer that its result is unknown.
    let answers = desk.with(|feed, _| feed.answers());
    assert_eq!(answers.len(), sent);
    assert!(answers.iter().all(|a| !a.applied));
    (0..50).for_each(|_| desk.drain());
}

#[test]
fn another_machines_clock_that_is_ahead_is_reported_with_the_way_out() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "far"]);
    let lock = place.run_dir("far").join("lock");
    let said =
        json!({"pid": 7, "host": "faraway", "boot_id": "other", "socket": null, "started": ""});
    std::fs::write(&lock, said.to_string()).unwrap();
    let file = File::options().write(true).open(&lock).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3700))
        .unwrap();
    for args in [&["ctl", "far", "status"][..], &["train", "--resume", "far"]] {
        let output = place.run(args);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        for part in [
            "process 7 on host faraway",
            "61 min in the future",
            "compare `date`",
            "remove ",
        ] {
            assert!(err.contains(part), "{args:?}: {err}");
        }
    }
    // The advice works.
    let command = {
        let (_, err) = texts(&place.run(&["train", "--resume", "far"]));
        err.rsplit_once("then remove ")
            .unwrap()
            .1
            .trim()
            .to_string()
    };
    std::fs::remove_file(place.path().join(command)).unwrap();
    let (_, err) = texts(&place.run(&["train", "--resume", "far"]));
    assert!(err.contains("run far is done"), "{err}");
}

/// A socket of another user is refused. Only root can listen as another user.
#[test]
#[ignore = "needs root, to listen as another user: cargo test -- --ignored _another_user"]
fn a_server_of_another_user_is_refused() {
    let place = Place::new();
    let foreign = Foreign::new(&place);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.path(), open).unwrap();
    let socket = place.path().join("theirs");
    let bound = {
        let socket = socket.clone();
        // Credentials belong to threads, and the kernel keeps those of the listening thread.
        std::thread::spawn(move || {
            // SAFETY: the raw system call changes this thread's user only.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(changed, 0);
            UnixListener::bind(socket).unwrap()
        })
    };
    let listener = bound.join().unwrap();
    let hello = format!("{}\n", foreign.hello(json!({})));
    // The file belongs to root again: the credentials that the kernel reports decide.
    std::os::unix::fs::chown(&socket, Some(0), Some(0)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(hello.as_bytes());
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        said
    });
    foreign.lock(&socket, json!({}));
    let (code, _, err) = place.ctl("foreign", &["stop"]);
    assert!(code == 2 && err.contains("belongs to user 65534"), "{err}");
    assert_eq!(server.join().unwrap(), "");
}
