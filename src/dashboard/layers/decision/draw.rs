//! What the decision prompt looks like: the evidence as of its step, the choices, the question that confirms one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::{Decision, Entry};
use crate::dashboard::costs::Cost;
use crate::dashboard::view::decision::{plateau_words, slope_words};
use crate::dashboard::view::{Scene, evidence, thousands};
use crate::run::event::{Evidence, Forecast, Plateau, Suggestion};
use crate::run::table;
use crate::run::trend;

/// Width of the evidence table.
const EVIDENCE: u16 = 55;

/// Evidence and choices, side by side or stacked as the area has it.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, p: &Decision, area: Rect, confirming: bool) {
    let e = &p.decision.evidence;
    let title = format!(
        " decide · round {} · evidence of step {} ({}) ",
        e.round,
        thousands(p.decision.step),
        p.decision.reason
    );
    let mut block = scene
        .panel(scene.text(&title))
        .border_style(scene.theme.key);
    let age = p.decision.age(scene.run.core.step);
    if age > 0 {
        let text = format!("{} steps old - r refreshes", thousands(age));
        block = block.title_bottom(Span::styled(scene.text(&text), scene.theme.warning));
    }
    let inside = framed(frame, block, area);
    let choices = choices(scene, p, confirming);
    let mut why = vec![Line::styled(scene.text(&e.why), scene.theme.title)];
    if area.width < EVIDENCE {
        // Too narrow for the table: the sentence and the choices.
        why.extend(choices);
        frame.render_widget(Paragraph::new(why).wrap(Wrap { trim: false }), inside);
        return;
    }
    let table = measured(scene, e);
    if area.width < EVIDENCE + 22 {
        let mut lines = why;
        match confirming {
            true => lines.extend(choices.into_iter().chain([cost_line(scene, p)])),
            false => lines.extend(costs(scene, p)),
        }
        lines.push(Line::default());
        lines.extend(table);
        frame.render_widget(Paragraph::new(lines), inside);
        return;
    }
    let [line, rest, cost] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(inside);
    frame.render_widget(cost_line(scene, p), cost);
    let [left, right] =
        Layout::horizontal([Constraint::Length(EVIDENCE), Constraint::Fill(1)]).areas(rest);
    frame.render_widget(Paragraph::new(why), line);
    frame.render_widget(Paragraph::new(table), left);
    frame.render_widget(Paragraph::new(choices).wrap(Wrap { trim: false }), right);
}

/// Clears an area, frames it, and returns what is inside.
pub fn framed(frame: &mut Frame<'_>, block: Block<'_>, area: Rect) -> Rect {
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inside
}

/// Now, reference or limit, reading.
pub fn measured(scene: &Scene<'_>, e: &Evidence) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let cells = |label: &str, now: &str, limit: &str, reading: &str| {
        Line::from(vec![
            Span::styled(format!("{label:<9}"), theme.dim),
            Span::styled(
                scene.text(&format!("{now:<18}{limit:<8}{reading}")),
                theme.plain,
            ),
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
    // The step that one stands on, or one that is past, is no forecast any more.
    let now = scene.run.core.phase_step;
    let (ahead, reading) = match e.forecast {
        Some(f) if f.at_phase_step <= now => {
            ("-".into(), format!("step {} is past", f.at_phase_step))
        }
        Some(f) => (
            forecast(&e.forecast),
            format!("at step {}", f.at_phase_step),
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

/// What the marked choice costs, in one line that follows its amount.
fn cost_line(scene: &Scene<'_>, p: &Decision) -> Line<'static> {
    let Some(choice) = p.choice() else {
        return Line::default();
    };
    let cost = Cost::of(scene.run, &p.decision.evidence, choice);
    let text = cost.sentence(evidence::end(scene, &cost));
    Line::styled(scene.text(&text), scene.theme.title)
}

/// The entries, or the question that confirms one.
fn choices(scene: &Scene<'_>, p: &Decision, confirming: bool) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let plural = if p.layers == 1 { "" } else { "s" };
    if confirming {
        let (question, note) = match p.entries[p.selected] {
            Entry::Grow => (
                format!("Grow by {} layer{plural} ({})?", p.layers, p.mode),
                "A checkpoint is written and verified first.",
            ),
            Entry::TrainOn => (format!("Train on for {} steps?", p.steps), ""),
            Entry::Stop => (
                "Stop growing? This model is the result.".into(),
                "Controls that the config asks for still run.",
            ),
            Entry::Cancel => (String::new(), ""),
        };
        return vec![
            Line::styled(question, theme.title),
            Line::styled(note, theme.plain),
            Line::default(),
            Line::from(vec![
                Span::styled("Enter", theme.key),
                Span::raw(" do it   "),
                Span::styled("Esc", theme.key),
                Span::raw(" back"),
            ]),
        ];
    }
    let entries = p.entries.iter().map(|entry| words(p, *entry));
    listed(scene, entries, p.selected)
}

/// The entries with what each of them costs, the marked one standing out.
fn costs(scene: &Scene<'_>, p: &Decision) -> Vec<Line<'static>> {
    let e = &p.decision.evidence;
    let titles = ["", "layers", "params", "memory", "tok/s", "takes", "until"];
    let mut rows = vec![titles.map(String::from)];
    for entry in &p.entries {
        let name = format!("> {} ", words(p, *entry));
        rows.push(match p.choice_of(*entry) {
            Some(choice) => evidence::row(scene, &name, e, choice),
            None => [&name, "", "", "", "", "", ""].map(String::from),
        });
    }
    let text = table::aligned(&rows, &[0]);
    let line = |(i, line): (usize, &str)| match i.checked_sub(1) {
        None => Line::styled(line.to_string(), scene.theme.dim),
        Some(i) => {
            let name = format!("> {} ", words(p, p.entries[i]));
            let line = format!("{line} ");
            let rest = scene.text(line.get(name.len()..).unwrap_or_default());
            let (name, style) = match i == p.selected {
                true => (name, scene.theme.selected),
                false => (name.replacen('>', " ", 1), scene.theme.plain),
            };
            Line::from(vec![
                Span::styled(name, style),
                Span::styled(rest, scene.theme.plain),
            ])
        }
    };
    text.lines().enumerate().map(line).collect()
}

/// An entry's words, which are ASCII.
fn words(p: &Decision, entry: Entry) -> String {
    match entry {
        Entry::Grow => format!("grow by {} ({})", p.layers, p.mode),
        Entry::TrainOn => format!("train on {} steps", p.steps),
        Entry::Stop => "stop growing".into(),
        Entry::Cancel => "cancel".into(),
    }
}

/// A list with a marked entry.
pub fn listed(
    scene: &Scene<'_>,
    entries: impl Iterator<Item = String>,
    selected: usize,
) -> Vec<Line<'static>> {
    let line = |(i, text): (usize, String)| {
        if i == selected {
            Line::styled(format!("> {text} "), scene.theme.selected)
        } else {
            Line::styled(format!("  {text} "), scene.theme.plain)
        }
    };
    entries.enumerate().map(line).collect()
}
