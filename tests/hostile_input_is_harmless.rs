//! The program reads hostile run directories in bounded memory, without failing, and prints no control sequences from them.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use common::pty::Pty;
use common::{Place, texts};
use serde_json::{Value, json};

/// Most memory that the program may have used at once, in KiB.
const MOST_KIB: u64 = 150 << 10;
/// Part of every hostile text, which the program's own output never contains.
const MARK: &str = "KILROY";

/// Returns a text that would clear the screen, draw a prompt, set the title, ring the bell, and reverse and hide text.
fn drawing() -> String {
    format!(
        "\u{1b}[2J\u{1b}[10;1H\u{1b}[7m> grow by 2 (restart)\n\rEnter do it\u{1b}]0;{MARK}\u{7}\u{1b}]52;c;eA==\u{1b}\\\
         \u{9b}31m\u{9d}0;x\u{9c}\u{90}q\u{9c}\u{0}\u{7f}\u{202e}{MARK}\u{2066}\u{e0041}\u{200b}數\u{301}\u{1b}[?1049l"
    )
}

/// Writes the lines of a journal.
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

    /// Writes names and messages with control sequences, impossible numbers, and lines that are not events.
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
        self.event(
            50,
            json!({"kind": "checkpoint", "name": format!("../{text}"), "bytes": 1, "seconds": 0.1,
            "val_loss": 1.0, "reason": text, "verified": true}),
        );
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
        self.event(
            51,
            json!({"kind": "probe", "max_rank": vec![1.0; 100_000], "avg_mass": [], "rank": [],
            "lazy_layers": [], "windows": 1, "length": 1, "tau": 0.9, "seconds": 1, "file": ""}),
        );
        self.event(51, json!({"kind": "gap", "dropped": u64::MAX}));
        self.event(
            51,
            json!({"kind": "eval", "val_loss": 1e300, "stderr": 1e300, "windows": 1, "gap": -1e300,
            "gap_stderr": 1e300, "matched": false, "seconds": 1e300}),
        );
        self.raw(b"\xff\xfe not UTF-8 \xc3\x28 \x1b[2J");
        self.raw("[".repeat(100_000).as_bytes());
        self.raw(b"\0\0\0");
    }

    /// Writes a line of 60 MB. A longer one ends the reading of the file (`run::tail`).
    fn endless_line(&mut self) {
        let chunk = [b'x'; 1_000_000];
        for _ in 0..60 {
            self.out.write_all(&chunk).unwrap();
        }
        self.raw(b"");
    }

    fn done(&mut self, message: &str) {
        self.event(
            60,
            json!({"kind": "done", "outcome": "stopped", "failed": false, "message": message}),
        );
    }
}

/// Asserts that plain output contains only text.
#[track_caller]
fn assert_plain(what: &str, text: &str) {
    for (i, line) in text.lines().enumerate() {
        let odd = line
            .chars()
            .find(|&c| c.is_control() || heirloom::text::is_invisible(c));
        assert_eq!(odd, None, "{what}, line {}: {line:?}", i + 1);
    }
}

/// Returns the peak memory of a live process.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The output of a finished process, and its peak memory.
struct Said {
    code: i32,
    out: String,
    err: String,
    peak_kib: u64,
}

/// Runs the program to its end.
#[expect(clippy::zombie_processes, reason = "wait4 waits, and tells the memory")]
fn said(place: &Place, args: &[&str]) -> Said {
    let (out, err) = (place.path().join("out.txt"), place.path().join("err.txt"));
    let child = place
        .heirloom(args)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are valid, and no other code waits for this child.
    let usage = unsafe {
        let pid = libc::wait4(
            child.id().cast_signed(),
            &raw mut status,
            0,
            usage.as_mut_ptr(),
        );
        assert!(pid > 0, "{args:?}");
        usage.assume_init()
    };
    let read = |path: &Path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
    Said {
        code: libc::WEXITSTATUS(status),
        out: read(&out),
        err: read(&err),
        peak_kib: usage.ru_maxrss.cast_unsigned(),
    }
}

/// Writes a run `hostile` that has ended, after a line of 60 MB.
fn hostile(place: &Place) {
    let mut journal = Journal::create(&place.run_dir("hostile"));
    journal.nasty();
    journal.endless_line();
    journal.log(55, &drawing());
    journal.done(&drawing());
}

#[test]
fn what_is_printed_of_a_hostile_run_is_text_in_bounded_memory() {
    let place = Place::new();
    hostile(&place);
    std::fs::write(
        place.run_dir("hostile").join("lock"),
        json!({"pid": 1, "host": drawing(), "boot_id": "", "socket": null, "started": ""})
            .to_string(),
    )
    .unwrap();
    for args in [
        &["show", "hostile"][..],
        &["show", "hostile", "--json"],
        &["ls"],
        &["ls", "--json"],
        &["watch", "hostile"],
        &["watch", "hostile", "--plain"],
        &["watch", "hostile", "--json"],
    ] {
        let said = said(&place, args);
        assert_eq!(said.code, 0, "{args:?}: {}", said.err);
        assert_plain(&format!("{args:?}"), &said.out);
        assert_plain(&format!("{args:?}"), &said.err);
        assert!(said.peak_kib < MOST_KIB, "{args:?}: {} KiB", said.peak_kib);
        // The events after the long line have been read.
        assert!(said.out.contains("stopped"), "{args:?}: {}", said.out);
        match args {
            ["watch", .., "--json"] => {
                let events = said.out.lines().map(serde_json::from_str::<Value>);
                assert!(events.map(Result::unwrap).any(|e| e["kind"] == "done"));
                let told = said.err.matches("it is longer than 4 MiB").count();
                assert_eq!(told, 1, "{}", said.err);
            }
            [.., "--json"] => drop(serde_json::from_str::<Value>(&said.out).unwrap()),
            ["watch", ..] => {
                let told = said.out.matches("it is longer than 4 MiB").count();
                assert_eq!(told, 1, "{}", said.out);
            }
            _ => {}
        }
    }
}

#[test]
fn a_name_draws_nothing_and_leads_nowhere() {
    let place = Place::new();
    let runs = place.path().join("deep/runs");
    let evil = format!("{}\n$(touch pwned)", drawing().replace(['\0', '/'], ""));
    for dir in [&runs.join(&evil), &place.path().join("deep/outside")] {
        let mut journal = Journal::create(dir);
        journal.event(0, json!({"kind": "run", "status": "started"}));
    }
    std::os::unix::fs::symlink("../outside", runs.join("linked")).unwrap();
    // A reader of a pipe would wait forever.
    std::fs::create_dir(runs.join("pipe")).unwrap();
    std::fs::write(runs.join("pipe/config.toml"), "").unwrap();
    nix::unistd::mkfifo(
        &runs.join("pipe/events.jsonl"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();

    let listed = said(&place, &["ls", "--runs", "deep/runs"]);
    assert_eq!(listed.code, 0);
    assert_plain("ls", &listed.out);
    assert_plain("ls", &listed.err);
    assert_eq!(listed.out.lines().count(), 3, "{}", listed.out);
    assert!(
        listed
            .err
            .contains("pipe/events.jsonl: it is not a regular file"),
        "{}",
        listed.err
    );
    let listed = said(&place, &["ls", "--json", "--runs", "deep/runs"]).out;
    assert_plain("ls --json", &listed);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&evil.as_str()),
        "programs get the very name: {names:?}"
    );

    let shown = said(&place, &["show", &evil, "--runs", "deep/runs"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert_plain("show", &shown.out);
    // The command in the message is safe to paste.
    let offered = shown
        .out
        .lines()
        .last()
        .unwrap()
        .split_once("heirloom ")
        .unwrap()
        .1;
    let pasted = std::process::Command::new("bash")
        .args(["-c", &format!("printf '%s\\n' {offered}")])
        .current_dir(place.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let (words, _) = texts(&pasted);
    assert!(words.ends_with(&format!("deep/runs/{evil}\n")), "{words}");
    assert!(!place.path().join("pwned").exists());

    let outside = place.path().join("deep/outside");
    for (name, code) in [
        ("linked", 0),
        (outside.to_str().unwrap(), 0),
        ("../outside", 2),
        ("linked/../../outside", 2),
        ("outside", 2),
        ("..", 2),
        (&drawing().replace('\0', ""), 2),
    ] {
        for command in ["show", "watch"] {
            let said = said(&place, &[command, name, "--runs", "deep/runs"]);
            assert_eq!(
                said.code, code,
                "{command} {name:?}: {}{}",
                said.out, said.err
            );
            assert_plain(command, &said.err);
        }
    }
    let mistyped = said(&place, &["show", "a", &drawing().replace('\0', "")]);
    assert_eq!(mistyped.code, 2);
    assert_plain("show", &mistyped.err);
    for name in ["../x", "/tmp/x", "..", "a/b", "\u{1b}[2J"] {
        let args = ["train", "mini.toml", "--name", name, "--runs", "deep/runs"];
        let said = said(&place, &args);
        assert_eq!(said.code, 2, "{name:?}: {}", said.err);
        assert!(said.err.contains("cannot be a run's name"), "{}", said.err);
        assert_plain("train", &said.err);
    }
}

/// Asserts that a terminal gets only text, titles, and sequences that move the cursor, set styles, show or hide, and switch modes.
#[track_caller]
fn assert_own_sequences(bytes: &[u8], finals: &[&str]) {
    // The terminal itself adds these characters at the end of a line.
    let text = String::from_utf8_lossy(bytes).replace(['\r', '\n'], "");
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_control() || heirloom::text::is_invisible(c)) {
        rest = &rest[at..];
        // The window's title: text up to a bell.
        if let Some(title) = rest.strip_prefix("\u{1b}]2;") {
            let (title, after) = title.split_once('\u{7}').expect("a title that ends");
            let drawn = |c: char| c.is_control() || heirloom::text::is_invisible(c);
            assert!(finals.contains(&"t"), "no title is set here: {title:?}");
            assert!(
                !title.contains(drawn) && title.chars().count() <= 80,
                "{title:?}"
            );
            rest = after;
            continue;
        }
        let Some(body) = rest.strip_prefix("\u{1b}[") else {
            panic!(
                "a stray control: {:?}",
                rest.chars().take(40).collect::<String>()
            );
        };
        let end = body
            .find(|c: char| !matches!(c, '0'..='9' | ';' | '?'))
            .unwrap_or(body.len());
        let (parameters, after) = body.split_at(end);
        let last = after.chars().next().unwrap_or(' ');
        let own = match last {
            'H' | 'm' => !parameters.contains('?'),
            'J' => parameters == "2",
            't' => matches!(parameters, "22;2" | "23;2"),
            'h' | 'l' => matches!(parameters, "?25" | "?1049" | "?2004" | "?2026"),
            _ => false,
        };
        let own = own && finals.contains(&last.to_string().as_str());
        assert!(own, "not the program's: ESC [ {parameters} {last}");
        rest = &after[last.len_utf8()..];
    }
}

#[test]
fn a_note_stays_in_its_line_of_the_dashboard() {
    let place = Place::new();
    let mut journal = Journal::create(&place.run_dir("hostile"));
    journal.nasty();
    journal.endless_line();
    // Names and phases appear in several places; this text may appear only in its own line.
    journal.log(55, &drawing().replace("grow by 2", "grow by 77"));
    drop(journal);
    let mut pty = Pty::start(&place, &["watch", "hostile"], 80, 24);
    pty.see_that("the whole journal", |s| {
        s.contains("grow by 77") && !s.contains("LOADING")
    });
    let screen = pty.see("CRASHED");
    let rows: Vec<&str> = screen.lines().collect();
    let note = "  > grow by 77 (restart) Enter do it";
    assert!(rows[22].contains(note), "{screen}");
    assert_eq!(screen.matches("grow by 77").count(), 1, "{screen}");
    // Below the panels come a line of the program and three lines of the log.
    assert!(rows[19].starts_with(" the latest evaluation "), "{screen}");
    for row in &rows[5..19] {
        assert!(
            ["┌", "│", "└"].iter().any(|edge| row.starts_with(edge)),
            "{screen}"
        );
    }
    assert!(
        peak_kib(pty.pid()) < MOST_KIB,
        "{} KiB",
        peak_kib(pty.pid())
    );
    assert_own_sequences(&pty.written(), &["H", "m", "h", "l", "t"]);
    for (columns, rows) in [(120, 40), (40, 10), (1, 1), (200, 3)] {
        pty.resize(columns, rows);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    // After a resize the screen is cleared.
    assert_own_sequences(&pty.written(), &["H", "m", "h", "l", "t", "J"]);
}

#[test]
fn the_home_screen_lists_hostile_names_in_its_columns() {
    let place = Place::new();
    let names = [
        "數字數字數字數字數字數字數字數字",
        "e\u{301}\u{301}e\u{301}",
        "a\u{1b}[2Jb\u{202e}c",
        "plain",
    ];
    for name in names.iter().map(|n| n.to_string()).chain(["n".repeat(255)]) {
        let mut journal = Journal::create(&place.run_dir(&name));
        journal.nasty();
        journal.done("over");
    }
    let mut pty = Pty::start(&place, &[], 80, 24);
    let screen = pty.see_that("five runs read", |s| s.matches("stopped").count() == 5);
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    let column = |row: &str| {
        let before = &row[..row.find("stopped").unwrap()];
        heirloom::text::width(before)
    };
    let columns: Vec<usize> = screen
        .lines()
        .filter(|r| r.contains("stopped"))
        .map(column)
        .collect();
    assert_eq!(columns, [columns[0]; 5], "{screen}");
    assert_own_sequences(&pty.written(), &["H", "m", "h", "l"]);
}
