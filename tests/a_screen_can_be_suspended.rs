//! Ctrl-Z in an interactive shell returns to the shell, training continues, and `fg` shows the complete screen again.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use std::path::Path;
use std::time::Duration;

use common::pty::Pty;
use common::{Place, is_alive, signal, wait};
use journal::Moment;
use nix::sys::signal::Signal;

const PROMPT: &str = "READY> ";
const CTRL_Z: &str = "\x1a";
/// A round that does not end during a test.
const LONG: &str = "heirloom train mini.toml --name mine --set train.steps=1000000";
/// A run of the reference and one round, which ends within seconds.
const SHORT: &str = "heirloom train mini.toml --name mine --set control.random=false --set control.reference_continued=false \
                     --set grow.step=4 --set train.steps=80 --set policy.mode=auto";

/// An interactive bash in a terminal, which can start the program by its name.
struct Shell {
    pty: Pty,
}

impl Shell {
    fn start(place: &Place, columns: u16, rows: u16) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_heirloom"));
        let rest = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{rest}", program.parent().unwrap().display());
        let env = [
            ("PS1", PROMPT),
            ("PATH", &path),
            ("HISTFILE", ""),
            ("INPUTRC", "/dev/null"),
        ];
        let args = ["--norc", "--noprofile", "-i"];
        let size = (columns, rows);
        let pty = Pty::start_program(Path::new("/bin/bash"), place, &args, size, &env);
        let shell = Self { pty };
        shell.prompt();
        shell
    }

    /// Waits for the prompt on the shell's own screen.
    #[track_caller]
    fn prompt(&self) -> String {
        self.pty.gives_the_screen_back();
        self.pty.see_that("the prompt", |text| {
            text.lines()
                .last()
                .is_some_and(|line| line.trim() == PROMPT.trim())
        })
    }

    fn enter(&mut self, line: &str) {
        self.pty.press(&format!("{line}\r"));
    }

    /// Runs a command that ends at once, and returns what the screen shows then.
    #[track_caller]
    fn run(&mut self, line: &str) -> String {
        self.enter(line);
        self.pty.see_that("the command", |text| text.contains(line));
        self.prompt()
    }

    /// Waits until the program has the alternate screen and shows `wanted`.
    #[track_caller]
    fn full_screen(&self, wanted: &str) -> String {
        wait("the full screen", || {
            self.pty.is_full_screen().then_some(())
        });
        self.pty.see(wanted)
    }

    /// Waits until the screen does not change any more, and returns it.
    #[track_caller]
    fn settled(&self) -> String {
        let mut seen = self.pty.text();
        wait("a screen that stands still", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.pty.text();
            (std::mem::replace(&mut seen, now.clone()) == now).then_some(now)
        })
    }

    /// Presses Ctrl-Z, and checks that the shell returns in a terminal that it can use.
    #[track_caller]
    fn suspend(&mut self) {
        self.pty.press(CTRL_Z);
        let text = self.prompt();
        assert!(text.contains("Stopped"), "{text}");
        let text = self.run("echo sum=$((40+2))");
        assert!(text.contains("\nsum=42"), "{text}");
    }

    #[track_caller]
    fn back(&mut self, wanted: &str) -> String {
        self.enter("fg");
        self.full_screen(wanted)
    }

    /// Returns the process that the shell waits for.
    fn job(&self) -> u32 {
        let shell = self.pty.pid();
        let path = format!("/proc/{shell}/task/{shell}/children");
        wait("the job", || {
            let children = std::fs::read_to_string(&path).unwrap();
            children.split_whitespace().next()?.parse().ok()
        })
    }
}

/// Returns a process's state by the kernel's letter: T is stopped, Z has ended.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    rest.trim_start().chars().next().unwrap_or('X')
}

#[track_caller]
fn is_in_state(pid: u32, wanted: char) {
    wait(&format!("process {pid} in state {wanted}"), || {
        (state(pid) == wanted).then_some(())
    });
}

/// The training process, which is killed at the end of the test.
struct Trainer(u32);

impl Trainer {
    fn of(place: &Place) -> Self {
        wait("the lock", || {
            place.run_dir("mine").join("lock").exists().then_some(())
        });
        let pid = wait("the lock's process", || {
            let text = std::fs::read_to_string(place.run_dir("mine").join("lock")).ok()?;
            let lock: serde_json::Value = serde_json::from_str(&text).ok()?;
            lock["pid"].as_u64()
        });
        Self(u32::try_from(pid).unwrap())
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        if is_alive(self.0) {
            signal(self.0, Signal::SIGKILL);
        }
    }
}

/// Returns the step of the latest event within its phase, as on the screen.
fn step(place: &Place) -> u64 {
    place
        .events("mine")
        .last()
        .and_then(|e| e["phase_step"].as_u64())
        .unwrap_or(0)
}

#[track_caller]
fn trains_on(place: &Place) {
    let before = step(place);
    wait("more steps", || (step(place) >= before + 10).then_some(()));
}

/// Returns the number of `log` events whose message is `what`.
fn said(place: &Place, what: &str) -> usize {
    let events = place.events("mine");
    let log = events.iter().filter(|e| e["kind"] == "log");
    log.filter(|e| e["message"] == what).count()
}

/// Waits until the messages of `times` events of the journal contain `what`.
#[track_caller]
fn is_said(place: &Place, what: &str, times: usize) {
    wait(&format!("{times} times {what:?}"), || {
        let events = place.events("mine");
        let lines = events.iter().filter_map(|e| e["message"].as_str());
        let found = lines.filter(|line| line.contains(what)).count();
        assert!(found <= times, "{found} times {what:?}");
        (found == times).then_some(())
    });
}

/// Makes a place with the fixture's run.
fn place_with_run() -> Place {
    let place = Place::new();
    let dir = place.run_dir(journal::NAME);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("events.jsonl"), journal::journal(Moment::Deciding)).unwrap();
    std::fs::write(dir.join("config.toml"), "").unwrap();
    place
}

#[test]
fn a_view_stops_and_comes_back_as_it_would_be_drawn_now() {
    let place = place_with_run();
    let run = format!("runs/{}", journal::NAME);
    let replay = format!("replay {run} --at 70000 --paused");
    let views = [
        (format!("watch {run}"), "/100,000"),
        (replay.clone(), "/100,000"),
        (String::new(), "runs in runs"),
    ];
    for (view, wanted) in &views {
        let mut shell = Shell::start(&place, 80, 24);
        shell.enter(&format!("heirloom {view}"));
        shell.full_screen(wanted);
        shell.pty.see_that("all of it", |s| !s.contains("LOADING"));
        shell.suspend();
        assert_eq!(state(shell.job()), 'T', "{view}");
        shell.pty.resize(100, 30);
        shell.back(wanted);
        // The screen of a new start in this window.
        let args: Vec<&str> = view.split_whitespace().collect();
        let fresh = Pty::start(&place, &args, 100, 30);
        fresh.see(wanted);
        let same = |text: &str| text == fresh.text();
        shell
            .pty
            .see_that(&format!("{view}: what a start shows"), same);
        shell.pty.press("q");
        let text = shell.prompt();
        assert!(!text.contains(wanted), "{text}");
    }

    // After a stop and a continuation from outside, the modes and every cell are set again.
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter(&format!("heirloom {replay}"));
    shell.full_screen("/100,000");
    let seen = shell.settled();
    signal(shell.job(), Signal::SIGSTOP);
    shell.pty.see("Stopped");
    shell.back("/100,000");
    shell.pty.see_that("the picture", |text| text == seen);
    // A request from outside has the effect of the key, also in a prompt.
    shell.pty.press(":");
    shell.pty.see(" command ");
    signal(shell.job(), Signal::SIGTSTP);
    shell.prompt();
    // In the background it neither draws nor reads, and does not stop.
    shell.run("bg");
    is_in_state(shell.job(), 'S');
    let text = shell.run("echo sum=$((40+2))");
    assert!(
        text.contains("\nsum=42") && !shell.pty.is_full_screen(),
        "{text}"
    );
    shell.back(" command ");
    signal(shell.job(), Signal::SIGTERM);
    shell.prompt();
}

#[test]
fn a_script_around_it_stops_too() {
    let place = place_with_run();
    let mut shell = Shell::start(&place, 80, 24);
    let run = journal::NAME;
    shell.enter(&format!(
        "bash -c 'heirloom watch runs/{run}; echo code=$?'"
    ));
    shell.full_screen("/100,000");
    shell.suspend();
    assert_eq!(state(shell.job()), 'T');
    shell.back("/100,000");
    shell.pty.press("q");
    let text = shell.prompt();
    assert!(text.contains("\ncode=0"), "{text}");
}

#[test]
fn without_a_shell_the_screen_stays() {
    let place = place_with_run();
    let mut pty = Pty::start(
        &place,
        &["watch", &format!("runs/{}", journal::NAME)],
        80,
        24,
    );
    pty.see("/100,000");
    pty.press(CTRL_Z);
    pty.see("cannot suspend: no shell with job control");
    assert!(pty.is_full_screen());
    assert_ne!(state(pty.pid()), 'T');
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);

    let mut home = Pty::start(&place, &[], 80, 24);
    home.see("runs in runs");
    home.press(CTRL_Z);
    home.see("cannot suspend: no shell with job control");
    // Ctrl-L draws every cell again.
    let written = home.written().len();
    home.press("\x0c");
    wait("a screen that is drawn again", || {
        let written = &home.written()[written..];
        let clears = written.windows(4).any(|w| w == b"\x1b[2J");
        (clears && written.len() > 1000).then_some(())
    });
    assert!(home.text().contains("runs in runs"));
}

#[test]
fn attach_stops_and_the_run_does_not() {
    let place = Place::new();
    let run = place.in_background("mine", &["--set", "train.steps=1000000"], "");
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter("heirloom attach mine");
    shell.full_screen("round 1");
    shell.suspend();
    assert_eq!(state(shell.job()), 'T');
    trains_on(&place);
    // A screen that cannot answer has no control, and the run is unattended.
    is_said(&place, " has left; control is free", 1);
    let before = step(&place);
    shell.back("round 1");
    let shown = shown_step(&shell);
    assert!(shown >= before, "{shown} < {before}:\n{}", shell.pty.text());
    is_said(&place, "control taken by ", 2);
    shell.pty.press("q");
    shell.prompt();

    // The same with plain lines.
    shell.enter("heirloom attach mine --plain");
    is_said(&place, "control taken by ", 3);
    shell.pty.press(CTRL_Z);
    shell.pty.see("Stopped");
    is_said(&place, " has left; control is free", 3);
    is_in_state(shell.job(), 'T');
    shell.enter("fg");
    is_said(&place, "control taken by ", 4);
    shell.pty.press("note here again\r");
    place.wait_event("mine", "the note", |e| e.to_string().contains("here again"));
    drop(run);
}

/// A plain terminal in the background reads nothing, so that it does not count as attended.
#[test]
fn plain_lines_in_the_background_leave_the_run_unattended() {
    let place = Place::new();
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter(&format!("{LONG} --plain &"));
    let _trainer = Trainer::of(&place);
    is_said(
        &place,
        "no commands are read from the terminal in the background",
        1,
    );
    // Another terminal has control at once.
    let attached = Pty::start(&place, &["attach", "mine"], 80, 24);
    is_said(&place, "control taken by ", 1);
    drop(attached);
    shell.enter("fg");
    is_said(&place, "commands are read from the terminal again", 1);
    shell.pty.press("note here again\r");
    place.wait_event("mine", "the note", |e| e.to_string().contains("here again"));
}

#[test]
fn a_signal_after_the_terminal_was_lost_ends_the_training() {
    let place = Place::new();
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter(&format!("{LONG} &"));
    let trainer = Trainer::of(&place);
    trains_on(&place);
    shell.enter("exit");
    let pid = shell.pty.pid();
    wait("the shell's end", || (!is_alive(pid)).then_some(()));
    shell.pty.hang_up();
    is_said(&place, "the terminal is gone", 1);
    // A SIGTERM within a second may come from the shell.
    std::thread::sleep(Duration::from_millis(1100));
    signal(trainer.0, Signal::SIGTERM);
    wait("the trainer's end", || (!is_alive(trainer.0)).then_some(()));
    assert_eq!(place.show("mine")["state"], "interrupted");
    is_said(&place, "SIGTERM received", 1);
}

/// Returns the step of the round on the screen, once it is shown.
#[track_caller]
fn shown_step(shell: &Shell) -> u64 {
    wait("a step on the screen", || {
        let text = shell.pty.text();
        let (_, rest) = text.split_once("step ")?;
        let digits: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .filter(|c| *c != ',')
            .collect();
        digits.parse().ok()
    })
}

#[test]
fn training_continues_unseen_and_comes_back_with_newer_steps() {
    let place = Place::new();
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter(LONG);
    shell.full_screen("round 1");
    let (job, trainer) = (shell.job(), Trainer::of(&place));
    assert_ne!(job, trainer.0);

    shell.suspend();
    assert_eq!(state(job), 'T', "the process that the shell waits for");
    trains_on(&place);
    assert_ne!(state(trainer.0), 'T', "the process that trains");
    // A suspended screen is not asked questions.
    assert_eq!(said(&place, "the dashboard is suspended"), 1);
    assert!(!shell.pty.is_full_screen());
    let before = step(&place);
    shell.back("round 1");
    let shown = shown_step(&shell);
    assert!(shown >= before, "{shown} < {before}:\n{}", shell.pty.text());
    is_in_state(job, 'S');
    wait("the news", || {
        (said(&place, "the dashboard is back") == 1).then_some(())
    });

    // In the background, the process stays without a screen.
    shell.suspend();
    shell.run("bg");
    is_in_state(job, 'S');
    trains_on(&place);
    assert!(!shell.pty.is_full_screen());
    let text = shell.run("echo sum=$((20+3))");
    assert!(text.contains("\nsum=23"), "{text}");
    shell.back("round 1");

    // The process that draws is stopped and continued from outside.
    signal(trainer.0, Signal::SIGSTOP);
    is_in_state(trainer.0, 'T');
    let written = shell.pty.written().len();
    signal(trainer.0, Signal::SIGCONT);
    wait("a whole picture", || {
        let written = &shell.pty.written()[written..];
        let clears = written.windows(4).any(|w| w == b"\x1b[2J");
        (clears && written.len() > 2000).then_some(())
    });
    trains_on(&place);

    // SIGTSTP to either process has the effect of the key.
    for pid in [job, trainer.0] {
        signal(pid, Signal::SIGTSTP);
        shell.prompt();
        is_in_state(job, 'T');
        trains_on(&place);
        shell.back("round 1");
    }

    // A stop while the screen is suspended.
    shell.suspend();
    signal(trainer.0, Signal::SIGTERM);
    is_in_state(trainer.0, 'Z');
    assert_eq!(place.show("mine")["state"], "interrupted");
    assert_eq!(state(job), 'T');
    shell.enter("fg; echo code=$?");
    let text = shell.pty.see("\ncode=75");
    assert!(
        text.contains("run mine stopped; resume: heirloom train --resume"),
        "{text}"
    );
    assert!(!shell.pty.is_full_screen());
}

#[test]
fn a_run_that_ends_unseen_reports_after_fg() {
    let place = Place::new();
    let mut shell = Shell::start(&place, 100, 50);
    // Training in a script.
    shell.enter(&format!("bash -c '{SHORT}; echo code=$?'"));
    shell.full_screen("reference");
    let trainer = Trainer::of(&place);
    shell.suspend();
    is_in_state(trainer.0, 'Z');
    assert_eq!(place.show("mine")["state"], "done");
    let text = shell.prompt();
    assert!(!text.contains("outcome"), "{text}");
    shell.enter("fg");
    let text = shell.pty.see("\ncode=0");
    assert!(text.contains("outcome"), "{text}");
    shell.prompt();
}

#[test]
fn a_terminal_that_is_closed_meanwhile_does_not_end_the_training() {
    let place = Place::new();
    let mut shell = Shell::start(&place, 80, 24);
    shell.enter(SHORT);
    shell.full_screen("reference");
    let (job, trainer) = (shell.job(), Trainer::of(&place));
    shell.suspend();
    shell.pty.hang_up();
    wait("the end of the shell's process", || {
        (!is_alive(job)).then_some(())
    });
    wait("the run's end", || {
        assert_eq!(said(&place, "SIGTERM received: checkpoint and stop"), 0);
        let events = place.events("mine");
        events.iter().any(|e| e["kind"] == "done").then_some(())
    });
    wait("the trainer's end", || (!is_alive(trainer.0)).then_some(()));
    assert_eq!(said(&place, "the terminal is gone"), 1);
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn a_start_and_a_run_in_the_background_can_be_looked_at_later() {
    let place = Place::new();
    let document = "There is no frigate like a book to take us lands away. ".repeat(40);
    let text = format!("{document}<|endoftext|>").repeat(24_000);
    std::fs::write(place.path().join("long.txt"), text).unwrap();
    let mut shell = Shell::start(&place, 100, 30);
    let start = "heirloom train mini.toml --set data.train=long.txt --set data.tokenizer=gpt2";
    shell.enter(start);
    shell.full_screen("STARTING");
    shell.suspend();
    let job = shell.job();
    assert_eq!(state(job), 'T');
    shell.back("STARTING");
    shell.suspend();
    // A signal to the complete job while it is stopped.
    shell.enter("kill %1; wait -f %1; echo code=$?");
    let text = shell.pty.see("\ncode=75");
    assert!(
        text.contains("SIGTERM received before the training began"),
        "{text}"
    );
    assert!(!place.path().join("runs").exists());

    shell.enter(&format!("{LONG} &"));
    shell.prompt();
    let trainer = Trainer::of(&place);
    trains_on(&place);
    assert!(!shell.pty.is_full_screen());
    shell.back("round 1");
    signal(trainer.0, Signal::SIGTERM);
    shell.prompt();
}
