//! Draws the decision prompt: the evidence as of its step, the choices, and the question that confirms a choice.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::prompt::{Decision, Entry};
use crate::dashboard::costs::Cost;
use crate::dashboard::layers::scroll::{INDENT, note_more, wrap};
use crate::dashboard::panels::measured::measured;
use crate::dashboard::panels::menu::{framed, listed};
use crate::dashboard::panels::{confirm, evidence};
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::table;
use crate::text;

/// Width of the evidence table.
const EVIDENCE: u16 = 55;
/// Most lines of the reason if the evidence stands next to the choices.
const WHY: usize = 2;
/// Largest height at which the evidence stands next to the choices.
const SIDE_BY_SIDE: u16 = 12;

/// Draws evidence and choices, side by side or stacked, depending on the area.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, p: &Decision, area: Rect, confirming: bool) {
    let e = &p.decision.evidence;
    let room = usize::from(area.width.saturating_sub(2));
    let mut block = scene
        .panel(scene.text(&title(p, room)))
        .border_style(scene.theme.key);
    let age = p.decision.age(scene.run.core.step);
    if age > 0 {
        let text = format!("{} steps old - r refreshes", thousands(age));
        block = block.title_bottom(Span::styled(scene.text(&text), scene.theme.warning));
    }
    let inside = framed(frame, block, area);
    let why = Line::styled(scene.text(&e.why), scene.theme.title);
    if confirming || area.width < EVIDENCE + 22 || area.height > SIDE_BY_SIDE {
        let mut lines = Vec::new();
        let wrapped = |line| wrap(line, room, 0);
        let stands = costs(scene, p);
        match confirming {
            true => {
                let asked = p.command();
                let asked = asked.iter().flat_map(|c| confirm::lines(scene, c));
                lines.extend(asked.flat_map(|l| wrap(l, room, INDENT)));
                lines.push(Line::default());
                lines.extend(wrapped(why));
            }
            // Shows the complete table, or the cost of the selected choice.
            false if stands.iter().all(|line| line.width() <= room) => {
                lines.extend(wrapped(why));
                lines.extend(stands);
            }
            false => {
                lines.extend(choices(scene, p));
                lines.extend(wrapped(cost_line(scene, p)));
                lines.extend(wrapped(why));
            }
        }
        // An area that is too narrow for the evidence shows only the sentence.
        if area.width >= EVIDENCE {
            lines.push(Line::default());
            lines.extend(measured(scene, e, Some(p.layers), room));
        }
        let (shown, more) = p.scroll.visible(lines, usize::from(inside.height));
        frame.render_widget(Paragraph::new(shown), inside);
        if more {
            note_more(frame, scene, area);
        }
        return;
    }
    let why = first_lines(scene, why, room);
    let [line, rest, cost] = Layout::vertical([
        Constraint::Length(why.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(inside);
    frame.render_widget(cost_line(scene, p), cost);
    let [left, right] =
        Layout::horizontal([Constraint::Length(EVIDENCE), Constraint::Fill(1)]).areas(rest);
    frame.render_widget(Paragraph::new(why), line);
    let table = measured(scene, e, Some(p.layers), usize::from(EVIDENCE) - 1);
    frame.render_widget(Paragraph::new(table), left);
    let asked = choices(scene, p);
    frame.render_widget(Paragraph::new(asked).wrap(Wrap { trim: false }), right);
}

/// Returns the first lines of a sentence, with an ellipsis if it is cut.
fn first_lines(scene: &Scene<'_>, why: Line<'static>, room: usize) -> Vec<Line<'static>> {
    let mut lines = wrap(why, room, 0);
    if lines.len() > WHY {
        lines.truncate(WHY);
        let last = lines.pop().unwrap_or_default();
        let cut: String = last.spans.iter().map(|s| s.content.as_ref()).collect();
        let more = format!("{cut}{}", scene.text("…"));
        let more = match text::width(&more) <= room {
            true => more,
            false => scene.glyphs.fit(&more, room),
        };
        lines.push(Line::styled(more, scene.theme.title));
    }
    lines
}

/// Returns the parts of the title that fit into `room` columns.
fn title(p: &Decision, room: usize) -> String {
    let (round, step) = (p.decision.evidence.round, thousands(p.decision.phase_step));
    let titles = [
        format!(
            " decide · round {round} · evidence of step {step} ({}) ",
            p.decision.reason
        ),
        format!(" decide · round {round} · evidence of step {step} "),
        format!(" decide · round {round} · step {step} "),
    ];
    let mut fitting = titles.into_iter().filter(|t| text::width(t) <= room);
    fitting.next().unwrap_or_else(|| " decide ".into())
}

/// Returns the cost of the selected choice, in one line, for its present amount.
fn cost_line(scene: &Scene<'_>, p: &Decision) -> Line<'static> {
    let Some(choice) = p.choice() else {
        let back = p
            .good
            .iter()
            .filter(|_| p.entries[p.selected] == Entry::Rollback);
        let text: String = back.map(|good| format!("to {}", good.words())).collect();
        return Line::styled(scene.text(&text), scene.theme.title);
    };
    let cost = Cost::of(scene.run, Some(&p.decision.evidence), choice);
    let text = cost.sentence(evidence::end(scene, &cost));
    Line::styled(scene.text(&text), scene.theme.title)
}

/// Returns the entries.
fn choices(scene: &Scene<'_>, p: &Decision) -> Vec<Line<'static>> {
    let entries = p.entries.iter().map(|entry| words(p, *entry));
    listed(scene, entries, p.selected)
}

/// Returns the entries with their costs, with the selected one highlighted.
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
    let aligned = table::aligned(&rows, &[0]);
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
    aligned.lines().enumerate().map(line).collect()
}

/// Returns an entry's text, which is ASCII.
fn words(p: &Decision, entry: Entry) -> String {
    match entry {
        Entry::Rollback => "roll back".into(),
        Entry::Grow => format!("grow by {} ({})", p.layers, p.mode),
        Entry::TrainOn => format!("train on {} steps", thousands(p.steps)),
        Entry::Stop => "stop growing".into(),
        Entry::Cancel => "cancel".into(),
    }
}
