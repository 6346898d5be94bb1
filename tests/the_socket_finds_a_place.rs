//! The control socket is made at the first possible one of several places, and a training without a socket reports it.

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Background, Place, is_alive, signal, texts, wait};

const LONG: [&str; 2] = ["--set", "reference.train.steps=1000000"];

/// Starts `train -d` of a run `mine` under `runs`. Returns it with its output.
fn in_background(
    place: &Place,
    runs: &str,
    change: impl FnOnce(&mut Command),
) -> (Background, String) {
    let mut command =
        place.heirloom(&["train", "-d", "mini.toml", "--name", "mine", "--runs", runs]);
    command.args(LONG).env_remove("XDG_RUNTIME_DIR");
    change(&mut command);
    let output = command.output().unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    let text = std::fs::read_to_string(place.path().join(runs).join("mine/lock")).unwrap();
    let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
    (Background(lock["pid"].as_u64().unwrap() as u32), out)
}

fn socket(place: &Place, runs: &str) -> PathBuf {
    let text = std::fs::read_to_string(place.path().join(runs).join("mine/lock")).unwrap();
    let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
    lock["socket"].as_str().unwrap_or_default().into()
}

fn ctl(place: &Place, runs: &str, word: &str) -> (i32, String) {
    let output = place.run(&["ctl", "mine", word, "--runs", runs]);
    let (out, err) = texts(&output);
    (output.status.code().unwrap(), out + &err)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_place_that_is_taken_or_open_to_others_is_passed_for_the_next() {
    let place = Place::new();
    let temp = place.path().join("t");
    let user = std::fs::metadata(place.path()).unwrap().uid();
    let known = temp.join(format!("heirloom-{user}"));
    std::fs::create_dir_all(&known).unwrap();
    set_mode(&known, 0o777);
    let open = place.path().join("xdg");
    std::fs::create_dir(&open).unwrap();
    set_mode(&open, 0o777);
    // The path is too long for a socket in the run's directory.
    let runs = "x".repeat(110);
    let (run, out) = in_background(&place, &runs, |c| {
        c.env("TMPDIR", &temp).env("XDG_RUNTIME_DIR", &open);
    });
    assert!(out.contains(": heirloom attach "), "{out}");
    let socket = socket(&place, &runs);
    let own = socket.parent().unwrap();
    // The fixed name under /tmp may belong to another program, and is tried before the random one.
    assert!(own != known && own != open, "{}", socket.display());
    let made = std::fs::metadata(own).unwrap();
    assert_eq!((made.mode() & 0o777, made.uid()), (0o700, user));
    let (code, said) = ctl(&place, &runs, "status");
    assert_eq!(code, 0, "{said}");
    assert_eq!(ctl(&place, &runs, "quit").0, 0);
    wait("the end", || (!is_alive(run.0)).then_some(()));
    assert!(!socket.exists());
}

#[test]
fn a_random_directory_goes_with_its_run() {
    let place = Place::new();
    // Every place but the random one fails.
    let temp = place.path().join("t");
    std::fs::create_dir(&temp).unwrap();
    let (run, _) = in_background(&place, "runs", |c| {
        c.env("TMPDIR", &temp)
            .env("HEIRLOOM_FAULT", "socket-named:0");
    });
    let socket = socket(&place, "runs");
    let made = socket.parent().unwrap().to_path_buf();
    assert!(made.parent() == Some(&temp), "{}", made.display());
    assert_eq!(ctl(&place, "runs", "quit").0, 0);
    wait("the end", || (!is_alive(run.0)).then_some(()));
    assert!(!made.exists());
}

#[test]
fn a_deleted_socket_comes_again_and_a_squatted_one_moves() {
    let place = Place::new();
    let (_run, _) = in_background(&place, "runs", |_| {});
    let first = socket(&place, "runs");
    assert_eq!(first, place.run_dir("mine").join("control.sock"));
    std::fs::remove_file(&first).unwrap();
    wait("the socket again", || {
        (ctl(&place, "runs", "status").0 == 0).then_some(())
    });
    std::fs::remove_file(&first).unwrap();
    std::fs::write(&first, "in the way").unwrap();
    wait("another address", || {
        (socket(&place, "runs") != first).then_some(())
    });
    wait("an answer", || {
        (ctl(&place, "runs", "status").0 == 0).then_some(())
    });
    assert_eq!(std::fs::read_to_string(&first).unwrap(), "in the way");
}

#[test]
fn a_training_that_cannot_be_attached_says_so() {
    let place = Place::new();
    let (run, out) = in_background(&place, "runs", |c| {
        c.env("HEIRLOOM_FAULT", "socket:0");
    });
    assert!(!out.contains("heirloom attach"), "{out}");
    for part in [
        "without a control socket",
        "heirloom watch mine",
        &format!("kill {}", run.0),
    ] {
        assert!(out.contains(part), "{out}");
    }
    place.wait_event("mine", "the reasons", |e| {
        let message = e["message"].as_str().unwrap_or_default();
        message.contains("no control socket yet: ") && message.contains("control.sock")
    });
    let (code, said) = ctl(&place, "runs", "status");
    assert!(code == 1 && said.contains("accepts no commands"), "{said}");
    signal(run.0, nix::sys::signal::Signal::SIGTERM);
    wait("the end", || (!is_alive(run.0)).then_some(()));
    assert_eq!(place.show("mine")["state"], "interrupted");
}
