//! The decision panel: where the model stands against its reference, and whether a decision waits.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::{Scene, thousands};
use crate::run::event::{Plateau, Suggestion};
use crate::run::state::EvalPoint;
use crate::run::trend;

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut lines = figures(scene);
    lines.extend(call(scene, area.width >= 40));
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(text.block(scene.panel(" decision ".into())), area);
}

fn row(scene: &Scene<'_>, label: &str, value: &str, style: Style) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("{label:<8} "), scene.theme.dim),
        Span::styled(scene.text(value), style),
    ])
}

fn figures(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let (run, theme) = (scene.run, scene.theme);
    let evals = run.evals_of_phase();
    let began = run.core.phase.as_ref().map_or(0, |p| p.began_at);
    let last = evals.last();
    let mut lines = Vec::new();
    let val = last.map_or("-".into(), |e| {
        format!(
            "{:.4} @{}",
            e.val_loss,
            thousands(e.step.saturating_sub(began))
        )
    });
    lines.push(row(scene, "val", &val, theme.val));
    let (label, benchmark) = match &run.core.reference {
        Some(r) => (format!("ref {}L", r.layers), format!("{:.4}", r.val_loss)),
        None => ("ref".into(), "pending".into()),
    };
    lines.push(row(scene, &label, &benchmark, theme.reference));
    if let Some((gap, stderr)) = last.and_then(|e| e.gap.zip(e.gap_stderr)) {
        let style = if last.is_some_and(|e| e.matched) {
            theme.good
        } else {
            theme.plain
        };
        lines.push(row(scene, "gap", &format!("{gap:+.4} ±{stderr:.4}"), style));
    }
    let slope = trend::slope_per_1k(&losses(evals, began));
    let (slope_text, verdict) = slope_words(slope);
    lines.push(row(scene, "slope/1k", &slope_text, theme.plain));
    lines.push(row(scene, "plateau", verdict, theme.plain));
    if let Some(probe) = run.probe() {
        let (lazy, all) = (probe.lazy_layers.len(), probe.max_rank.len());
        let style = if lazy > 0 { theme.warning } else { theme.plain };
        lines.push(row(
            scene,
            "lazy",
            &format!("{lazy} of {all} layers"),
            style,
        ));
    }
    lines
}

fn losses(evals: &[EvalPoint], began: u64) -> Vec<(f64, f64)> {
    let finite = evals.iter().filter(|e| e.val_loss.is_finite());
    finite
        .map(|e| (e.step.saturating_sub(began) as f64, e.val_loss))
        .collect()
}

/// A slope per 1000 steps with its standard error, and the verdict on a plateau.
pub fn slope_words(slope: Option<(f64, f64)>) -> (String, &'static str) {
    let text = match slope {
        Some((slope, stderr)) => {
            // The error's second figure is the last that means anything.
            let decimals = (1.0 - stderr.abs().max(1e-9).log10().floor()).clamp(0.0, 4.0) as usize;
            format!("{slope:+.decimals$} ±{stderr:.decimals$}")
        }
        None => "-".into(),
    };
    let verdict = match trend::plateau(slope) {
        Plateau::Likely => "likely",
        Plateau::No => "no",
        Plateau::InsufficientData => "too early",
    };
    (text, verdict)
}

/// What the operator is called to do, if anything.
fn call(scene: &Scene<'_>, wide: bool) -> Vec<Line<'static>> {
    let (run, theme) = (scene.run, scene.theme);
    let Some(decision) = &run.core.decision else {
        return Vec::new();
    };
    let (word, style) = match decision.evidence.suggestion {
        Suggestion::Grow => ("▶ GROW SUGGESTED", theme.warning),
        Suggestion::Stop => ("▶ STOP SUGGESTED", theme.good),
        Suggestion::TrainOn => ("▶ TRAIN ON SUGGESTED", theme.plain),
    };
    let key = if scene.ui.read_only { "" } else { "  [D]" };
    let mut lines = vec![Line::from(vec![
        Span::styled(scene.text(word), style),
        Span::styled(key, theme.key),
    ])];
    if wide {
        lines.push(Line::default());
        lines.push(Line::styled(
            scene.text(&decision.evidence.why),
            theme.plain,
        ));
        let reason = format!(
            "({}, at step {})",
            decision.reason,
            thousands(decision.step)
        );
        lines.push(Line::styled(reason, theme.dim));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_have_as_many_figures_as_their_errors_are_worth() {
        let text = |slope, stderr| slope_words(Some((slope, stderr))).0;
        assert_eq!(text(-0.00412, 0.00313), "-0.0041 ±0.0031");
        assert_eq!(text(-10.823, 1.92), "-10.8 ±1.9");
        assert_eq!(text(-312.7, 45.0), "-313 ±45");
        assert_eq!(text(0.0, 0.0), "+0.0000 ±0.0000");
    }
}
