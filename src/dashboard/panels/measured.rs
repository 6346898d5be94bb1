//! The table of the evidence: what was measured, and what it is held against.

use ratatui::text::{Line, Span};

use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::event::{Evidence, Forecast, Plateau, Prospect, Suggestion};
use crate::run::losses;

/// Now, reference or limit, reading.
pub fn measured(scene: &Scene<'_>, e: &Evidence) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let cells = |label: &str, now: &str, limit: &str, reading: &str| {
        let [now, limit, reading] = [now, limit, reading].map(|cell| scene.text(cell));
        Line::from(vec![
            Span::styled(format!("{label:<9}"), theme.dim),
            Span::styled(format!("{now:<18}{limit:<8}{reading}"), theme.plain),
        ])
    };
    let doubtful = e.suggestion == Suggestion::InsufficientData || !e.val_loss.is_finite();
    let plateau = match (e.plateau, doubtful) {
        (Plateau::InsufficientData, true) => "insufficient data",
        (plateau, _) => plateau_words(plateau),
    };
    let benchmark = format!("{:.4}", e.benchmark);
    let mut lines = vec![
        Line::styled(
            format!("{:<9}{:<18}{:<8}reading", "", "now", "ref"),
            theme.dim,
        ),
        cells(
            "val loss",
            &losses::loss_words(e.val_loss, e.stderr),
            &benchmark,
            &format!("gap {}", losses::gap_words(Some(e.gap), Some(e.gap_stderr))),
        ),
    ];
    lines.extend(e.forecasts.iter().map(|f| {
        let (label, now, reading) = forecast_cells(f, scene.run.core.phase_step);
        cells(&label, &now, &benchmark, &reading)
    }));
    lines.push(cells("plateau", plateau, "", ""));
    lines.push(cells(
        "lazy",
        &format!("{} of {}", e.lazy_layers.len(), e.layers),
        &format!(
            "{} of {}",
            e.reference_lazy_layers.len(),
            e.reference_layers
        ),
        "",
    ));
    if let Some(g) = &e.growth {
        let sources: Vec<String> = g.source_layers.iter().map(usize::to_string).collect();
        let sources = format!("reference layers {}", sources.join(","));
        lines.push(cells("growing", &sources, "", ""));
    } else {
        lines.push(cells("growing", "no layer is left to inherit", "", ""));
    }
    lines
}

/// A choice, the loss that it is expected to come to, and the gap there or the verdict.
fn forecast_cells(forecast: &Forecast, now: u64) -> (String, String, String) {
    let label = match forecast.prospect {
        Prospect::AsPlanned => "at end".into(),
        Prospect::TrainOn { .. } => "train on".into(),
        Prospect::Grow { layers } => format!("grow {layers}"),
    };
    let at = thousands(forecast.at_phase_step);
    let is_past =
        forecast.at_phase_step <= now && !matches!(forecast.prospect, Prospect::Grow { .. });
    match (forecast.final_loss, forecast.final_gap) {
        // A forecast for a step that has been reached is not shown.
        _ if is_past => (label, "-".into(), format!("step {at} is past")),
        (None, _) => (label, "insufficient data".into(), String::new()),
        (Some(loss), None) => (label, loss.to_string(), format!("@{at}")),
        (Some(loss), Some(gap)) => {
            let gap = losses::gap_words(Some(gap.value), Some(gap.half_width()));
            (
                label,
                loss.to_string(),
                format!("gap {gap} @{at}: {}", forecast.verdict),
            )
        }
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
