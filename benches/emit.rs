//! Measures the cost of an event for the trainer: `cargo bench --bench emit`.
//!
//! A run of a million steps is folded. Then events are emitted into a journal on disk for ten seconds, while another thread draws
//! a frame of 200x60 from the run every 10 ms. Prints percentiles of the time to emit an event; the exit code is 1 if the 99th
//! is not below 100 us. On a busy machine the scheduler interrupts the emitting thread for milliseconds; a second line leaves
//! out the events of such interruptions.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heirloom::dashboard::still;
use heirloom::run::control::hub::Hub;
use heirloom::run::event::{Body, Event, FORMAT_VERSION, Phase, PhaseEvent, Start, TrainMetrics};
use heirloom::run::journal::{Journal, Stamp};
use heirloom::run::presence::Presence;
use heirloom::run::shared::SharedRun;
use heirloom::run::state::RunState;
use nix::sys::resource::{UsageWho, getrusage};

const STEPS: u64 = 1_000_000;
const FRAME_EVERY: Duration = Duration::from_millis(10);
const FRAME_SIZE: (u16, u16) = (200, 60);
const EMITTING: Duration = Duration::from_secs(10);
/// Time between two events; a trainer emits far fewer.
const PAUSE: Duration = Duration::from_micros(100);
const LIMIT: Duration = Duration::from_micros(100);

fn train(step: u64) -> Body {
    Body::Train(TrainMetrics {
        loss: Some(2.0 + 8.0 / (1.0 + step as f64 / 1000.0) + (step % 17) as f64 / 100.0),
        nonfinite: None,
        lr: 1e-3,
        grad_norm: Some(1.0),
        tokens: 1024 * step,
        tokens_per_second: 1e5,
        ..Default::default()
    })
}

fn stamp(step: u64) -> Stamp {
    Stamp {
        step,
        phase: Phase::Round(1),
        phase_step: step,
        branch: 0,
    }
}

/// Returns the run after a million steps.
fn past() -> RunState {
    let mut state = RunState::default();
    let mut apply = |seq: u64, body: Body| {
        state.apply(&Event {
            v: FORMAT_VERSION,
            seq,
            t: seq as i64,
            elapsed: seq as f64 / 1000.0,
            step: seq,
            phase: Phase::Round(1),
            phase_step: seq,
            branch: 0,
            body,
        });
    };
    apply(
        1,
        Body::Phase(PhaseEvent {
            layers: 12,
            parameters: 1_000_000,
            steps: 2 * STEPS,
            start: Start::Inherit,
            source_layers: (0..12).collect(),
            result: None,
            schedule: None,
            planned: Vec::new(),
        }),
    );
    (2..=STEPS).for_each(|seq| apply(seq, train(seq)));
    state
}

/// Returns the number of times that the scheduler has interrupted the calling thread.
fn interruptions() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the kernel counts them");
    usage.involuntary_context_switches()
}

/// Draws frames until `stop` is set. Returns the time of each copy of the state, and that of each frame.
fn draw(
    run: &SharedRun,
    frames: &AtomicUsize,
    stop: &AtomicBool,
) -> (Vec<Duration>, Vec<Duration>) {
    let (mut state, mut copies, mut times) = (RunState::default(), Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        run.copy_to(&mut state);
        copies.push(begun.elapsed());
        let _ = still(&state, FRAME_SIZE);
        times.push(begun.elapsed());
        frames.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(FRAME_EVERY.saturating_sub(begun.elapsed()));
    }
    (copies, times)
}

/// Prints percentiles. Returns the 99th.
fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let (p50, p99, max) = (at(50), at(99), at(100));
    println!(
        "{what:<42} {:>7} times  p50 {:>8.1} us  p99 {:>8.1} us  max {:>8.1} us",
        times.len(),
        us(p50),
        us(p99),
        us(max)
    );
    p99
}

fn main() -> ExitCode {
    let (run, observer) = SharedRun::begin(past()).expect("a thread that folds");
    run.add_sink(Hub::new(Presence::new(true), Arc::clone(&run)).sink());
    let dir = tempfile::tempdir().expect("a directory for the journal");
    let mut journal = Journal::create(dir.path()).expect("a journal");
    journal.skip_past(STEPS);
    journal.subscribe(observer);
    let (frames, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let ((emitted, interrupted), (copies, drawn)) = std::thread::scope(|scope| {
        let drawing = scope.spawn(|| draw(&run, &frames, &stop));
        while frames.load(Ordering::Relaxed) < 3 {
            std::thread::sleep(FRAME_EVERY);
        }
        let (mut times, mut interrupted) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        for step in STEPS + 1.. {
            if begun.elapsed() > EMITTING {
                break;
            }
            let (before, one) = (interruptions(), Instant::now());
            journal.emit(stamp(step), train(step));
            times.push(one.elapsed());
            interrupted.push(interruptions() > before);
            std::thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Relaxed);
        (
            (times, interrupted),
            drawing.join().expect("frames are drawn"),
        )
    });
    drop(journal);
    assert!(run.wait_for_end(Duration::from_secs(60)));
    assert_eq!(run.folded(), emitted.len() as u64, "every event is folded");
    report("copying the state of a million steps", copies);
    report("copying and drawing, 200x60", drawn);
    let undisturbed = emitted.iter().zip(interrupted);
    let undisturbed = undisturbed.filter_map(|(time, interrupted)| (!interrupted).then_some(*time));
    let undisturbed = undisturbed.collect();
    let p99 = report("emitting, with a frame every 10 ms", emitted);
    report("those that the scheduler did not interrupt", undisturbed);
    let (verdict, code) = match p99 < LIMIT {
        true => ("ok", ExitCode::SUCCESS),
        false => ("FAIL", ExitCode::FAILURE),
    };
    println!("emit p99: limit {} us  {verdict}", LIMIT.as_micros());
    code
}
