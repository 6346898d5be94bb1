//! The table of the evidence: measured values, the expected result of each choice, and the values for comparison.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::event::{Evidence, Forecast, GrowthCost, Plateau, Prospect, Suggestion, Verdict};
use crate::run::losses;
use crate::text;

/// Columns of the labels.
const LABEL: usize = 9;

/// A row of losses and gaps.
struct Row {
    label: String,
    loss: String,
    gap: String,
    /// The meaning of the gap, in wordings from the longest to the shortest.
    readings: Vec<String>,
    style: Style,
}

/// Returns the table in lines of at most `width` columns, if the wording can be shortened to that. The rows about a growth are for
/// `add` layers; if that is `None`, for the number that the evidence suggests.
pub fn measured(
    scene: &Scene<'_>,
    e: &Evidence,
    add: Option<usize>,
    width: usize,
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut rows = vec![
        Row {
            label: String::new(),
            loss: "val loss".into(),
            gap: "gap".into(),
            readings: Vec::new(),
            style: theme.dim,
        },
        Row {
            label: "now".into(),
            loss: losses::loss_words(e.val_loss, e.stderr),
            gap: losses::gap_words(Some(e.gap), Some(e.gap_stderr)),
            readings: vec![format!("ref {:.4}", e.benchmark)],
            style: theme.plain,
        },
    ];
    let now = scene.run.core.phase_step;
    rows.extend(e.forecasts.iter().map(|f| match (f.prospect, add) {
        (Prospect::Grow { layers }, Some(add)) if layers != add => {
            forecast_row(scene, &growth_by(scene, f, add), now)
        }
        _ => forecast_row(scene, f, now),
    }));
    let mut lines = aligned(scene, &rows, width);
    let cells = |label: &str, text: &str| {
        Line::from(vec![
            Span::styled(format!("{label:<LABEL$}"), theme.dim),
            Span::styled(scene.text(text), theme.plain),
        ])
    };
    let doubtful = e.suggestion == Suggestion::InsufficientData || !e.val_loss.is_finite();
    let plateau = match (e.plateau, doubtful) {
        (Plateau::InsufficientData, true) => "insufficient data",
        (plateau, _) => plateau_words(plateau),
    };
    let (lazy, all) = (e.lazy_layers.len(), e.layers);
    let (lazy_there, all_there) = (e.reference_lazy_layers.len(), e.reference_layers);
    let lazy = format!("{plateau}, lazy {lazy} of {all} (ref {lazy_there} of {all_there})");
    lines.push(cells("plateau", &lazy));
    lines.push(match &e.growth {
        Some(growth) => {
            let copies = scene.run.info.as_ref();
            let copies = copies.is_some_and(|i| i.grow_source.copies());
            let add = add.unwrap_or(growth.add);
            let text = match sources(e, growth, add, copies) {
                Some(sources) => {
                    let of = match copies {
                        true => "copies of reference layers",
                        false => "reference layers",
                    };
                    let sources: Vec<String> = sources.iter().map(usize::to_string).collect();
                    format!("{of} {}", sources.join(","))
                }
                None => format!("by {}", text::plural(add, "layer")),
            };
            cells("growing", &text)
        }
        None => cells("growing", "no layer is left to inherit"),
    });
    lines
}

/// Returns the forecast for a growth by `add` layers, which the evidence does not have. `like` is its forecast for another number.
fn growth_by(scene: &Scene<'_>, like: &Forecast, add: usize) -> Forecast {
    let prospect = Prospect::Grow { layers: add };
    let known = scene.run.prospect(prospect);
    known.map_or_else(
        || Forecast {
            prospect,
            final_loss: None,
            final_gap: None,
            verdict: Verdict::InsufficientData,
            ..like.clone()
        },
        |known| Forecast::clone(&known),
    )
}

/// Returns the layers of the reference that a growth by `add` layers takes; `None` if the evidence does not have them. A smaller
/// growth that does not copy takes the first ones of `growth`.
fn sources<'a>(
    e: &'a Evidence,
    growth: &'a GrowthCost,
    add: usize,
    copies: bool,
) -> Option<&'a [usize]> {
    let mut all = std::iter::once(growth).chain(&e.costs);
    match all.find(|cost| cost.add == add) {
        Some(cost) => Some(&cost.source_layers),
        None if copies => None,
        None => growth.source_layers.get(..add),
    }
}

/// Returns the row of a choice with its expected loss and gap.
fn forecast_row(scene: &Scene<'_>, forecast: &Forecast, now: u64) -> Row {
    let theme = scene.theme;
    let label = match forecast.prospect {
        Prospect::AsPlanned => "at end".into(),
        Prospect::TrainOn { .. } => "train on".into(),
        Prospect::Grow { layers } => format!("grow {layers}"),
    };
    let at = thousands(forecast.at_phase_step);
    let is_past =
        forecast.at_phase_step <= now && !matches!(forecast.prospect, Prospect::Grow { .. });
    let only = |loss: String| Row {
        label: label.clone(),
        loss,
        gap: String::new(),
        readings: Vec::new(),
        style: theme.plain,
    };
    // A forecast for a step that has been reached is not shown.
    if is_past {
        return only(format!("- (step {at} is past)"));
    }
    let (Some(loss), gap) = (forecast.loss_words(), forecast.gap_words()) else {
        return only("insufficient data".into());
    };
    let (readings, style) = match gap {
        None => (vec![format!("@{at}"), String::new()], theme.plain),
        Some(_) => {
            let verdict = forecast.verdict;
            let short = match verdict {
                Verdict::WillNotMatch => "no match".into(),
                Verdict::TooClose => "too close".into(),
                verdict => verdict.to_string(),
            };
            let readings = vec![format!("{verdict} @{at}"), verdict.to_string(), short];
            (readings, verdict_style(scene, verdict))
        }
    };
    Row {
        label,
        loss,
        gap: gap.unwrap_or_default(),
        readings,
        style,
    }
}

/// Aligns the rows in columns, with the longest wording with which all rows fit, else the shortest.
fn aligned(scene: &Scene<'_>, rows: &[Row], width: usize) -> Vec<Line<'static>> {
    let shown = |cell: &str| scene.text(cell);
    // A row without a gap may extend into the next column.
    let table = rows.iter().filter(|row| !row.gap.is_empty());
    let widths = table.map(|row| {
        (
            text::width(&shown(&row.loss)),
            text::width(&shown(&row.gap)),
        )
    });
    let (loss, gap) = widths.fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let reading = |row: &Row, level: usize| {
        let level = level.min(row.readings.len().saturating_sub(1));
        shown(row.readings.get(level).map_or("", String::as_str))
    };
    let line = |row: &Row, level: usize| {
        let (label, style) = (&row.label, row.style);
        let fill = |cell: &str, width: usize| format!("{:<width$}", shown(cell));
        Line::from(vec![
            Span::styled(format!("{label:<LABEL$}"), scene.theme.dim),
            Span::styled(format!("{} ", fill(&row.loss, loss)), calm(scene, row)),
            Span::styled(format!("{} ", fill(&row.gap, gap)), calm(scene, row)),
            Span::styled(reading(row, level), style),
        ])
    };
    let all =
        |level: usize| -> Vec<Line<'static>> { rows.iter().map(|r| line(r, level)).collect() };
    let fits = |lines: &Vec<Line<'static>>| lines.iter().all(|line| line.width() <= width);
    let wordings = (0..2).map(all).find(fits);
    wordings.unwrap_or_else(|| all(2))
}

/// Returns the style of a row's figures, so that only the verdict stands out.
fn calm(scene: &Scene<'_>, row: &Row) -> Style {
    match row.label.is_empty() {
        true => scene.theme.dim,
        false => scene.theme.plain,
    }
}

/// Returns the style of a verdict.
pub fn verdict_style(scene: &Scene<'_>, verdict: Verdict) -> Style {
    match verdict {
        Verdict::WillMatch => scene.theme.good,
        Verdict::WillNotMatch => scene.theme.warning,
        Verdict::TooClose | Verdict::InsufficientData => scene.theme.plain,
    }
}

/// Returns the verdict on a plateau in words.
pub fn plateau_words(plateau: Plateau) -> &'static str {
    match plateau {
        Plateau::Likely => "likely",
        Plateau::No => "no",
        Plateau::InsufficientData => "too early",
    }
}
