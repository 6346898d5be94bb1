//! The warning signals of batch systems (SLURM's `--signal`, submitit, SGE's `-notify`, LSF, limits of CPU time) stop the run with
//! a checkpoint, whichever of the two processes receives them, and however often.

mod common;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::pty::Pty;
use common::{Background, PATIENCE, Place, is_alive, put_tokenizers, signal, texts, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const WARNINGS: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXCPU];
/// A run that neither ends nor writes a checkpoint until it is asked to.
const LONG: [&str; 8] = [
    "train",
    "mini.toml",
    "--name",
    "mine",
    "--set",
    "reference.train.steps=1000000",
    "--set",
    "checkpoint.every=0",
];
/// Makes a checkpoint take 1.5 s, so that signals come while it is written.
const SLOW: &str = "rename:1500";
/// Time for which a signal is repeated: longer than the least time between two stops, shorter than the checkpoint takes.
const BURST: Duration = Duration::from_millis(1000);

fn long(place: &Place) -> std::process::Command {
    let mut command = place.heirloom(&LONG);
    command.env("HEIRLOOM_FAULT", SLOW);
    command
}

/// Sends a signal repeatedly: a warning for a second, a SIGTERM as often as a kill of process and group does.
fn burst(stop: Signal, send: impl Fn(Signal)) {
    let begin = Instant::now();
    let (pause, most) = match stop {
        Signal::SIGTERM => (Duration::from_millis(10), 4),
        _ => (Duration::from_millis(50), 20),
    };
    for _ in 0..most {
        if begin.elapsed() < BURST {
            send(stop);
            std::thread::sleep(pause);
        }
    }
}

fn training(place: &Place) {
    place.wait_event("mine", "training", |e| {
        e["kind"] == "train" && e["step"].as_u64() > Some(20)
    });
}

/// Checks that the run was stopped once, by this signal, with a checkpoint of the last step.
#[track_caller]
fn is_stopped(place: &Place, code: u32, stop: Signal) {
    assert_eq!(code, 75, "{stop}");
    assert_eq!(place.show("mine")["state"], "interrupted", "{stop}");
    let events = place.events("mine");
    let of_kind = |kind: &'static str| events.iter().filter(move |e| e["kind"] == kind);
    let checkpoints: Vec<_> = of_kind("checkpoint").collect();
    assert_eq!(checkpoints.len(), 1, "{stop}: {checkpoints:?}");
    assert_eq!(checkpoints[0]["reason"], "signal", "{stop}");
    assert_eq!(checkpoints[0]["of_step"], events.last().unwrap()["step"]);
    let wanted = format!("{stop} received: checkpoint and stop");
    let said = of_kind("log").filter(|e| e["message"] == wanted.as_str());
    assert_eq!(said.count(), 1, "{stop}: said once in the journal");
}

fn end(child: &mut Child) -> u32 {
    let code = wait("the end", || child.try_wait().unwrap()).code();
    code.map_or(999, |code| code.cast_unsigned())
}

/// Returns the id of the training process from the lock.
fn trainer(place: &Place) -> u32 {
    u32::try_from(place.lock("mine")["pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn without_a_terminal_each_signal_is_one_stop() {
    for stop in WARNINGS.into_iter().chain([Signal::SIGTERM]) {
        let place = Place::new();
        let mut child = long(&place).stdout(Stdio::null()).spawn().unwrap();
        let _guard = Background(child.id());
        training(&place);
        burst(stop, |s| signal(child.id(), s));
        is_stopped(&place, end(&mut child), stop);
    }
}

/// Sends each signal to the process or group that `target` returns, for a training at a terminal.
fn at_a_terminal(target: impl Fn(&Place, &Pty) -> Pid) {
    for stop in WARNINGS.into_iter().chain([Signal::SIGTERM]) {
        let place = Place::new();
        let mut pty = Pty::start_with(&place, &LONG, 80, 24, &[("HEIRLOOM_FAULT", SLOW)]);
        training(&place);
        let _guard = Background(trainer(&place));
        assert_ne!(trainer(&place), pty.pid(), "a parent waits");
        let target = target(&place, &pty);
        burst(stop, |s| kill(target, s).unwrap());
        is_stopped(&place, pty.exit_code(), stop);
        pty.gives_the_screen_back();
    }
}

#[test]
fn at_a_terminal_the_waiting_parent_passes_each_signal_on() {
    at_a_terminal(|_, pty| Pid::from_raw(pty.pid().cast_signed()));
}

#[test]
fn at_a_terminal_the_training_process_may_get_them_alone() {
    at_a_terminal(|place, _| Pid::from_raw(trainer(place).cast_signed()));
}

#[test]
fn at_a_terminal_both_processes_may_get_them_together() {
    // The parent leads the terminal's session, and both processes are in its group.
    at_a_terminal(|_, pty| Pid::from_raw(-pty.pid().cast_signed()));
}

#[test]
fn in_the_background_the_training_process_gets_them() {
    let place = Place::new();
    let mut args = LONG.to_vec();
    args.insert(1, "-d");
    let mut command = place.heirloom(&args);
    let output = command.env("HEIRLOOM_FAULT", SLOW).output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let pid = trainer(&place);
    let _guard = Background(pid);
    training(&place);
    burst(Signal::SIGUSR1, |s| {
        // A failure is ignored: the process may have ended.
        let _ = kill(Pid::from_raw(pid.cast_signed()), s);
    });
    wait("the end", || (!is_alive(pid)).then_some(()));
    // The exit code cannot be read here, so the journal is checked.
    is_stopped(&place, 75, Signal::SIGUSR1);
}

/// Returns the child processes of a process.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// Returns settings with a text that takes longer to read than the test waits.
fn endless_text(place: &Place) -> [String; 4] {
    put_tokenizers(place.path());
    std::fs::write(place.path().join("slow.txt"), "a".repeat(400_000)).unwrap();
    let set = || "--set".to_string();
    let text = "data.train=slow.txt".to_string();
    [set(), text, set(), "data.tokenizer=slow.json".into()]
}

#[test]
fn before_training_a_signal_ends_it_without_a_trace() {
    for stop in WARNINGS.into_iter().chain([Signal::SIGTERM]) {
        let place = Place::new();
        let text = endless_text(&place);
        let mut command = long(&place);
        command.args(&text);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let _guard = Background(child.id());
        // Waits until the text is being read.
        wait("the reading", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).ok()?;
            (tasks.count() > 1).then_some(())
        });
        std::thread::sleep(Duration::from_millis(200));
        burst(stop, |s| {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), s);
        });
        let output = child.wait_with_output().unwrap();
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(75), "{stop}: {err}");
        assert!(
            err.contains(&format!("{stop} received before the training began")),
            "{err}"
        );
        assert!(!place.run_dir("mine").exists(), "{stop}");
    }
}

#[test]
fn a_signal_at_the_very_start_waits_for_the_child() {
    for stop in WARNINGS.into_iter().chain([Signal::SIGTERM]) {
        let place = Place::new();
        let text = endless_text(&place);
        let mut args = LONG.to_vec();
        args.extend(text.iter().map(String::as_str));
        let mut pty = Pty::start(&place, &args, 80, 24);
        // The signal comes right after the start, before the child handles signals.
        let begin = Instant::now();
        let child = loop {
            if let Some(child) = children(pty.pid()).pop() {
                break child;
            }
            assert!(begin.elapsed() < PATIENCE, "no child");
        };
        let _guard = Background(child);
        signal(pty.pid(), stop);
        assert_eq!(pty.exit_code(), 75, "{stop}:\n{}", pty.text());
        assert!(!place.run_dir("mine").exists(), "{stop}");
    }
}

#[test]
fn a_batch_shell_that_becomes_the_program_or_passes_the_signal_on() {
    let program = env!("CARGO_BIN_EXE_heirloom");
    let train = format!("{program} {}", LONG.join(" "));
    let passes_on = format!(
        "{train} & pid=$!; trap 'kill -USR1 $pid' USR1; wait $pid; \
         while kill -0 $pid 2>/dev/null; do wait $pid; done; wait $pid"
    );
    for script in [format!("exec {train}"), passes_on] {
        let place = Place::new();
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", &script]).current_dir(place.path());
        shell.env("HEIRLOOM_FAULT", SLOW).stdin(Stdio::null());
        let mut shell = shell.stdout(Stdio::null()).spawn().unwrap();
        training(&place);
        let _guard = Background(trainer(&place));
        // `sbatch --signal=B:USR1@60` signals the shell alone.
        burst(Signal::SIGUSR1, |s| signal(shell.id(), s));
        is_stopped(&place, end(&mut shell), Signal::SIGUSR1);
    }
}

#[test]
fn a_person_still_ends_it_at_once_after_a_warning() {
    let place = Place::new();
    let mut command = place.heirloom(&LONG);
    command.env("HEIRLOOM_FAULT", "rename:60000");
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let _guard = Background(child.id());
    training(&place);
    signal(child.id(), Signal::SIGUSR1);
    place.wait_event("mine", "the checkpoint's beginning", |e| {
        e["kind"] == "checkpointing"
    });
    // The first SIGTERM after a warning does not count as a second stop.
    for stop in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGUSR2] {
        std::thread::sleep(Duration::from_millis(700));
        signal(child.id(), stop);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it writes");
    signal(child.id(), Signal::SIGTERM);
    assert_eq!(end(&mut child), 130);
}
