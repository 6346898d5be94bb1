//! Long journals open fast and in bounded memory with `series.bin`, and show the same without it.
//!
//! The measurement of a million steps and of two hundred runs takes a minute and some space under the temporary
//! directory:
//! `cargo test --release --test load_is_bounded -- --ignored --nocapture --test-threads 1`

mod common;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Place;
use common::pty::Pty;
use heirloom::run::state::RunState;
use heirloom::run::tail::Tail;

/// Budgets of a run of a million steps and fifty series: the time until all of it is on screen, and the memory in MiB.
const OPENED: Duration = Duration::from_secs(1);
const MEMORY: u64 = 64;

/// Layers of the probed run, which with its eight other curves has over fifty series.
const LAYERS: usize = 22;

/// Numbers of events of a journal, by kind.
struct Counts {
    train: u64,
    evals: u64,
    probes: u64,
}

/// Writes the journal of a run that is in its first phase.
fn write_journal(path: &Path, counts: &Counts) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut seq = 0;
    let mut line = |step: u64, body: &str| {
        seq += 1;
        writeln!(
            out,
            r#"{{"v":1,"seq":{seq},"t":{},"elapsed":{}.25,"step":{step},"phase":"reference","phase_step":{step},"branch":0,{body}}}"#,
            1_700_000_000_000 + step,
            step / 10
        )
        .unwrap();
    };
    line(0, r#""kind":"run","status":"started""#);
    let phase = format!(
        r#""kind":"phase","layers":{LAYERS},"parameters":1000,"steps":{},"start":"random","source_layers":[]"#,
        counts.train
    );
    line(0, &phase);
    for step in 1..=counts.train {
        let loss = 2.0 + 9.0 / (1.0 + step as f64 / 1000.0) + (step % 97) as f64 / 1000.0;
        line(
            step,
            &format!(
                r#""kind":"train","loss":{loss},"lr":0.0003,"grad_norm":1.25,"tokens":{},"tokens_per_second":24500.5"#,
                step * 1024
            ),
        );
        if step.is_multiple_of(counts.train / counts.evals) {
            line(
                step,
                &format!(
                    r#""kind":"eval","val_loss":{},"stderr":0.01,"windows":64,"gap":null,"gap_stderr":null,"matched":false,"seconds":0.5"#,
                    loss + 0.1
                ),
            );
        }
        if step.is_multiple_of(counts.train / counts.probes) {
            let list = |value: f64| {
                let all: Vec<String> = (0..LAYERS)
                    .map(|l| (value + l as f64).to_string())
                    .collect();
                all.join(",")
            };
            let heads = format!("[{}]", list(loss));
            let ranks = vec![heads; LAYERS].join(",");
            line(
                step,
                &format!(
                    r#""kind":"probe","max_rank":[{}],"avg_mass":[{}],"rank":[{ranks}],"lazy_layers":[21],"windows":8,"length":100,"tau":0.9,"seconds":0.5,"file":"rank/x""#,
                    list(loss),
                    list(0.5)
                ),
            );
        }
    }
}

/// Makes a place with such a run.
fn place_with(name: &str, counts: &Counts) -> Place {
    let place = Place::new();
    fs::create_dir_all(place.run_dir(name)).unwrap();
    write_journal(&place.run_dir(name).join("events.jsonl"), counts);
    place
}

#[test]
fn a_run_is_told_alike_with_and_without_series_bin() {
    let counts = Counts {
        train: 8000,
        evals: 160,
        probes: 80,
    };
    let place = place_with("long", &counts);
    let series = place.run_dir("long").join("series.bin");
    let told = || {
        ["--json", "--runs=runs"].map(|flag| {
            let show = place.expect(0, &["show", "long", flag]);
            (show, place.expect(0, &["ls", "--json"]))
        })
    };
    assert!(!series.exists());
    let first = place.expect(0, &["show", "long", "--json"]);
    assert!(series.exists(), "the first reader leaves one");
    let with = told();
    fs::remove_file(&series).unwrap();
    fs::create_dir(&series).unwrap();
    let without = told();
    assert_eq!(with, without);
    assert_eq!(with[0].0, first);
    assert!(first.contains("\"step\": 8000"), "{first}");
}

/// Runs the program. Returns its running time and its peak memory in MiB.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn measured(place: &Place, args: &[&str]) -> (Duration, u64) {
    let mut command: Command = place.heirloom(args);
    let began = Instant::now();
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut status = 0;
    // SAFETY: all zeros is a valid rusage, and both pointers are to live values.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let pid = child.id().cast_signed();
        assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid);
        usage
    };
    let took = began.elapsed();
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    (took, usage.ru_maxrss.cast_unsigned() / 1024)
}

/// Returns the peak memory of a process so far, in MiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() / 1024
}

/// Opens the dashboard and waits until all of the run is on screen.
fn watched(place: &Place, name: &str) -> (Duration, u64) {
    let began = Instant::now();
    let mut pty = Pty::start(place, &["watch", name], 200, 60);
    pty.see_that("the whole run", |text| {
        text.contains("1,000,000/1,000,000") && !text.contains("LOADING")
    });
    let took = began.elapsed();
    let peak = peak(pty.pid());
    pty.press("q");
    pty.exit_code();
    (took, peak)
}

#[test]
#[ignore = "measures"]
fn a_million_steps_and_two_hundred_runs() {
    let counts = Counts {
        train: 1_000_000,
        evals: 20_000,
        probes: 10_000,
    };
    let place = place_with("long", &counts);
    let dir = place.run_dir("long");
    let journal = dir.join("events.jsonl");
    let bytes = fs::metadata(&journal).unwrap().len();
    println!("journal: {} MiB", bytes >> 20);

    let (mut tail, mut state) = (Tail::open(&dir), RunState::default());
    let began = Instant::now();
    loop {
        for item in tail.poll().unwrap() {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            break;
        }
    }
    let took = began.elapsed();
    println!(
        "tail and fold: {took:.2?}, {:.0} events/s",
        state.seq as f64 / took.as_secs_f64()
    );
    assert_eq!(state.live().train.points(), counts.train);
    assert_eq!(state.live().val.points(), counts.evals);
    assert_eq!(state.live().ranks.points(), counts.probes);
    assert_eq!(state.live().ranks.columns(), 2 * LAYERS);
    drop(state);

    let series = dir.join("series.bin");
    let report = |what: &str, (took, mib): (Duration, u64)| {
        println!("{what}: {took:.2?}, peak {mib} MiB");
    };
    report(
        "show without series.bin",
        measured(&place, &["show", "long"]),
    );
    let size = fs::metadata(&series).unwrap().len();
    println!("series.bin: {} KiB", size >> 10);
    report("show with series.bin", measured(&place, &["show", "long"]));
    let opened = watched(&place, "long");
    report("watch with series.bin, to the whole screen", opened);
    assert!(opened.0 < OPENED, "{opened:?}, limit {OPENED:?}");
    assert!(opened.1 <= MEMORY, "{opened:?}, limit {MEMORY} MiB");
    fs::remove_file(&series).unwrap();
    let read = watched(&place, "long");
    report("watch without series.bin, to the whole screen", read);
    assert!(read.1 <= MEMORY, "{read:?}, limit {MEMORY} MiB");
    assert!(series.exists(), "watching left one");

    let place = Place::new();
    let first = place.run_dir("run-0");
    fs::create_dir_all(&first).unwrap();
    let counts = Counts {
        train: 4800,
        evals: 100,
        probes: 50,
    };
    write_journal(&first.join("events.jsonl"), &counts);
    for i in 1..200 {
        let dir = place.run_dir(&format!("run-{i}"));
        fs::create_dir_all(&dir).unwrap();
        fs::copy(first.join("events.jsonl"), dir.join("events.jsonl")).unwrap();
    }
    report(
        "ls over 200 runs, the first time",
        measured(&place, &["ls"]),
    );
    report("ls over 200 runs, afterwards", measured(&place, &["ls"]));
    let list = place.expect(0, &["ls", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 200);
    assert!(list.iter().all(|run| run["step"] == 4800));
}
