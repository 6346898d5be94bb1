//! Compares forecasts with the results of trainings: 12 small runs (`tests/fixtures/runs/forecast`, made by
//! `scripts/forecast_own_runs.sh` and `scripts/make_forecast_fixtures.py`) and, if HEIRLOOM_DATA has them, published logs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heirloom::config::Schedule;
use heirloom::run::event::{Body, Interval, Phase, Plateau, Prospect, Verdict};
use heirloom::run::forecast::{self, Curve, Known, Past, read_log};
use heirloom::run::schedule::{Course, LearningRate};
use heirloom::run::state::RunState;
use heirloom::run::tail::{Tail, load};

/// An evaluation of a round or a control, and the forecast of the phase's end then.
struct Row {
    is_round: bool,
    step: u64,
    steps: u64,
    expected: Option<Interval>,
    plateau: Plateau,
    last: f64,
    /// Extrapolation by a line in ln(step) through the last six evaluations.
    line: f64,
    truth: f64,
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn by_line(points: &[(u64, f64)], to: u64) -> f64 {
    let all: Vec<(f64, f64)> = points
        .iter()
        .filter(|p| p.0 > 0)
        .map(|p| ((p.0 as f64).ln(), p.1))
        .collect();
    let six = &all[all.len().saturating_sub(6)..];
    if six.len() < 2 {
        return points.last().unwrap().1;
    }
    let (mx, my) = (mean(six.iter().map(|p| p.0)), mean(six.iter().map(|p| p.1)));
    let xy: f64 = six.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let xx: f64 = six.iter().map(|p| (p.0 - mx).powi(2)).sum();
    my + xy / xx * ((to as f64).ln() - mx)
}

/// Folds a run's journal, and makes a forecast after each evaluation.
fn rows_of(run: &Path) -> Vec<Row> {
    let mut state = RunState::default();
    let mut rows: Vec<(Phase, Row)> = Vec::new();
    let mut ends: HashMap<Phase, f64> = HashMap::new();
    let mut journal = Tail::open(run);
    loop {
        for item in journal.poll().unwrap() {
            item.apply_to(&mut state);
            let heirloom::run::tail::TailItem::Event(event) = &item else {
                panic!("{}: {:?}", run.display(), item.skipped());
            };
            let Body::Eval(eval) = &event.body else {
                continue;
            };
            if event.phase == Phase::Reference {
                continue;
            }
            ends.insert(event.phase.clone(), eval.val_loss());
            let known = state.known().unwrap();
            if event.phase_step >= known.due {
                continue;
            }
            let outlook = known.outlook();
            let row = Row {
                is_round: matches!(event.phase, Phase::Round(_)),
                step: event.phase_step,
                steps: known.due,
                expected: outlook.forecast.final_loss,
                plateau: outlook.plateau,
                last: eval.val_loss(),
                line: by_line(known.curve.points(), known.due),
                truth: f64::NAN,
            };
            rows.push((event.phase.clone(), row));
        }
        if journal.caught_up() {
            break;
        }
    }
    let ended = |(phase, row): (Phase, Row)| Row {
        truth: ends[&phase],
        ..row
    };
    rows.into_iter().map(ended).collect()
}

fn fixtures() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/forecast");
    let entries = std::fs::read_dir(all).unwrap();
    let mut runs: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    runs.sort();
    assert_eq!(runs.len(), 12);
    runs
}

fn held(interval: &Interval, truth: f64) -> bool {
    interval.low <= truth && truth <= interval.high
}

#[test]
fn our_own_runs_come_to_what_was_expected() {
    let rows: Vec<Row> = fixtures().iter().flat_map(|run| rows_of(run)).collect();
    assert_eq!(rows.len(), 24 * 20);
    let at = |percent: u64| {
        let rows = rows.iter();
        rows.filter(move |r| 100 * r.step == percent * r.steps)
    };
    // At 40 % every round has a forecast, whose error is at most half of that of the last loss and of the line.
    let rounds = || at(40).filter(|r| r.is_round);
    let error = mean(rounds().map(|r| (r.expected.unwrap().value - r.truth).abs()));
    let stays = mean(rounds().map(|r| (r.last - r.truth).abs()));
    let line = mean(rounds().map(|r| (r.line - r.truth).abs()));
    assert!(error <= stays / 2.0, "{error} against {stays}");
    assert!(error <= line / 2.0, "{error} against {line}");
    // A plateau must not be reported as likely while the loss will still fall by more than 0.01 nats.
    for row in &rows {
        let fall = row.last - row.truth;
        let is_kept = row.plateau != Plateau::Likely || fall <= forecast::PLATEAU;
        assert!(is_kept, "{fall} to come at step {}", row.step);
    }
    // Intervals that should contain nine of ten results contain at least three quarters.
    let judged = || [40, 60, 80].into_iter().flat_map(at);
    let given = judged().filter_map(|r| Some((r.expected?, r.truth)));
    let kept: Vec<bool> = given.map(|(i, truth)| held(&i, truth)).collect();
    assert_eq!(kept.len(), 72);
    let share = mean(kept.iter().map(|&held| f64::from(u8::from(held))));
    assert!(share >= 0.75, "{share}");
}

#[test]
fn a_loaded_run_has_what_was_folded() {
    for run in fixtures() {
        let known = load(&run).unwrap().known().unwrap();
        assert!(
            matches!(known.phase, Phase::Control(_)),
            "{:?}",
            known.phase
        );
        let past: Vec<&Phase> = known.past.iter().map(|p| &p.phase).collect();
        assert_eq!(past, [&Phase::Reference, &Phase::Round(1)]);
        assert!(
            known
                .past
                .iter()
                .all(|p| p.curve.course().schedule().is_some())
        );
        assert_eq!((known.step, known.due), (400, 400));
        assert_eq!(known.rounds.len(), 1);
        assert!(known.benchmark.is_some());
    }
}

/// A published pair: the reference's log, the smaller model's log, whether the smaller model began with random weights, and the peak.
type Pair = (&'static str, &'static str, bool, f64);
const PAIRS: [Pair; 7] = [
    (
        "medium-scratch/medium_log.txt",
        "medium-scratch/medium-half-init_log.txt",
        false,
        3e-4,
    ),
    (
        "medium-scratch/medium_log.txt",
        "medium-scratch/medium-init_14-.txt",
        false,
        3e-4,
    ),
    (
        "medium-scratch/medium_log.txt",
        "medium-scratch/medium-init_ly.txt",
        false,
        3e-4,
    ),
    (
        "medium-scratch/medium_log.txt",
        "medium-scratch/medium_log-ly16.txt",
        true,
        3e-4,
    ),
    (
        "fineweb-medium/val_full.txt",
        "fineweb-medium/val_init.txt",
        false,
        3e-4,
    ),
    (
        "fineweb-medium/val_full.txt",
        "fineweb-medium/val_16rand.txt",
        true,
        3e-4,
    ),
    (
        "xlarge-scratch/vanilla2.txt",
        "xlarge-scratch/xlarge_init_ly24.txt",
        false,
        1.5e-4,
    ),
];
const STEPS: u64 = 100_000;
/// Single published evaluations scatter by 0.005 to 0.025 nats: a smaller final gap counts as a tie.
const TIE: f64 = 0.006;

/// A forecast of a published pair, and the final gap.
struct Published {
    is_cold: bool,
    gap: Interval,
    verdict: Verdict,
    truth: f64,
    /// Whether mean and median of the last ten evaluations agree: a training that becomes unstable at its end cannot be
    /// forecast.
    is_steady: bool,
}

fn published(logs: &Path, pair: Pair, percent: u64) -> Published {
    let (reference, target, is_cold, peak) = pair;
    let read = |name| read_log(&std::fs::read_to_string(logs.join(name)).unwrap()).unwrap();
    let course = Course::planned(LearningRate {
        kind: Schedule::Cosine,
        peak,
        min: 1e-5,
        warmup: 2000,
        steps: STEPS,
    });
    let reference = Curve::new(read(reference), course.clone(), true);
    let target = Curve::new(read(target), course, is_cold);
    let ends = |curve: &Curve| {
        let points = curve.points();
        let mut last: Vec<f64> = points[points.len() - 10..].iter().map(|p| p.1).collect();
        last.sort_by(f64::total_cmp);
        (mean(last.iter().copied()), (last[4] + last[5]) / 2.0)
    };
    let (ours, theirs) = (ends(&target), ends(&reference));
    let truth = ours.0 - theirs.0;
    let curve = target.until(STEPS * percent / 100);
    let forecast = Known {
        phase: Phase::Round(1),
        layers: 0,
        step: curve.last().unwrap().0,
        curve,
        due: STEPS,
        benchmark: forecast::final_loss(&reference),
        past: vec![Past {
            phase: Phase::Reference,
            curve: reference,
        }],
        rounds: Vec::new(),
        round_steps: STEPS,
        tolerance: 0.0,
    }
    .forecast(Prospect::AsPlanned);
    Published {
        is_cold,
        gap: forecast.final_gap.unwrap(),
        verdict: forecast.verdict,
        truth,
        is_steady: (truth - (ours.1 - theirs.1)).abs() <= TIE,
    }
}

#[test]
fn published_trainings_come_to_what_was_expected() {
    let data = std::env::var_os("HEIRLOOM_DATA").map(PathBuf::from);
    let logs = data.map(|data| data.join("inheritune-logs"));
    let Some(logs) = logs.filter(|logs| logs.is_dir()) else {
        println!("skipped: HEIRLOOM_DATA names no directory with inheritune-logs");
        return;
    };
    for (percent, most) in [(20, 0.015), (50, 0.008)] {
        let all = PAIRS.map(|pair| published(&logs, pair, percent));
        for (is_cold, most) in [(false, most), (true, 0.03)] {
            let judged = all.iter().filter(|p| p.is_cold == is_cold && p.is_steady);
            let error = mean(judged.map(|p| (p.gap.value - p.truth).abs()));
            assert!(error <= most, "{percent} %, cold {is_cold}: {error}");
        }
        let is_wrong = |p: &&Published| match p.verdict {
            Verdict::WillMatch => p.truth > TIE,
            Verdict::WillNotMatch => p.truth < -TIE,
            _ => false,
        };
        assert_eq!(all.iter().filter(is_wrong).count(), 0, "{percent} %");
        let kept = all.iter().filter(|p| held(&p.gap, p.truth)).count();
        assert!(kept >= 6, "{percent} %: {kept} of 7");
        let warm = all.iter().filter(|p| !p.is_cold);
        let half = mean(warm.map(|p| p.gap.half_width()));
        assert!(half <= 0.035, "{percent} %: {half}");
    }
}
