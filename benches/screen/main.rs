//! Compares the dashboard's cost with its budgets: bytes to the terminal, CPU time, and the time from a key to its frame.
//!
//!     cargo bench --bench screen [-- [--program PATH] [watch] [replay] [live] [keys]]
//!
//! The real program runs in a pseudo-terminal. Every line gives a figure, its limit, and ok or FAIL; the exit code is 1 after a
//! FAIL. `watch` shows a finished run and `replay` plays a run; `live` and `keys` train one, up to its second round and
//! beyond. Without these words everything is measured, which takes five minutes, of the program that was built with the bench,
//! or of the one at PATH. The latency of keys needs a machine without other work.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/fixtures/journal/mod.rs"]
mod journal;
mod keys;
mod threads;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use common::pty::Pty;
use common::{Background, Place, wait};
use journal::Moment;
use window::Window;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

/// Bytes a second while nothing happens.
const IDLE: f64 = 0.0;
/// Bytes a second while a run is paused: only the ages of its evaluations and checkpoints are redrawn, every ten seconds.
const PAUSED: f64 = 50.0;
/// Mean bytes a second while every panel changes.
const LIVE: f64 = 1000.0;
/// Milliseconds from a key to the end of its frame that 99 of 100 keys must not exceed.
const KEY: f64 = 5.0;
/// CPU time of everything that is not training, in percent of one core.
const CPU: f64 = 0.5;
/// The same time in percent of all cores: the most that training could have used.
const SLOWED: f64 = 0.5;

/// Time for which each state is measured.
const SECONDS: Duration = Duration::from_secs(20);
/// Time after which a new screen does not change any more: a notice disappears after five seconds.
const SETTLE: Duration = Duration::from_secs(6);

/// A recipe whose decisions are left to the keyboard. With an event per step, and more than four steps a second, every frame
/// differs from the previous one.
const RECIPE: &str = r#"
[model]
n_layer = 8
n_head = 4
n_embd = 128
context_length = 128

[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.1
tokenizer = "byte"

[reference.train]
steps = 30
lr = 1e-3
warmup = 10

[inherit]
layers = "half"

[train]
steps = 30
batch_tokens = 1024
lr = 1e-3
warmup = 5
log_every = 1

[eval]
every = 20
windows = 32

[probe]
windows = 4
length = 32

[grow]
step = 2
max_layers = 8

[match]
tolerance = -1.0

[policy]
mode = "ask"
max_overrun_steps = 1000000

[control]
random = false
reference_continued = false

[checkpoint]
every = 200
keep = 2
"#;

/// Prints figures and remembers whether one was over its limit.
#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, what: &str, value: f64, limit: f64, unit: &str, more: &str) {
        // NaN fails, because it compares as false.
        let fits = value <= limit;
        self.failed |= !fits;
        let verdict = if fits { "ok" } else { "FAIL" };
        println!("{what}: {value:.2} {unit} (limit {limit} {unit}): {verdict}{more}");
    }

    fn bytes(&mut self, what: &str, size: (u16, u16), limit: f64, window: &Window) {
        let what = format!("{what}, {}x{}", size.0, size.1);
        let more = format!("; {} frames in {:.0} s", window.frames, window.seconds);
        self.line(&what, window.bytes_per_second(), limit, "B/s", &more);
    }

    fn cpu(&mut self, what: &str, size: (u16, u16), window: &Window) {
        let what = format!("{what}, {}x{}, CPU", size.0, size.1);
        let more = format!("; {}", window.shares());
        self.line(&what, window.percent(), CPU, "% of a core", &more);
    }
}

struct Bench {
    program: PathBuf,
    report: Report,
}

fn main() -> ExitCode {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_heirloom"));
    let mut wanted = Vec::new();
    // Drops the option that cargo adds.
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.by_ref()) {
            ("--program", rest) => match rest.next().map(std::fs::canonicalize) {
                Some(Ok(path)) => program = path,
                other => {
                    eprintln!("--program needs the path of a program: {other:?}");
                    return ExitCode::from(2);
                }
            },
            ("watch" | "replay" | "live" | "keys", _) => wanted.push(arg),
            _ => {
                eprintln!("{arg:?} is not one of --program PATH, watch, replay, live, keys");
                return ExitCode::from(2);
            }
        }
    }
    println!("program: {}", program.display());
    let mut bench = Bench {
        program,
        report: Report::default(),
    };
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if is_wanted("watch") {
        bench.watch();
    }
    if is_wanted("replay") {
        bench.replay();
    }
    if is_wanted("live") {
        bench.live();
    }
    if is_wanted("keys") {
        bench.keys();
    }
    ExitCode::from(u8::from(bench.report.failed))
}

/// Makes a place with the fixture's run at a moment.
fn place_at(moment: Moment) -> Place {
    let place = Place::new();
    let dir = place.run_dir(journal::NAME);
    std::fs::create_dir_all(&dir).expect("a temporary directory can be written");
    for (file, text) in [
        ("events.jsonl", journal::journal(moment)),
        ("config.toml", String::new()),
    ] {
        std::fs::write(dir.join(file), text).expect("a temporary directory can be written");
    }
    place
}

impl Bench {
    fn start(&self, place: &Place, args: &[&str], size: (u16, u16)) -> Pty {
        Pty::start_program(&self.program, place, args, size, &[])
    }

    fn watch(&mut self) {
        let place = place_at(Moment::Done);
        for size in [SMALL, LARGE] {
            let pty = self.start(&place, &["watch", journal::NAME], size);
            pty.see_that("the finished run", |text| {
                text.contains("DONE") && !text.contains("LOADING")
            });
            std::thread::sleep(SETTLE);
            let window = Window::look(&pty, pty.pid(), SECONDS);
            let what = "idle: a finished run watched";
            self.report.bytes(what, size, IDLE, &window);
            self.report.cpu(what, size, &window);
        }
    }

    /// Measures a replay at the run's original speed.
    fn replay(&mut self) {
        let place = place_at(Moment::Healthy);
        for size in [SMALL, LARGE] {
            let args = ["replay", journal::NAME, "--at", "250000", "--speed", "1"];
            let pty = self.start(&place, &args, size);
            pty.see_that("the replay", |text| {
                text.contains("REPLAY") && !text.contains("LOADING")
            });
            std::thread::sleep(SETTLE);
            let window = Window::look(&pty, pty.pid(), SECONDS);
            let what = "a replay playing, as fast as it happened";
            self.report.bytes(what, size, LIVE, &window);
            self.report.cpu(what, size, &window);
        }
    }

    fn live(&mut self) {
        let mut training = Training::start(&self.program);
        let pid = training.process.0;
        let what = "live: training with every panel changing";
        for size in [LARGE, SMALL] {
            training.pty.resize(size.0, size.1);
            std::thread::sleep(SETTLE);
            let window = Window::look(&training.pty, pid, SECONDS);
            self.report.bytes(what, size, LIVE, &window);
            self.report.cpu(what, size, &window);
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let taken = window.percent() / cores as f64;
            let used = window.training_percent() / cores as f64;
            let more = format!("; training used {used:.0} %");
            let what = format!("{what}, {}x{}, taken from training", size.0, size.1);
            self.report
                .line(&what, taken, SLOWED, "% of all cores", &more);
        }
        training.pty.press("p");
        training.pty.see("PAUSED");
        std::thread::sleep(SETTLE);
        let window = Window::look(&training.pty, pid, SECONDS);
        let what = "idle: a paused run";
        self.report.bytes(what, SMALL, PAUSED, &window);
        self.report.cpu(what, SMALL, &window);
    }

    fn keys(&mut self) {
        let mut training = Training::start(&self.program);
        std::thread::sleep(SETTLE);
        let latencies = keys::press_all(&mut training.pty, LARGE);
        let more = format!(
            "; {} keys, median {:.2} ms, max {:.2} ms",
            latencies.keys(),
            latencies.quantile(0.5),
            latencies.quantile(1.0)
        );
        let p99 = latencies.quantile(0.99);
        let what = "live: key to frame, 200x60, 99 of 100";
        self.report.line(what, p99, KEY, "ms", &more);
        for (took, name) in latencies.slower_than(KEY) {
            match took.is_finite() {
                true => println!("  {took:.2} ms: {name}"),
                false => println!("  no frame before the next key: {name}"),
            }
        }
    }
}

/// A run in its second round, with reference, gap, ranks, evidence and an earlier round on screen.
struct Training {
    pty: Pty,
    /// The training process, which is ended with the bench.
    process: Background,
    _place: Place,
}

impl Training {
    fn start(program: &Path) -> Self {
        let place = Place::new();
        std::fs::write(place.path().join("recipe.toml"), RECIPE)
            .expect("a temporary directory can be written");
        let args = ["train", "recipe.toml", "--name", "measured"];
        let mut pty = Pty::start_program(program, &place, &args, LARGE, &[]);
        pty.see("reference");
        let lock = place.run_dir("measured").join("lock");
        let pid = wait("the lock", || {
            let text = std::fs::read_to_string(&lock).ok()?;
            let lock: serde_json::Value = serde_json::from_str(&text).ok()?;
            u32::try_from(lock["pid"].as_u64()?).ok()
        });
        let process = Background(pid);
        into_second_round(&mut pty);
        Self {
            pty,
            process,
            _place: place,
        }
    }
}

/// Waits for the end of the first round, grows, and postpones the end of the second round.
fn into_second_round(pty: &mut Pty) {
    let locked = || std::thread::sleep(Duration::from_millis(400));
    pty.see("GROW SUGGESTED");
    pty.press("D");
    pty.see("> grow by 2");
    locked();
    pty.press("\r");
    pty.see("Enter confirm");
    locked();
    pty.press("\r");
    pty.see("round 2 · 6 layers");
    pty.press(":");
    pty.see(" command ");
    locked();
    pty.press("extend 100000\r");
    pty.see("/100,030");
    pty.press("\x1b");
}
