//! The decision panel: compares the model with its reference, and shows whether a decision is open.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::evidence;
use super::measured::verdict_style;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::event::{Plateau, Verdict};
use crate::run::forecast::Outlook;
use crate::run::losses;
use crate::run::table;

/// Least width for the complete evidence with its tables.
const TABLES: u16 = 66;

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let wide = area.width >= 40;
    let mut lines = figures(scene, wide);
    let known = scene
        .run
        .outlook()
        .filter(|_| wide && scene.run.core.decision.is_none());
    if let (Some(known), Some(_)) = (known, scene.run.evals_of_phase().last()) {
        lines.push(Line::styled(
            scene.text(&known.forecast.why),
            scene.theme.dim,
        ));
    }
    match area.width >= TABLES {
        true => {
            lines.push(Line::default());
            lines.extend(evidence::lines(scene, area.width - 2));
        }
        false => lines.extend(call(scene, wide)),
    }
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let mut block = scene.panel(" decision ".into());
    // The figures above may be newer than the evidence of the suggestion.
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

/// Returns the decision and the forecast in a few lines of `width` columns, for screens that are too small for the panel.
pub fn brief(scene: &Scene<'_>, width: u16) -> Vec<Line<'static>> {
    let mut lines = call(scene, false);
    let (run, theme) = (scene.run, scene.theme);
    if let (Some(decision), Some(call)) = (&run.core.decision, lines.first_mut()) {
        call.spans.insert(0, Span::raw(" "));
        let age = decision.age(run.core.step);
        if age > 0 {
            let text = format!("  evidence {} steps old", table::count(age));
            call.push_span(Span::styled(text, theme.warning));
        }
        lines.extend(forecast(scene));
        let why = format!(" {}", decision.evidence.why);
        let why = scene.glyphs.fit(&why, usize::from(width));
        lines.push(Line::styled(why, theme.plain));
    } else {
        lines.extend(forecast(scene));
    }
    if is_broken(scene) {
        let warning = " the latest evaluation is not finite: insufficient data";
        lines.push(Line::styled(warning, theme.warning));
    }
    lines
}

/// Returns ` forecast: gap +0.0123 ±0.0110 at step 300, will match`, if there is a forecast.
fn forecast(scene: &Scene<'_>) -> Option<Line<'static>> {
    let outlook = scene.run.outlook()?;
    let forecast = &outlook.forecast;
    let words = forecast.final_loss.map(|_| forecast.words())?;
    Some(Line::from(vec![
        Span::styled(" forecast: ", scene.theme.dim),
        Span::styled(scene.text(&words), verdict_style(scene, forecast.verdict)),
    ]))
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
        format!("{} @{step}", losses::loss_words(e.val_loss(), f64::NAN))
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
        let gap = losses::gap_words(e.gap, e.gap_stderr);
        lines.push(row(scene, "gap", &gap, style));
    }
    if let Some(known) = run.outlook().filter(|_| last.is_some()) {
        let (forecast, verdict, style) = outlook(scene, &known, wide);
        lines.push(row(scene, "forecast", &forecast, theme.plain));
        lines.push(row(scene, "outlook", &verdict, style));
    }
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

/// Returns the expected end of the phase, and whether it matches.
fn outlook(scene: &Scene<'_>, outlook: &Outlook, wide: bool) -> (String, String, Style) {
    let theme = scene.theme;
    let forecast = &outlook.forecast;
    let expected = forecast.gap_words().or_else(|| forecast.loss_words());
    let expected = match (expected, wide) {
        (Some(expected), true) => format!("{expected} @{}", thousands(forecast.at_phase_step)),
        (Some(expected), false) => expected,
        (None, _) => "-".into(),
    };
    let (verdict, style) = match forecast.verdict {
        Verdict::InsufficientData if forecast.final_loss.is_some() => ("-".into(), theme.plain),
        verdict if is_broken(scene) => (verdict.to_string(), theme.warning),
        verdict => (verdict.to_string(), verdict_style(scene, verdict)),
    };
    let verdict = match outlook.plateau {
        Plateau::Likely => format!("{verdict}, plateau"),
        _ => verdict,
    };
    (expected, verdict, style)
}

/// Whether the latest evaluation of the phase is not finite.
fn is_broken(scene: &Scene<'_>) -> bool {
    let last = scene.run.evals_of_phase().last();
    last.is_some_and(|eval| eval.val_loss.is_none())
}

/// Returns the call to the operator, if any.
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
