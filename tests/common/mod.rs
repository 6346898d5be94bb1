//! Runs the real program on a miniature recipe: a 4-layer reference of width 32, at most three rounds, and both controls.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod pty;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for any condition.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The miniature recipe. Its rounds learn too slowly to keep up with the
/// reference, so that it grows.
pub const MINI: &str = r#"
[model]
n_layer = 4
n_head = 2
n_embd = 32
context_length = 32

[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.1
tokenizer = "byte"

[reference.train]
steps = 60
lr = 1e-2
warmup = 5

[inherit]
layers = 1

[train]
steps = 20
batch_tokens = 256
dtype = "f32"
lr = 5e-5
warmup = 2
log_every = 5

[eval]
every = 10
windows = 16

[probe]
windows = 2
length = 16

[grow]
step = 1

[policy]
mode = "auto"

[control]
random = true
reference_continued = true

[checkpoint]
every = 15
keep = 3
"#;

/// A directory with the miniature config.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mini.toml"), MINI).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn run_dir(&self, name: &str) -> PathBuf {
        self.path().join("runs").join(name)
    }

    /// Returns a command of the program with these arguments, in this directory, without a terminal.
    pub fn heirloom(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
        command
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
            .env_remove("HEIRLOOM_PARENT")
            .env_remove("ACCESSIBLE")
            .env_remove("NO_COLOR")
            .env_remove("HEIRLOOM_THEME");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.heirloom(args).output().unwrap()
    }

    /// Runs the program and expects this exit code; returns stdout.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{err}");
        out
    }

    /// Starts a training in the background. Its output goes to a file, since a pipe without a reader would fill up and stop it.
    pub fn start(&self, args: &[&str]) -> Child {
        let out = std::fs::File::create(self.path().join("printed.txt")).unwrap();
        let mut command = self.heirloom(args);
        command
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap()
    }

    /// Returns the output of the program that was started last.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.path().join("printed.txt")).unwrap()
    }

    /// Returns `show --json` of a run.
    #[track_caller]
    pub fn show(&self, name: &str) -> Value {
        serde_json::from_str(&self.expect(0, &["show", name, "--json"])).unwrap()
    }

    /// Returns the journal's events, without an incomplete last line.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let text =
            std::fs::read_to_string(self.run_dir(name).join("events.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for an event of the run that fits, and returns it.
    #[track_caller]
    pub fn wait_event(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait(what, || self.events(name).into_iter().find(|e| fits(e)))
    }
}

/// The process of a training in the background, which is ended with the test.
pub struct Background(pub u32);

impl Drop for Background {
    fn drop(&mut self) {
        if is_alive(self.0) {
            signal(self.0, nix::sys::signal::Signal::SIGKILL);
        }
        // Waits until its lock is free. Without an assertion, because this may run while a test fails.
        for _ in 0..500 {
            if !is_alive(self.0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Place {
    /// Returns the contents of a run's lock.
    pub fn lock(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.run_dir(name).join("lock")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Starts `train -d` of the miniature under this name, with a fault unless it is empty.
    #[track_caller]
    pub fn in_background(&self, name: &str, settings: &[&str], fault: &str) -> Background {
        let mut command = self.heirloom(&["train", "-d", "mini.toml", "--name", name]);
        let output = command.args(settings).env("HEIRLOOM_FAULT", fault).output();
        let (out, err) = texts(&output.unwrap());
        assert!(
            out.contains("continues in the background") && out.contains("heirloom attach"),
            "{out}{err}"
        );
        Background(self.lock(name)["pid"].as_u64().unwrap() as u32)
    }

    /// Runs `ctl` of a run with these words. Returns exit code, stdout and stderr.
    pub fn ctl(&self, name: &str, words: &[&str]) -> (i32, String, String) {
        let output = self.run(&[&["ctl", name], words].concat());
        let (out, err) = texts(&output);
        (output.status.code().unwrap(), out, err)
    }
}

/// Calls `ask` repeatedly until it returns a value.
#[track_caller]
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Returns the specifications for a copy of a file's tensors.
pub fn specs(source: &heirloom::tensors::Source) -> Vec<heirloom::tensors::Spec> {
    let spec = |name: &str| {
        let info = source.info(name).unwrap();
        heirloom::tensors::Spec {
            name: name.into(),
            shape: info.shape.clone(),
            dtype: info.dtype,
        }
    };
    source.names().map(spec).collect()
}

/// Copies a directory with its contents; links stay links.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(from).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|s| {
        s.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    })
}

/// Writes `small.json` and `slow.json` into a directory: byte-level tokenizers of the 95 printable characters of ASCII, which fit the
/// models of the fixtures. The second one looks ahead from every letter to the end of a sequence of `a`, so its time is quadratic
/// in the length.
pub fn put_tokenizers(dir: &Path) {
    let letter = |byte: u8| match byte {
        b' ' => "\u{120}".to_string(),
        byte => char::from(byte).to_string(),
    };
    let vocab: serde_json::Map<String, Value> = (b' '..=b'~')
        .map(|byte| (letter(byte), (byte - b' ').into()))
        .collect();
    let level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    let slow = serde_json::json!({"type": "Sequence", "pretokenizers": [
        {
            "type": "Split", "pattern": {"Regex": r"(?=(a+)+b)(\w|\s)"}, "behavior": "Isolated",
            "invert": false
        },
        level
    ]});
    for (name, pre) in [("small.json", &level), ("slow.json", &slow)] {
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": pre, "post_processor": null, "decoder": level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
                "byte_fallback": false, "vocab": vocab, "merges": []
            }
        });
        std::fs::write(dir.join(name), json.to_string()).unwrap();
    }
    // The token that ends a text, which `data prepare` needs.
    std::fs::write(dir.join("tokenizer_config.json"), r#"{"eos_token": "!"}"#).unwrap();
}
