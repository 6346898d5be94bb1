//! Bad input ends with exit code 2 and a message that names the error, its place and a remedy, without overwriting files or a panic.

#[path = "../common/mod.rs"]
mod common;
mod training_texts;

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use common::{Place, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Runs the program and expects exit code 2 and these words on stderr.
#[track_caller]
fn refused(place: &Place, args: &[&str], words: &[&str]) {
    let output = place.run(args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}\n{out}\n{err}");
    for word in words {
        assert!(err.contains(word), "{args:?} does not say {word:?}:\n{err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn configs_with_mistakes() {
    let place = Place::new();
    let config = |text: &str| std::fs::write(place.path().join("bad.toml"), text).unwrap();
    config(
        &common::MINI
            .replace("n_head = 2", "n_head = 3")
            .replace("warmup = 5", "warmpu = 5"),
    );
    refused(
        &place,
        &["train", "bad.toml"],
        &[
            "bad.toml:4: model.n_head must divide model.n_embd",
            "bad.toml:16",
            "reference.train.warmup?",
        ],
    );
    config("[model\n");
    refused(&place, &["train", "bad.toml"], &["bad.toml:1"]);
    config(&common::MINI.replace("every = 15", "every = \"often\""));
    refused(
        &place,
        &["train", "bad.toml"],
        &["checkpoint.every must be a whole number", "\"often\""],
    );
    refused(&place, &["train", "nosuch"], &["nosuch", "tiny, books"]);
    refused(
        &place,
        &["train", "mini.toml", "--set", "train.lrr=1"],
        &["--set", "train.lr?"],
    );
    refused(
        &place,
        &["train", "mini.toml", "--set", "train.lr"],
        &["--set", "section.key=value"],
    );
    refused(
        &place,
        &["train", "mini.toml", "--name", "../up"],
        &["../up"],
    );
    refused(
        &place,
        &["train", "mini.toml", "--device", "cuda"],
        &["--device cuda:0"],
    );
    refused(
        &place,
        &["train", "mini.toml", "--set", "train.batch_tokens=100"],
        &["train.batch_tokens", "32"],
    );
    refused(&place, &["show", "nothing"], &["nothing", "heirloom ls"]);
    refused(&place, &["watch"], &["no runs under runs"]);
}

#[test]
fn directories_that_cannot_be_written() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "").unwrap();
    refused(
        &place,
        &["train", "mini.toml", "--runs", "file/runs"],
        &["file/runs", "--runs"],
    );
    refused(
        &place,
        &["train", "mini.toml", "--runs", "/proc/runs"],
        &["/proc/runs", "--runs"],
    );
}

#[test]
fn an_existing_run_is_not_overwritten() {
    let place = Place::new();
    place.expect(
        0,
        &[
            "train",
            "mini.toml",
            "--name",
            "mine",
            "--set",
            "reference.train.steps=10",
        ],
    );
    let before = place.events("mine");
    refused(
        &place,
        &["train", "mini.toml", "--name", "mine"],
        &["mine exists already", "--resume mine"],
    );
    refused(
        &place,
        &["train", "--resume", "mine"],
        &["mine is done", "heirloom show mine"],
    );
    assert_eq!(place.events("mine"), before);
}

#[test]
fn a_second_process_on_a_run_is_refused() {
    let place = Place::new();
    let mut first = place.start(&[
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "train.steps=100000",
    ]);
    place.wait_event("mine", "training", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    let pid = format!("{}", first.id());
    refused(&place, &["train", "--resume", "mine"], &["mine", &pid]);
    assert_eq!(place.show("mine")["state"], "running");
    assert!(place.expect(0, &["ls"]).contains("running"));
    signal(first.id(), Signal::SIGTERM);
    assert_eq!(
        wait("the end", || first.try_wait().unwrap()).code(),
        Some(75)
    );
}

/// Interrupts a miniature run in its first round.
fn interrupted(place: &Place, name: &str) {
    let mut child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        name,
        "--set",
        "train.steps=100000",
    ]);
    place.wait_event(name, "a checkpoint of the round", |e| {
        e["phase"] == "round-1" && e["kind"] == "checkpoint" && e["step"].as_u64() > Some(100)
    });
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
}

#[test]
fn torn_lines_of_a_journal_are_skipped() {
    let place = Place::new();
    interrupted(&place, "mine");
    let path = place.run_dir("mine").join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let middle = lines
        .iter()
        .position(|l| l.contains("\"kind\":\"train\""))
        .unwrap();
    lines[middle].truncate(40);
    let mut torn = lines.join("\n") + "\n";
    torn.push_str("{\"v\":1,\"seq\":99999,\"t\":17");
    std::fs::write(&path, torn).unwrap();
    // The incomplete line in the middle is reported, the incomplete tail is not.
    assert_eq!(place.show("mine")["state"], "interrupted");
    place.expect(
        0,
        &["train", "--resume", "mine", "--set", "train.steps=120"],
    );
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn a_truncated_checkpoint_is_refused_and_the_one_before_offered() {
    let place = Place::new();
    interrupted(&place, "mine");
    let checkpoints = place.run_dir("mine").join("checkpoints");
    let latest = std::fs::read_link(checkpoints.join("latest")).unwrap();
    let weights = checkpoints.join(&latest).join("model.safetensors");
    let size = std::fs::metadata(&weights).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&weights)
        .unwrap()
        .set_len(size - 100)
        .unwrap();
    let latest = latest.to_str().unwrap();
    let named = format!("mine@{latest}");
    let output = place.run(&["train", "--resume", &named]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains(latest) && err.contains("model.safetensors"),
        "{err}"
    );
    // The offered command can be used unchanged.
    let offer = err
        .split("--resume ")
        .nth(1)
        .unwrap_or_else(|| panic!("no offer in {err}"));
    let name = offer
        .split(|c: char| c.is_whitespace() || c == '`')
        .next()
        .unwrap();
    assert!(name.contains('@') && !name.contains(latest), "{err}");
    let offered = name.split_once('@').unwrap().1;
    // Without a name, the newest intact checkpoint is used, and the damage is reported.
    place.expect(
        0,
        &["train", "--resume", "mine", "--set", "train.steps=120"],
    );
    let events = place.events("mine");
    let resumed = events.iter().find(|e| e["kind"] == "resumed").unwrap();
    assert_eq!(resumed["checkpoint"], offered);
    assert!(events.iter().any(|e| {
        let message = e["message"].as_str().unwrap_or_default();
        e["kind"] == "warning" && message.contains(latest) && message.contains("resuming from")
    }));

    // A flipped bit is also detected, although every length is correct.
    interrupted(&place, "other");
    let weights = place
        .run_dir("other")
        .join("checkpoints/latest/optimizer.safetensors");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&weights)
        .unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let latest = std::fs::read_link(place.run_dir("other").join("checkpoints/latest")).unwrap();
    let named = format!("other@{}", latest.display());
    refused(
        &place,
        &["train", "--resume", &named],
        &["optimizer.safetensors"],
    );
}

#[test]
fn a_loss_that_is_no_number_fails_the_run_and_keeps_it() {
    let place = Place::new();
    let output = place.run(&[
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "train.lr=1e30",
    ]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(
        err.contains("not finite") && err.contains("--resume mine"),
        "{err}"
    );
    let show = place.show("mine");
    assert_eq!(show["state"], "failed");
    assert_eq!(show["outcome"], Value::Null);
    let nan = place.wait_event("mine", "the loss", |e| {
        e["kind"] == "train" && e["loss"].is_null()
    });
    assert!(nan["nonfinite"].is_string());
    // The advice works.
    place.expect(0, &["train", "--resume", "mine", "--set", "train.lr=1e-3"]);
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn other_data_is_not_resumed_on() {
    let place = Place::new();
    let text = |s: &str| std::fs::write(place.path().join("t.txt"), s.repeat(2000)).unwrap();
    text("one text ");
    let args = [
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "data.train=t.txt",
        "--set",
        "train.steps=100000",
    ];
    let mut child = place.start(&args);
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    text("two texts");
    refused(
        &place,
        &["train", "--resume", "mine"],
        &[
            "text are not those that run mine began with",
            "--set data.train=PATH",
        ],
    );
}

/// A separate file system for the runs, which is unmounted when this is dropped.
struct SmallDisk<'a>(&'a Place);

impl<'a> SmallDisk<'a> {
    fn mount(place: &'a Place, size: &str) -> Self {
        let runs = place.path().join("runs");
        std::fs::create_dir_all(&runs).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&runs)
            .status();
        assert!(mount.is_ok_and(|s| s.success()), "no file system mounted");
        Self(place)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.0.path().join("runs"))
            .status();
    }
}

#[test]
#[ignore = "needs root, to mount a small file system: cargo test -- --ignored _disk_"]
fn a_full_disk_warns_damages_nothing_and_recovers() {
    let place = Place::new();
    let disk = SmallDisk::mount(&place, "96m");
    let set = [
        "--set",
        "reference.train.steps=3000",
        "--set",
        "train.steps=20",
    ];
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(set);
    let mut child = place.start(&args);
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    // Another file takes all of the space.
    let ballast = place.path().join("runs/ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "training goes on");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0));
    let events = place.events("mine");
    let warned =
        |e: &&Value| e["kind"] == "warning" && e["message"].as_str().unwrap().contains("space");
    assert!(
        events.iter().any(|e| warned(&e)),
        "no warning about the disk in the journal"
    );
    let text = std::fs::read_to_string(place.run_dir("mine").join("events.jsonl")).unwrap();
    for line in text.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "damaged line: {line}");
    }
    assert_eq!(place.show("mine")["state"], "done");
    drop(disk);
}

#[test]
fn a_resume_that_would_compare_different_windows_is_refused() {
    let place = Place::new();
    interrupted(&place, "mine");
    let config = std::fs::read(place.run_dir("mine").join("config.toml")).unwrap();
    refused(
        &place,
        &["train", "--resume", "mine", "--set", "eval.windows=8"],
        &[
            "eval.windows cannot change on a resume: it is 16 in this run, --set makes it 8",
            "leave --set eval.windows out",
        ],
    );
    let now = std::fs::read(place.run_dir("mine").join("config.toml")).unwrap();
    assert!(config == now, "a refused resume changes nothing");
}

#[test]
fn a_lost_link_is_no_lost_run() {
    let place = Place::new();
    interrupted(&place, "mine");
    std::fs::remove_file(place.run_dir("mine").join("checkpoints/latest")).unwrap();
    std::fs::remove_file(place.run_dir("mine").join("checkpoints/reference")).unwrap();
    place.expect(
        0,
        &["train", "--resume", "mine", "--set", "train.steps=120"],
    );
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn going_back_to_an_old_checkpoint_deletes_no_newer_one() {
    let place = Place::new();
    let mut child = place.start(&["train", "mini.toml", "--name", "mine"]);
    place.wait_event("mine", "the last round", |e| {
        e["phase"] == "control-random" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(place.run_dir("mine").join("checkpoints")).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.starts_with("b0-")).collect()
    };
    let before = names();
    let mut child = place.start(&["train", "--resume", "mine@pre-grow-1"]);
    place.wait_event("mine", "a checkpoint after the resume", |e| {
        e["kind"] == "checkpoint" && e["reason"] == "start of round 2" && {
            let events = place.events("mine");
            let resumed = events.iter().find(|e| e["kind"] == "resumed");
            resumed.is_some_and(|r| r["seq"].as_u64() < e["seq"].as_u64())
        }
    });
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    let after = names();
    for name in before {
        assert!(after.contains(&name), "{name} is gone: {after:?}");
    }
}

#[test]
fn references_that_cannot_be_used() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "mine"]);
    let model = place.run_dir("mine").join("checkpoints/reference");
    let path = format!("reference.path={}", model.display());
    let config = common::MINI.replace(
        "[reference.train]\nsteps = 60\nlr = 1e-2\nwarmup = 5\n",
        "[reference]\n",
    );
    std::fs::write(place.path().join("from.toml"), config).unwrap();
    let train = |set: &[&str], words: &[&str]| {
        let mut args = vec!["train", "from.toml", "--name", "other", "--set", &path];
        args.extend(set.iter().flat_map(|s| ["--set", s]));
        refused(&place, &args, words);
        assert!(
            !place.run_dir("other").exists(),
            "a run that cannot begin is none"
        );
    };
    std::fs::write(
        place.path().join("short.txt"),
        "A text of two windows, but for its end.".repeat(3),
    )
    .unwrap();
    train(&["data.train=short.txt"], &["short.txt", "11 tokens", "33"]);
    // A config.json of a model that no machine could hold.
    let damaged = |from: &str, to: &str, words: &[&str]| {
        let file = model.join("config.json");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        train(&[], words);
        std::fs::write(&file, text).unwrap();
    };
    damaged(
        "\"n_layer\": 4",
        "\"n_layer\": 9000000",
        &["config.json", "n_layer is 9000000"],
    );
    damaged(
        "\"n_embd\": 32",
        "\"n_embd\": 9000000",
        &["wte.weight", "shape"],
    );
    damaged("\"gpt2\"", "\"mamba\"", &["model_type is \"mamba\""]);
}
