//! What the decision prompt looks like: the evidence as of its step, the choices, the question that confirms one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::prompt::{Decision, Entry};
use crate::dashboard::costs::Cost;
use crate::dashboard::panels::evidence;
use crate::dashboard::panels::measured::measured;
use crate::dashboard::panels::menu::{framed, listed};
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::table;

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
