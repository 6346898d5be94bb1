//! The table of the evidence: what was measured, and what it is held against.

use ratatui::text::{Line, Span};

use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::event::{Evidence, Forecast, Plateau, Suggestion};
use crate::run::trend;

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
    let forecast = |f: &Option<Forecast>| match f {
        Some(f) => format!("{:.4} ±{:.4}", f.val_loss, f.stderr),
        None => "insufficient data".into(),
    };
    let slope = slope_words(e.slope_per_1k.zip(e.slope_stderr));
    let doubtful = e.suggestion == Suggestion::InsufficientData || !e.val_loss.is_finite();
    let plateau = match (e.plateau, doubtful) {
        (Plateau::InsufficientData, true) => "insufficient data",
        (plateau, _) => plateau_words(plateau),
    };
    let benchmark = format!("{:.4}", e.benchmark);
    // A forecast for a step that has been reached is not shown.
    let now = scene.run.core.phase_step;
    let (ahead, reading) = match e.forecast {
        Some(f) if f.at_phase_step <= now => (
            "-".into(),
            format!("step {} is past", thousands(f.at_phase_step)),
        ),
        Some(f) => (
            forecast(&e.forecast),
            format!("at step {}", thousands(f.at_phase_step)),
        ),
        None => (forecast(&None), String::new()),
    };
    let mut lines = vec![
        Line::styled(
            format!("{:<9}{:<18}{:<8}reading", "", "now", "ref"),
            theme.dim,
        ),
        cells(
            "val loss",
            &trend::loss_words(e.val_loss, e.stderr),
            &benchmark,
            &format!("gap {}", trend::gap_words(Some(e.gap), Some(e.gap_stderr))),
        ),
        cells("slope/1k", &slope, "", &format!("plateau: {plateau}")),
        cells("forecast", &ahead, &benchmark, &reading),
        cells("  grown", &forecast(&e.forecast_grown), &benchmark, ""),
        cells(
            "lazy",
            &format!("{} of {}", e.lazy_layers.len(), e.layers),
            &format!(
                "{} of {}",
                e.reference_lazy_layers.len(),
                e.reference_layers
            ),
            "",
        ),
    ];
    if let Some(g) = &e.growth {
        let sources: Vec<String> = g.source_layers.iter().map(usize::to_string).collect();
        let sources = format!("reference layers {}", sources.join(","));
        lines.push(cells("growing", &sources, "", ""));
    } else {
        lines.push(cells("growing", "no layer is left to inherit", "", ""));
    }
    lines
}

/// Returns a slope per 1000 steps with its standard error in words.
pub fn slope_words(slope: Option<(f64, f64)>) -> String {
    match slope {
        Some((slope, stderr)) => {
            // The error's second figure is the last that means anything.
            let decimals = (1.0 - stderr.abs().max(1e-9).log10().floor()).clamp(0.0, 4.0) as usize;
            format!("{slope:+.decimals$} ±{stderr:.decimals$}")
        }
        None => "-".into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_have_as_many_figures_as_their_errors_are_worth() {
        let text = |slope, stderr| slope_words(Some((slope, stderr)));
        assert_eq!(text(-0.00412, 0.00313), "-0.0041 ±0.0031");
        assert_eq!(text(-10.823, 1.92), "-10.8 ±1.9");
        assert_eq!(text(-312.7, 45.0), "-313 ±45");
        assert_eq!(text(0.0, 0.0), "+0.0000 ±0.0000");
    }
}
