//! A run directory that somebody else has written: whatever is in it, the program reads on, in bounded memory, and what
//! it prints draws nothing but what the program itself draws.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use common::pty::Pty;
use common::{Place, texts, wait};
use serde_json::{Value, json};

/// Most memory that the program may have used at once, in KiB.
const MOST_KIB: u64 = 150 << 10;
/// Part of every hostile text, and of nothing the program writes by itself.
const MARK: &str = "KILROY";

/// A text that would clear the screen, paint a prompt, set the title, ring, reverse and hide.
fn drawing() -> String {
    format!(
        "\u{1b}[2J\u{1b}[10;1H\u{1b}[7m> grow by 2 (restart)\n\rEnter do it\u{1b}]0;{MARK}\u{7}\u{1b}]52;c;eA==\u{1b}\\\
         \u{9b}31m\u{9d}0;x\u{9c}\u{90}q\u{9c}\u{0}\u{7f}\u{202e}{MARK}\u{2066}\u{e0041}\u{200b}數\u{301}\u{1b}[?1049l"
    )
}

/// Lines of a journal.
struct Journal {
    out: BufWriter<File>,
    seq: u64,
}

impl Journal {
    fn create(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let file = File::create(dir.join("events.jsonl")).unwrap();
        Self {
            out: BufWriter::new(file),
            seq: 0,
        }
    }

    fn event(&mut self, step: u64, body: Value) {
        self.seq += 1;
        let mut event = json!({
            "v": 1, "seq": self.seq, "t": 1_700_000_000_000_u64 + step, "elapsed": step as f64 / 10.0,
            "step": step, "phase": "reference", "phase_step": step, "branch": 0
        });
        let fields = body.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(fields);
        self.raw(event.to_string().as_bytes());
    }

    fn raw(&mut self, line: &[u8]) {
        self.out.write_all(line).unwrap();
        self.out.write_all(b"\n").unwrap();
    }

    fn log(&mut self, step: u64, message: &str) {
        self.event(step, json!({"kind": "log", "message": message}));
    }

    /// Names and messages that draw, numbers that no run has, lines that are none.
    fn nasty(&mut self) {
        let text = drawing();
        let text = text.as_str();
        self.event(
            0,
            json!({"kind": "run", "status": "started", "message": text, "info": {
                "program": text, "name": text, "host": text, "pid": 1, "device": text, "threads": 2, "policy": text,
                "tokenizer": text, "train_tokens": 1, "val_tokens": 1, "n_layer": 4, "n_head": 2, "n_embd": 32,
                "context_length": 32, "vocab": 320, "batch_tokens": 256, "reference_steps": 60, "round_steps": 20,
                "grow_step": 1, "max_layers": 3, "tau": 0.9, "probe_length": 16, "control_random": true,
                "control_reference": true
            }}),
        );
        let phase = json!({"kind": "phase", "layers": 4, "parameters": 1000, "steps": 60, "start": "random",
            "source_layers": [], "phase": text});
        self.event(1, phase);
        for step in 1..50 {
            self.event(
                step,
                json!({"kind": "train", "loss": 5.0 - step as f64 / 50.0, "lr": 1e-3, "grad_norm": 1.0,
                    "tokens": 256 * step, "tokens_per_second": 100.0}),
            );
        }
        self.log(50, text);
        self.event(50, json!({"kind": "checkpoint", "name": format!("../{text}"), "bytes": 1, "seconds": 0.1,
            "val_loss": 1.0, "reason": text, "verified": true}));
        self.event(50, json!({"kind": text, text: [text, {text: text}]}));
        let huge = [
            r#""step":18446744073709551615"#,
            r#""elapsed":1e999"#,
            r#""elapsed":NaN"#,
            r#""step":-1"#,
            r#""phase":"\ud800""#,
        ];
        for field in huge {
            self.raw(format!(r#"{{"v":1,"seq":99,"t":1,"elapsed":1,"step":1,"phase":"x","phase_step":1,"branch":0,"kind":"log","message":"x",{field}}}"#).as_bytes());
        }
        self.event(51, json!({"kind": "grow", "from_layers": 1, "to_layers": u64::MAX, "added": [], "mode": "keep", "round": 1}));
        self.event(51, json!({"kind": "probe", "max_rank": vec![1.0; 100_000], "avg_mass": [], "rank": [],
            "lazy_layers": [], "windows": 1, "length": 1, "tau": 0.9, "seconds": 1, "file": ""}));
        self.event(51, json!({"kind": "gap", "dropped": u64::MAX}));
        self.event(51, json!({"kind": "eval", "val_loss": 1e300, "stderr": 1e300, "windows": 1, "gap": -1e300,
            "gap_stderr": 1e300, "matched": false, "seconds": 1e300}));
        self.raw(b"\xff\xfe not UTF-8 \xc3\x28 \x1b[2J");
        self.raw("[".repeat(100_000).as_bytes());
        self.raw(b"\0\0\0");
    }

    /// A line of 100 MB.
    fn endless_line(&mut self) {
        let chunk = [b'x'; 1_000_000];
        for _ in 0..100 {
            self.out.write_all(&chunk).unwrap();
        }
        self.raw(b"");
    }

    fn done(&mut self, message: &str) {
        self.event(60, json!({"kind": "done", "outcome": "stopped", "failed": false, "message": message}));
    }
}

/// Nothing in plain output may reach a terminal as anything but text.
#[track_caller]
fn assert_plain(what: &str, text: &str) {
    for (i, line) in text.lines().enumerate() {
        let odd = line.chars().find(|&c| c.is_control() || heirloom::text::is_invisible(c));
        assert_eq!(odd, None, "{what}, line {}: {line:?}", i + 1);
    }
}

/// Peak memory of a process that still lives.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Peak memory of all children that have ended, in KiB.
fn children_peak_kib() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    usage.unwrap().max_rss().try_into().unwrap()
}
