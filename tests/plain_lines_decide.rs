//! Plain lines show the progress of training and the answers to a decision; at a terminal they also read the answer.

mod common;

use std::path::Path;
use std::process::Stdio;

use common::pty::Pty;
use common::{Place, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A training that asks for decisions.
const ASK: [&str; 6] = [
    "train",
    "mini.toml",
    "--name",
    "mine",
    "--set",
    "policy.mode=ask",
];

/// Returns the output of a program in a terminal so far.
fn written(pty: &Pty) -> String {
    String::from_utf8_lossy(&pty.written()).replace("\r\n", "\n")
}

/// Waits until `wanted` occurs in the output after the first `from` characters. Returns the offset of its end.
#[track_caller]
fn see(pty: &Pty, from: usize, wanted: &str) -> usize {
    let begin = std::time::Instant::now();
    loop {
        let all = written(pty);
        if let Some(at) = all[from..].find(wanted) {
            return from + at + wanted.len();
        }
        assert!(
            begin.elapsed() < common::PATIENCE,
            "never saw {wanted:?} in\n{}",
            &all[from..]
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Types a line and waits for the answer. Returns the offset of its end.
#[track_caller]
fn ask(pty: &mut Pty, line: &str, answer: &str) -> usize {
    let from = written(pty).len();
    pty.press(&format!("{line}\n"));
    see(pty, from, answer)
}

/// Splits a line into time, place and text, and checks their forms.
#[track_caller]
fn parts(line: &str) -> (&str, &str, &str) {
    let form = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let stamp = line.get(..19).unwrap_or_else(|| panic!("{line:?}"));
    let shape: String = stamp.chars().map(form).collect();
    assert_eq!(shape, "0000-00-00 00:00:00", "{line}");
    let rest = line[19..].strip_prefix("  ").unwrap();
    let (place, text) = rest.split_once("  ").unwrap();
    (stamp, place, text.trim_start())
}

/// Whether a place is like `round-1 step 90/300`.
fn is_place(place: &str) -> bool {
    let words: Vec<&str> = place.split(' ').collect();
    let [_, "step", steps] = words[..] else {
        return false;
    };
    let numbers = steps.split_once('/');
    numbers.is_some_and(|(a, b)| a.parse::<u64>().is_ok() && b.parse::<u64>().is_ok())
}

fn kinds(place: &Place, kind: &str) -> Vec<Value> {
    let events = place.events("mine").into_iter();
    events.filter(|e| e["kind"] == kind).collect()
}

#[test]
fn a_plain_terminal_takes_the_answer() {
    let place = Place::new();
    let mut pty = Pty::start_with(&place, &ASK, 80, 24, &[("ACCESSIBLE", "1")]);
    let paused = see(&pty, 0, "paused: 20 steps over budget\n");
    let all = written(&pty);
    let offer = "decision of round 1 (end of steps): grow suggested: ";
    let offered = all.find(offer).unwrap();
    assert_eq!(
        all.matches(offer).count(),
        2,
        "at the end, and at the pause"
    );
    let choices: Vec<&str> = all[offered..].lines().skip(1).take(5).collect();
    assert!(choices[0].starts_with("  1 grow by 1 layer (restart): 1 to 2 layers, "));
    assert!(choices[1].starts_with("  2 train on for 10 steps: 1 layer, "));
    assert!(choices[2].starts_with("  3 stop growing: the present model of 1 layer is the result"));
    assert_eq!(choices[3], "  4 decide later");
    assert!(choices[4].starts_with("Number, or a command such as"));
    assert!(!all.contains("heirloom ctl mine grow"), "numbers do");
    assert!(!all.contains("D to decide") && all[paused..].starts_with("  resume: continue"));

    ask(
        &mut pty,
        "7",
        "7 is not one of the choices: give a number from 1 to 4\n",
    );
    ask(
        &mut pty,
        "?",
        "  grow N [restart|keep]: end the round and grow by N layers\n",
    );
    ask(&mut pty, "status", "\nround 1: 1 layer, step 40 of 20\n");
    ask(
        &mut pty,
        "puase",
        "did you mean pause?; ? lists the commands\n",
    );
    ask(
        &mut pty,
        "note the loss is flat",
        "operator: note: the loss is flat\n",
    );
    // The choices of an answered decision cannot be chosen any more.
    let opened = kinds(&place, "decision").len();
    place.expect(0, &["ctl", "mine", "train-on", "1000000"]);
    see(
        &pty,
        paused,
        "decided by control: train on for 1000000 steps\n",
    );
    ask(
        &mut pty,
        "1",
        "refused: the decision of choice 1 has been closed or replaced\n",
    );
    assert_eq!(kinds(&place, "decision").len(), opened + 1);
    assert_eq!(kinds(&place, "grow").len(), 0);
    // `decide` offers the choices, and a number needs a confirmation.
    ask(&mut pty, "decide", "Number, or a command such as");
    ask(&mut pty, "1", "? y/n\n");
    ask(&mut pty, "n", "cancelled: grow by 1 (restart)\n");
    ask(&mut pty, "1", "1 to 2 layers, ");
    ask(
        &mut pty,
        "y",
        "decided by operator: grow by 1 (restart) (on evidence ",
    );
    let grown = place.wait_event("mine", "the growth", |e| e["kind"] == "grow");
    assert_eq!(grown["to_layers"], 2);
    let command = kinds(&place, "command").pop().unwrap();
    assert_eq!(command["by"], "keyboard");
    let last = kinds(&place, "decision").pop().unwrap();
    assert_eq!(command["command"]["decision"], last["id"]);

    ask(
        &mut pty,
        "quit",
        "heirloom train --resume mine resumes it? y/n\n",
    );
    ask(&mut pty, "y", "operator: checkpoint and quit\n");
    assert_eq!(pty.exit_code(), 3);
    assert!(!pty.written().contains(&0x1b), "no escape codes");
    let show = place.show("mine");
    assert_eq!(show["state"], "interrupted");
    assert_eq!(show["notes"][0]["text"], "the loss is flat");
}

#[test]
fn the_end_of_the_input_ends_the_prompts_alone() {
    let place = Place::new();
    let mut pty = Pty::start_with(&place, &ASK, 80, 24, &[("ACCESSIBLE", "1")]);
    see(&pty, 0, "paused: 20 steps over budget\n");
    // Until Ctrl-D ends the input, this terminal has control.
    let from = written(&pty).len();
    pty.press("\x04");
    let left = see(&pty, from, "no more commands are read from the terminal\n");
    // After the end of input, the lines name commands for another shell.
    see(&pty, from, "heirloom ctl mine grow 1 restart\n");
    see(&pty, from, "heirloom ctl mine resume\n");
    pty.press("3\ny\n");
    place.expect(0, &["ctl", "mine", "grow", "1", "restart"]);
    see(&pty, left, "grow  1 → 2 layers (restart)\n");
    see(
        &pty,
        left,
        "answer: stop growing: the present model of 2 layers",
    );
    place.expect(0, &["ctl", "mine", "stop"]);
    assert_eq!(pty.exit_code(), 0);
    assert!(written(&pty).contains("outcome: stopped - 2 of 4 layers"));
    assert!(
        kinds(&place, "command")
            .iter()
            .all(|c| c["by"] == "control")
    );
}

#[test]
fn a_terminal_that_is_closed_does_not_end_the_training() {
    let place = Place::new();
    let args = [&ASK[..], &["--set", "reference.train.steps=100"]].concat();
    let mut pty = Pty::start_with(&place, &args, 80, 24, &[("TERM", "dumb")]);
    see(&pty, 0, "reference step 5/100  ");
    let pid = place.lock("mine")["pid"].as_u64().unwrap() as u32;
    let _guard = common::Background(pid);
    pty.hang_up();
    let left = place.wait_event("mine", "the log", |e| {
        e["kind"] == "log" && e["phase_step"].as_u64() > Some(4)
    });
    // Either the end of input or the signal is noticed first.
    let seen = [
        "the terminal is gone",
        "no more commands are read from the terminal",
    ];
    assert!(seen.iter().any(|seen| left["message"] == *seen), "{left}");
    place.wait_event("mine", "the round", |e| {
        e["phase"] == "round-1" && e["kind"] == "decision"
    });
    place.expect(0, &["ctl", "mine", "stop"]);
    place.wait_event("mine", "the end", |e| e["kind"] == "done");
}

/// A background job must not be stopped for reading the shell's terminal.
#[test]
fn in_the_background_nothing_is_read_and_nothing_stops() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_heirloom");
    let script = format!(
        "set -m; '{program}' train mini.toml --name mine --set reference.train.steps=100 & read x; echo got $x; wait $!"
    );
    let args = ["-c", &script];
    let env = [("ACCESSIBLE", "1")];
    let mut pty = Pty::start_program(Path::new("/bin/bash"), &place, &args, (80, 24), &env);
    see(&pty, 0, "reference step 5/100  ");
    pty.press("quit\n");
    see(&pty, 0, "got quit\n");
    pty.press("quit\n");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(place.show("mine")["state"], "done");
    assert_eq!(kinds(&place, "command").len(), 0);
}

#[test]
fn a_loss_that_is_no_number_is_asked_about() {
    let place = Place::new();
    let args = [&ASK[..], &["--set", "train.lr=1e30"]].concat();
    let mut pty = Pty::start_with(&place, &args, 80, 24, &[("ACCESSIBLE", "1")]);
    let at = see(
        &pty,
        0,
        "the update was skipped\n  resume: continue with the next batch\n",
    );
    let all = written(&pty);
    let lines: Vec<&str> = all[at..].lines().take(2).collect();
    let name = lines[0].strip_prefix("  rollback ").unwrap();
    let (name, _) = name.split_once(": go back").unwrap();
    assert!(lines[1].starts_with("  set lr "), "{lines:?}");
    // Types each command as it is printed.
    let (set, _) = lines[1].trim().split_once(": ").unwrap();
    ask(&mut pty, set, "  learning rate ");
    ask(
        &mut pty,
        &format!("rollback {name}"),
        "stays in the journal? y/n\n",
    );
    ask(&mut pty, "y", &format!("  rolled back to {name}"));
    // A question is valid in the phase in which it was asked; if the next phase begins, it must be asked again.
    let quits = (0..10).any(|_| {
        ask(&mut pty, "quit", "? y/n\n");
        let from = written(&pty).len();
        pty.press("y\n");
        wait("the answer", || {
            let all = written(&pty);
            let quits = all[from..].contains("operator: checkpoint and quit");
            (quits || all[from..].contains("refused: ")).then_some(quits)
        })
    });
    assert!(quits);
    assert_eq!(pty.exit_code(), 3);
}

#[test]
fn in_a_pipe_the_lines_say_it_all() {
    let place = Place::new();
    // Stdin belongs to the script.
    let program = Path::new(env!("CARGO_BIN_EXE_heirloom"));
    let train = format!(
        "printf 'stop\\ny\\n' | {{ '{}' {} --set train.lr=1e-4 > out.txt; cat > rest.txt; }}",
        program.display(),
        ASK.join(" ")
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &train]).current_dir(place.path());
    shell.env_remove("HEIRLOOM_PARENT").env_remove("ACCESSIBLE");
    let mut shell = shell.spawn().unwrap();
    let out = || std::fs::read_to_string(place.path().join("out.txt")).unwrap_or_default();
    let pid = wait("the lock", || {
        std::fs::read(place.run_dir("mine").join("lock")).ok()?;
        place.lock("mine")["pid"].as_u64()
    });
    let _guard = common::Background(pid as u32);

    // Runs the commands as they are printed, in a shell that finds the program.
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(program, bin.join("heirloom")).unwrap();
    let obey = |command: &str| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut sh = std::process::Command::new("sh");
        let done = sh
            .args(["-c", command])
            .env("PATH", path)
            .current_dir(place.path())
            .stdin(Stdio::null())
            .output();
        let done = done.unwrap();
        let (out, err) = texts(&done);
        assert!(done.status.success(), "{command}: {out}{err}");
    };
    let command = |after: &str, words: &str| {
        wait(words, || {
            let all = out();
            let rest = &all[all.find(after)?..];
            let mut lines = rest.lines().filter(|line| line.contains(words));
            let line = lines.find(|line| rest.contains(&format!("{line}\n")))?;
            Some(line[line.find("heirloom ctl")?..].to_string())
        })
    };
    obey(&command(
        "paused: 20 steps over budget",
        "heirloom ctl mine resume",
    ));
    obey(&command(
        "decision of round 1",
        "heirloom ctl mine train-on 10",
    ));
    obey(&command(
        "train on for 10 steps",
        "heirloom ctl mine grow 1 restart",
    ));
    place.wait_event("mine", "the growth", |e| e["kind"] == "grow");
    obey(&command("decision of round 2", "heirloom ctl mine stop"));
    assert!(shell.wait().unwrap().success());
    let rest = std::fs::read_to_string(place.path().join("rest.txt")).unwrap();
    assert_eq!(rest, "stop\ny\n", "nothing was read");

    let all = out();
    let (lines, table) = all.split_once("\n\n").unwrap();
    assert!(
        table.contains("outcome: stopped - 2 of 4 layers"),
        "{table}"
    );
    let lines: Vec<_> = lines.lines().map(parts).collect();
    let first = lines
        .iter()
        .position(|(_, place, _)| is_place(place))
        .unwrap();
    let (head, events) = lines.split_at(first);
    let facts: Vec<(&str, &str)> = head.iter().map(|(_, name, fact)| (*name, *fact)).collect();
    let dir = place.run_dir("mine").canonicalize().unwrap();
    let directory = facts.iter().find(|(name, _)| *name == "directory").unwrap();
    assert_eq!(Path::new(directory.1).canonicalize().unwrap(), dir);
    for fact in [
        ("run", "mine"),
        (
            "config",
            "mini.toml --set policy.mode=ask --set train.lr=1e-4",
        ),
        ("phase", "Reference: 4 layers, 62.1k parameters, 60 steps"),
        ("phase", "Round 1: 1 layer, 24.0k parameters, 20 steps"),
        ("dtype", "f32"),
        ("limits", "none (policy.max_tokens, policy.max_hours)"),
    ] {
        assert!(facts.contains(&fact), "{fact:?} in {facts:#?}");
    }
    let begins = |name: &str, words: &str| {
        let found = facts
            .iter()
            .any(|(n, fact)| *n == name && fact.starts_with(words));
        assert!(found, "{name}: {words} in {facts:#?}");
    };
    begins("device", "cpu, ");
    begins(
        "data",
        "1.00M training tokens, 112k for validation, tokenizer byte, 256 tokens a step",
    );
    begins(
        "policy",
        "ask: at a round's end training continues until it is answered, and pauses 20 steps over budget; then after 10 min",
    );
    assert!(
        events.iter().all(|(_, place, _)| is_place(place)),
        "{events:#?}"
    );
    // All lines count the phase's steps, with the budget that the commands have changed.
    let last = |name: &str| {
        let mut places = events.iter().rev().map(|(_, place, _)| *place);
        places
            .find(|place| place.starts_with(name))
            .unwrap()
            .to_string()
    };
    assert_eq!(last("reference "), "reference step 60/60");
    let result = &place.show("mine")["rounds"][0];
    let steps = result["steps"].as_u64().unwrap();
    assert!(last("round-1 ").starts_with(&format!("round-1 step {steps}/")));
    // Nothing is reported twice.
    let said: Vec<&str> = events.iter().map(|(_, _, text)| *text).collect();
    for once in [
        "reference finished: ",
        "round 1 finished: ",
        "round 2 finished: ",
    ] {
        assert_eq!(said.iter().filter(|text| text.starts_with(once)).count(), 1);
    }
    for key in ["loss ", "eval  val ", "  gap "] {
        assert!(said.iter().any(|text| text.contains(key)), "{key}");
    }

    // The same events when watched or replayed later: with their own times, and without commands, which would be too late.
    let watched = place.expect(0, &["watch", "mine"]);
    let replayed = place.expect(0, &["replay", "mine", "--speed", "max"]);
    assert_eq!(watched, replayed);
    let again: Vec<_> = watched
        .split_once("\n\n")
        .unwrap()
        .0
        .lines()
        .map(parts)
        .collect();
    let asked: Vec<_> = events
        .iter()
        .filter(|(_, _, text)| !text.starts_with("answer: "))
        .copied()
        .collect();
    assert_eq!(again, asked);
}

#[test]
fn a_training_in_the_background_says_in_its_log_what_it_is() {
    let place = Place::new();
    let set = [
        "--set",
        "reference.train.steps=1000000",
        "--set",
        "policy.max_hours=1.5",
    ];
    let run = place.in_background("mine", &set, "");
    let log = wait("the log", || {
        let log = std::fs::read_to_string(place.run_dir("mine").join("log.txt")).ok()?;
        log.contains("commands").then_some(log)
    });
    let lines: Vec<_> = log.lines().map(parts).collect();
    let has = |name: &str, fact: &str| lines.iter().any(|(_, n, f)| *n == name && *f == fact);
    assert!(
        has("run", "mine") && has("limits", "policy.max_hours 1.5 (1h30m)"),
        "{log}"
    );
    // A resumed run names its checkpoint.
    place.expect(0, &["ctl", "mine", "quit"]);
    wait("the end", || (!common::is_alive(run.0)).then_some(()));
    let mut resumed = place.start(&["train", "--resume", "mine"]);
    let from = wait("the first lines", || {
        let all = place.printed();
        let line = all
            .lines()
            .find(|line| line.contains("  resume "))?
            .to_string();
        all.contains("  commands ").then_some(line)
    });
    assert_eq!(parts(&from).1, "resume");
    assert!(parts(&from).2.starts_with("from b0-s"), "{from}");
    assert!(
        place
            .printed()
            .contains("Reference: 4 layers, 62.1k parameters, 1.00M steps")
    );
    common::signal(resumed.id(), Signal::SIGTERM);
    assert_eq!(resumed.wait().unwrap().code(), Some(75));
}

#[test]
fn who_watches_learns_how_an_open_decision_is_answered() {
    let place = Place::new();
    let _run = place.in_background("mine", &["--set", "policy.mode=pause"], "");
    place.wait_event("mine", "the pause", |e| {
        e["status"] == "paused" && e["message"] == "waiting for a decision"
    });
    let mut watching = place.start(&["watch", "mine"]);
    wait("the commands", || {
        place
            .printed()
            .contains("heirloom ctl mine stop\n")
            .then_some(())
    });
    let all = place.printed();
    assert!(
        !all.contains("heirloom ctl mine resume"),
        "that would be refused: {all}"
    );
    place.expect(0, &["ctl", "mine", "stop"]);
    assert!(watching.wait().unwrap().success());
    assert!(place.printed().contains("outcome: stopped"));
}

#[test]
fn an_attached_plain_terminal_answers_a_run_elsewhere() {
    let place = Place::new();
    let _run = place.in_background("mine", &["--set", "policy.mode=pause"], "");
    place.wait_event("mine", "the pause", |e| {
        e["status"] == "paused" && e["message"] == "waiting for a decision"
    });
    let mut pty = Pty::start_with(&place, &["attach", "mine", "--plain"], 80, 24, &[]);
    see(&pty, 0, "Number, or a command such as");
    let all = written(&pty);
    let here = all.find("decision of round 1 (end of steps)").unwrap();
    assert!(all[..here].contains("\nround 1: 1 layer, step 20 of 20\n"));
    assert!(all[here..].contains("\n  1 grow by 1 layer (restart): 1 to 2 layers, "));
    assert!(!all.contains("  loss "), "the past is not repeated: {all}");
    // Events are printed, and typed commands reach the trainer.
    ask(&mut pty, "note from afar", "note: from afar\n");
    ask(
        &mut pty,
        "rollback nope",
        "refused: no checkpoint \"nope\"; the newest are ",
    );
    let refusal = ask(&mut pty, "resume", "refused: ");
    let on = ask(&mut pty, "2", "decided by operator: train on for 10 steps");
    assert!(!written(&pty)[refusal..].contains("refused"), "once");
    see(&pty, on, "  loss ");
    see(&pty, on, "Number, or a command such as");
    // Leaving does not affect the run. The events since then are listed at the next visit.
    let from = written(&pty).len();
    pty.press("\u{4}");
    see(&pty, from, "heirloom ctl mine stop");
    see(
        &pty,
        from,
        "left run mine (still running); reattach: heirloom attach mine\n",
    );
    assert_eq!(pty.exit_code(), 0);
    assert!(!pty.written().contains(&0x1b), "no escape codes");
    place.wait_event("mine", "the departure", |e| {
        let said = e["message"].as_str().unwrap_or_default();
        e["kind"] == "log" && said.ends_with(" has left; control is free")
    });
    place.expect(0, &["ctl", "mine", "train-on", "1000000"]);
    place.expect(0, &["ctl", "mine", "pause"]);
    let mut pty = Pty::start_with(&place, &["attach", "mine", "--plain"], 80, 24, &[]);
    let since = see(&pty, 0, "\nsince you last looked, ");
    see(
        &pty,
        since,
        "decided by control: train on for 1000000 steps",
    );
    // Another client takes control, which a line reports; the end has the table.
    place.expect(0, &["ctl", "mine", "stop"]);
    see(&pty, 0, "outcome: stopped");
    see(&pty, 0, "run mine has ended: heirloom show mine\n");
    assert_eq!(pty.exit_code(), 0);
}
