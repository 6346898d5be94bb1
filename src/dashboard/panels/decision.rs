//! The decision panel: where the model stands against its reference, and whether a decision waits.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::evidence;
use super::measured::{plateau_words, slope_words};
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::state::EvalPoint;
use crate::run::table;
use crate::run::trend::{self, Trend};

/// From this width on the panel has the whole evidence with its tables.
const TABLES: u16 = 66;

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let wide = area.width >= 40;
    let mut lines = figures(scene, wide);
    match area.width >= TABLES {
        true => {
            lines.push(Line::default());
            lines.extend(evidence::lines(scene, area.width - 2));
        }
        false => lines.extend(call(scene, wide)),
    }
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let mut block = scene.panel(" decision ".into());
    // The figures above may be newer than what the suggestion rests on.
    let open = scene.run.core.decision.as_ref();
    if let Some(age) = open
        .map(|d| d.age(scene.run.core.step))
        .filter(|&age| age > 0)
    {
        let text = format!("evidence {} steps old", table::count(age));
        block = block.title_bottom(Span::styled(text, scene.theme.warning));
    }
    frame.render_widget(text.block(block), area);
}

/// The decision in a line or two, where there is no room for the panel.
pub fn brief(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let mut lines = call(scene, false);
    let (run, theme) = (scene.run, scene.theme);
    if let (Some(decision), Some(call)) = (&run.core.decision, lines.first_mut()) {
        call.spans.insert(0, Span::raw(" "));
        let age = decision.age(run.core.step);
        if age > 0 {
            let text = format!("  evidence {} steps old", table::count(age));
            call.push_span(Span::styled(text, theme.warning));
        }
        let why = format!(" {}", decision.evidence.why);
        lines.push(Line::styled(scene.text(&why), theme.plain));
    }
    let began = run.core.phase.as_ref().map_or(0, |p| p.began_at);
    if let Some(warning) = Trend::of(&losses(run.evals_of_phase(), began)).warning {
        lines.push(Line::styled(format!(" {warning}"), theme.warning));
    }
    lines
}

fn row(scene: &Scene<'_>, label: &str, value: &str, style: Style) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("{label:<8} "), scene.theme.dim),
        Span::styled(scene.text(value), style),
    ])
}

fn figures(scene: &Scene<'_>, wide: bool) -> Vec<Line<'static>> {
    let (run, theme) = (scene.run, scene.theme);
    let evals = run.evals_of_phase();
    let began = run.core.phase.as_ref().map_or(0, |p| p.began_at);
    let last = evals.last();
    let mut lines = Vec::new();
    let val = last.map_or("-".into(), |e| {
        let step = thousands(e.step.saturating_sub(began));
        format!("{} @{step}", trend::loss_words(e.val_loss(), f64::NAN))
    });
    let style = match last.is_some_and(|e| e.val_loss.is_none()) {
        true => theme.warning,
        false => theme.val,
    };
    lines.push(row(scene, "val", &val, style));
    let (label, benchmark) = match &run.core.reference {
        Some(r) => (format!("ref {}L", r.layers), format!("{:.4}", r.val_loss)),
        None => ("ref".into(), "pending".into()),
    };
    lines.push(row(scene, &label, &benchmark, theme.reference));
    if let Some(e) = last.filter(|e| e.gap.is_some()) {
        let style = if e.matched { theme.good } else { theme.plain };
        let gap = trend::gap_words(e.gap, e.gap_stderr);
        lines.push(row(scene, "gap", &gap, style));
    }
    let losses = losses(evals, began);
    let trend = Trend::of(&losses);
    lines.push(row(
        scene,
        "slope/1k",
        &slope_words(trend.slope_per_1k),
        theme.plain,
    ));
    let (verdict, style) = match (trend.warning, wide) {
        (Some(_), true) => ("insufficient data", theme.warning),
        (Some(_), false) => ("insufficient", theme.warning),
        (None, _) => (plateau_words(trend.plateau), theme.plain),
    };
    lines.push(row(scene, "plateau", verdict, style));
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
    let pair = |e: &EvalPoint| (e.step.saturating_sub(began) as f64, e.val_loss());
    evals.iter().map(pair).collect()
}

/// What the operator is called to do, if anything.
fn call(scene: &Scene<'_>, wide: bool) -> Vec<Line<'static>> {
    let (run, theme) = (scene.run, scene.theme);
    let Some(decision) = &run.core.decision else {
        return Vec::new();
    };
    let (word, style) = evidence::suggestion(scene, &decision.evidence);
    let key = if scene.facts.read_only { "" } else { "  [D]" };
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
            "({}, evidence of step {})",
            decision.reason,
            thousands(decision.phase_step)
        );
        lines.push(Line::styled(reason, theme.dim));
    }
    lines
}
