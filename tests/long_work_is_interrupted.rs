//! A single SIGINT or SIGTERM ends every command at once: in a foreign tokenizer that never ends, and while reading, fetching or
//! measuring. Commands that save their progress end with code 75, the others by the signal itself.

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time for which a command works before it is interrupted, and most time that it may take to end, on a busy machine.
const WORKS: Duration = Duration::from_millis(700);
const ENDS: Duration = Duration::from_millis(1500);

/// The way in which a command ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// With this exit code.
    Code(i32),
    /// By the signal.
    Signal,
}

/// Resets the signals' handling, so that they end the processes that this one starts, even if it was itself started with SIGINT
/// ignored (by a shell in the background).
fn take_signals() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the default action runs no code of this process.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.unwrap();
    }
}

fn start(mut command: Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[track_caller]
fn interrupt(place: &Place, args: &[&str], env: &[(&str, &str)], end: End) {
    take_signals();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = place.heirloom(args);
        command.envs(env.iter().copied());
        let mut child = start(command);
        std::thread::sleep(WORKS);
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "{args:?} is not slow");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > ENDS {
                child.kill().unwrap();
                panic!("{args:?} goes on {ENDS:?} after {signal}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        match end {
            End::Code(code) => assert_eq!(status.code(), Some(code), "{args:?} {signal}"),
            End::Signal => assert_eq!(status.signal(), Some(signal as i32), "{args:?} {signal}"),
        }
    }
}

#[test]
fn one_signal_ends_every_long_command() {
    let place = Place::new();
    common::put_tokenizers(place.path());
    let slow = "slow.json";
    fs::write(place.path().join("slow.txt"), "a".repeat(400_000)).unwrap();
    // Longer than the letters that a tokenizer may look at together, and short enough for an argument.
    let prompt = "a".repeat(125_000);
    let ids: Vec<u8> = (0..400_000u32)
        .flat_map(|i| [(i * 7 % 95) as u8, 0])
        .collect();
    fs::write(place.path().join("ids.bin"), ids).unwrap();
    let tokenizer = format!("data.tokenizer={slow}");
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama-bf16-sharded");
    let model = model.display().to_string();
    let big = fs::File::create(place.path().join("big.txt")).unwrap();
    // A sparse file of zeros is valid UTF-8.
    big.set_len(1 << 40).unwrap();
    let windows = ["--tokens", "ids.bin", "--window-length", "48", "--windows"];
    let set = ["--set", "data.train=slow.txt", "--set", &tokenizer];
    for (args, end) in [
        // This command saves its progress.
        (
            &[
                "data",
                "prepare",
                "slow.txt",
                "--out",
                "o.bin",
                "--tokenizer",
                slow,
            ][..],
            End::Code(75),
        ),
        (
            &[
                "data",
                "prepare",
                "big.txt",
                "--out",
                "p.bin",
                "--tokenizer",
                "byte",
            ],
            End::Code(75),
        ),
        // Before the first step.
        (&[&["train", "mini.toml"][..], &set].concat(), End::Code(75)),
        (
            &[&["train", "mini.toml", "--dry-run"][..], &set].concat(),
            End::Signal,
        ),
        (&["data", "info", "big.txt"], End::Signal),
        (
            &["loss", &model, "--text", "slow.txt", "--tokenizer", slow],
            End::Signal,
        ),
        (
            &[
                "rank",
                &model,
                "--text",
                "slow.txt",
                "--tokenizer",
                slow,
                "--window-length",
                "48",
            ],
            End::Signal,
        ),
        (
            &["generate", &model, "--prompt", &prompt, "--tokenizer", slow],
            End::Signal,
        ),
        (
            &[&["loss", &model][..], &windows, &["1000000"]].concat(),
            End::Signal,
        ),
        (
            &[&["rank", &model][..], &windows, &["100000"]].concat(),
            End::Signal,
        ),
        (&["selftest"], End::Signal),
        (&["bench", "train"], End::Signal),
    ] {
        interrupt(&place, args, &[], end);
    }
    assert!(!place.path().join("o.bin").exists());
    assert!(!place.path().join("runs").exists());
}

#[cfg(feature = "hub")]
#[test]
fn one_signal_ends_waiting_for_a_hub() {
    let place = Place::new();
    // Accepts connections but never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let home = place.path().join("hf").display().to_string();
    let env = [
        ("HF_ENDPOINT", address.as_str()),
        ("HF_HOME", home.as_str()),
    ];
    interrupt(&place, &["info", "hf:x/y"], &env, End::Signal);
    let reference = ["train", "mini.toml", "--set", "reference.path=hf:x/y"];
    interrupt(&place, &reference, &env, End::Code(75));
}

#[test]
fn a_tokenizer_without_an_end_is_given_up() {
    let place = Place::new();
    common::put_tokenizers(place.path());
    fs::write(place.path().join("slow.txt"), "a".repeat(400_000)).unwrap();
    let began = Instant::now();
    let args = [
        "data",
        "prepare",
        "slow.txt",
        "--out",
        "o.bin",
        "--tokenizer",
        "slow.json",
    ];
    let output = place.run(&args);
    let (_, err) = common::texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    let wanted = "heirloom: slow.json cannot be used: its pre_tokenizer takes too long for a text of 400000 bytes";
    assert!(err.contains(wanted), "{err}");
    // 10 s, and 20 microseconds for each byte.
    assert!(
        began.elapsed() > Duration::from_secs(17),
        "{:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}
