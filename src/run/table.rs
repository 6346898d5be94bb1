//! The final table of a run as text: the reference, every round, the controls.

use super::controls::Control;
use super::event::{Phase, PhaseResult, RunInfo};
use super::losses;
use super::state::{BaselineResult, Core, RunState, Status};
pub use crate::text::plural;

/// Together no wider than an 80-column screen with a frame.
const HEADINGS: [&str; 8] = [
    "phase",
    "layers",
    "params",
    "steps",
    "val loss",
    "gap +/- s.e.",
    "tok/s",
    "lazy",
];
/// Columns of words; numbers are aligned to the right.
const WORDS: [usize; 1] = [0];

/// The table with its legend and the outcome, each line ended by a newline. ASCII only.
pub fn text(state: &RunState) -> String {
    render(state, true)
}

/// The table and the outcome alone.
pub fn brief(state: &RunState) -> String {
    render(state, false)
}

fn render(state: &RunState, with_legend: bool) -> String {
    let rows = rows(state);
    let mut out = String::new();
    if rows.len() == 1 {
        out.push_str("no phase has ended yet\n");
    } else {
        out.push_str(&aligned(&rows, &WORDS));
        if with_legend {
            push_legend(&mut out, state);
        }
    }
    out.push_str(&outcome(state));
    out.push('\n');
    out
}

fn rows(state: &RunState) -> Vec<[String; 8]> {
    let core = &state.core;
    let mut rows = vec![HEADINGS.map(String::from)];
    if let Some(reference) = &core.reference {
        rows.push(row("reference".into(), reference));
    }
    for round in &core.rounds {
        rows.push(row(format!("round {}", round.round), &round.result));
    }
    for compared in compared(core) {
        rows.push(row(ascii(&compared.short), compared.result));
    }
    rows
}

/// The result of a model that was trained for comparison.
#[derive(Debug)]
pub struct Compared<'a> {
    /// Its name, as from [`phase_name`].
    pub name: String,
    pub short: String,
    /// Its description; `None` if a newer program wrote it.
    pub legend: Option<String>,
    pub result: &'a PhaseResult,
}

/// Returns the results of the controls and the baselines, in order.
pub fn compared(core: &Core) -> impl Iterator<Item = Compared<'_>> {
    let controls = core.controls.iter().map(|c| {
        let known = Control::of_result(&c.name);
        let short = known.map_or(c.name.as_str(), |known| known.short);
        Compared {
            name: format!("control {short}"),
            short: short.into(),
            legend: known.map(|known| known.legend.into()),
            result: &c.result,
        }
    });
    let baselines = core.baselines.iter().map(|b| Compared {
        name: format!("baseline {}", b.short()),
        short: b.short(),
        legend: Some(baseline_legend(b)),
        result: &b.result,
    });
    controls.chain(baselines)
}

/// `baseline, start half_width, 300 steps`.
fn baseline_legend(baseline: &BaselineResult) -> String {
    let objective = match baseline.objective.as_str() {
        "ce" => String::new(),
        other => format!(", {other}"),
    };
    let steps = plural(
        usize::try_from(baseline.result.steps).unwrap_or(usize::MAX),
        "step",
    );
    format!(
        "baseline, start {}, {steps}{objective}",
        baseline.result.start
    )
}

fn row(phase: String, r: &PhaseResult) -> [String; 8] {
    let gap = match (r.gap, r.gap_stderr.filter(|e| e.is_finite())) {
        (Some(gap), Some(stderr)) => format!("{gap:+.4} +/- {stderr:.4}"),
        (Some(gap), None) => format!("{gap:+.4}"),
        (None, _) => "-".into(),
    };
    [
        phase,
        r.layers.to_string(),
        count(r.parameters),
        r.steps.to_string(),
        losses::loss_words(r.val_loss, f64::NAN),
        gap,
        count(r.tokens_per_second.max(0.0) as u64),
        lazy(r),
    ]
}

/// `3 of 8`, or `-` when ranks were not measured.
fn lazy(r: &PhaseResult) -> String {
    if r.max_rank.is_empty() && r.lazy_layers.is_empty() {
        "-".into()
    } else {
        format!("{} of {}", r.lazy_layers.len(), r.layers)
    }
}

/// Four digits at most: `812`, `1.61M`, `355M`.
pub fn count(n: u64) -> String {
    let x = n as f64;
    let (value, unit) = match n {
        0..10_000 => return n.to_string(),
        10_000..1_000_000 => (x / 1e3, "k"),
        1_000_000..1_000_000_000 => (x / 1e6, "M"),
        _ => (x / 1e9, "B"),
    };
    match value {
        v if v < 10.0 => format!("{v:.2}{unit}"),
        v if v < 100.0 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

/// Rows as lines of aligned columns, two spaces apart. Columns in `words` are aligned to the left, the others to the
/// right; a column without any text is left out.
pub fn aligned<const N: usize>(rows: &[[String; N]], words: &[usize]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        let shown = row.iter().zip(widths).enumerate();
        for (i, (cell, width)) in shown.filter(|(_, (_, width))| *width > 0) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&if words.contains(&i) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn push_legend(out: &mut String, state: &RunState) {
    out.push_str(
        "gap: mean paired difference of the validation loss to the reference in nats,\n\
         with its standard error over the same windows; positive: worse than it\n",
    );
    let windows = state.info.as_ref().and_then(|i| i.eval_windows);
    if let Some(words) = windows.and_then(|w| w.words()) {
        out.push_str(&format!("evaluated on {words}\n"));
    }
    if let Some(words) = state.info.as_ref().and_then(RunInfo::dtype_words) {
        out.push_str(&format!("products computed in {}\n", ascii(&words)));
    }
    if let Some((n, factor)) = state.understated_errors() {
        out.push_str(&format!(
            "errors take {n} overlapping windows as independent: {factor:.1} times too small\n"
        ));
    }
    if windows.is_some_and(|w| w.warning().is_some()) {
        out.push_str("one window of validation text: gaps have no error, nothing can match\n");
    }
    for compared in compared(&state.core) {
        if let Some(legend) = compared.legend {
            out.push_str(&format!("{}: {}\n", ascii(&compared.short), ascii(&legend)));
        }
    }
}

/// Describes in one line how the run ended, or its present state.
pub fn outcome(state: &RunState) -> String {
    let core = &state.core;
    let message = match core.message.as_str() {
        "" => String::new(),
        message => format!(" - {}", ascii(message)),
    };
    match (core.status, core.outcome) {
        (Status::Failed, _) => format!("outcome: failed{message}"),
        (Status::Done, Some(outcome)) => format!("outcome: {outcome}{message}"),
        (Status::Done, None) => format!("outcome: done{message}"),
        (status, _) => {
            let phase = core.phase.as_ref().map_or(String::new(), |now| {
                format!(
                    ", {} at step {} of {}",
                    phase_name(&now.phase),
                    core.phase_step,
                    now.due
                )
            });
            format!("outcome: none yet ({status}{phase})")
        }
    }
}

/// `round 2`, `reference`, ...
pub fn phase_name(phase: &Phase) -> String {
    match phase {
        Phase::Round(n) => format!("round {n}"),
        Phase::Control(control) => format!("control {}", control.short),
        Phase::Baseline(baseline) => format!("baseline {}", baseline.short()),
        other => ascii(&other.to_string()),
    }
}

/// Sanitises text from a journal for any terminal: every character that is not printable ASCII becomes `?`.
pub fn ascii(text: &str) -> String {
    text.replace('±', "+/- ")
        .chars()
        .map(|c| match c {
            ' '..='~' => c,
            '\t' | '\n' => ' ',
            '→' => '>',
            '–' | '—' => '-',
            _ => '?',
        })
        .collect()
}

/// Bytes in decimal units: kB below a megabyte, MB below ten gigabytes, GB above.
pub fn bytes(n: u64) -> String {
    let x = n as f64;
    match n {
        0..1_000_000 => format!("{:.1} kB", x / 1e3),
        1_000_000..10_000_000_000 => format!("{:.0} MB", x / 1e6),
        _ => format!("{:.1} GB", x / 1e9),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::run::event::{Outcome, Start};
    use crate::run::state::{ControlResult, RoundResult};

    pub fn result(layers: usize, gap: Option<f64>, start: Start) -> PhaseResult {
        PhaseResult {
            layers,
            parameters: 200_000 * layers as u64,
            steps: 200,
            tokens: 204_800,
            val_loss: 1.65 + gap.unwrap_or(0.0),
            stderr: 0.012,
            gap,
            gap_stderr: gap.map(|_| 0.0045),
            tokens_per_second: 12_345.6,
            tokens_per_second_wall: 11_000.0,
            lazy_layers: (layers - 1..layers).collect(),
            max_rank: vec![2.0; layers],
            start,
            matched: gap.is_some_and(|g| g <= 0.0),
        }
    }

    /// A finished run of two rounds and both controls.
    pub fn finished() -> RunState {
        let mut state = RunState::default();
        let core = &mut state.core;
        core.status = Status::Done;
        core.outcome = Some(Outcome::Matched);
        core.message = "round 2 matched the reference".into();
        core.reference = Some(result(8, None, Start::Random));
        core.rounds = vec![
            RoundResult {
                round: 1,
                result: result(4, Some(0.0412), Start::Inherit),
            },
            RoundResult {
                round: 2,
                result: result(6, Some(-0.0021), Start::Restart),
            },
        ];
        core.controls = vec![
            ControlResult {
                name: "random".into(),
                result: result(6, Some(0.2), Start::Random),
            },
            ControlResult {
                name: "reference_continued".into(),
                result: result(8, Some(-0.05), Start::Reference),
            },
        ];
        state
    }

    #[test]
    fn the_table_is_aligned_ascii() {
        let text = text(&finished());
        let wanted = "\
phase      layers  params  steps  val loss        gap +/- s.e.  tok/s    lazy
reference       8   1.60M    200    1.6500                   -  12.3k  1 of 8
round 1         4    800k    200    1.6912  +0.0412 +/- 0.0045  12.3k  1 of 4
round 2         6   1.20M    200    1.6479  -0.0021 +/- 0.0045  12.3k  1 of 6
random          6   1.20M    200    1.8500  +0.2000 +/- 0.0045  12.3k  1 of 6
continued       8   1.60M    200    1.6000  -0.0500 +/- 0.0045  12.3k  1 of 8
gap: mean paired difference of the validation loss to the reference in nats,
with its standard error over the same windows; positive: worse than it
random: control, random weights in the final size, same number of steps
continued: control, the reference trained further, same number of steps
outcome: matched - round 2 matched the reference
";
        assert_eq!(text, wanted);
        assert!(text.is_ascii());
        assert!(
            text.lines().all(|line| line.len() <= 78),
            "fits into 80 columns with a frame"
        );
    }

    #[test]
    fn an_unfinished_run_says_so() {
        let state = RunState::default();
        assert_eq!(
            text(&state),
            "no phase has ended yet\noutcome: none yet (empty)\n"
        );
        let mut state = finished();
        state.core.status = Status::Failed;
        state.core.message = "loss is not a number\u{1b}[2J".into();
        assert!(text(&state).ends_with("outcome: failed - loss is not a number?[2J\n"));
    }

    #[test]
    fn counts_take_four_digits() {
        let all = [
            0,
            9_999,
            12_345,
            999_999,
            1_606_400,
            14_500_000,
            355_000_000,
            1_500_000_000,
        ];
        let said = all.map(count);
        let wanted = [
            "0", "9999", "12.3k", "1000k", "1.61M", "14.5M", "355M", "1.50B",
        ];
        assert_eq!(said, wanted);
    }
}
