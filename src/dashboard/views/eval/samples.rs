//! Continuations of texts by the reference, the previous round's model and the present model, side by side.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::dashboard::layers::scroll::wrap;
use crate::dashboard::scene::Scene;
use crate::run::state::SamplePoint;
use crate::run::table;

const TITLE: &str = " samples · greedy ";
const WIDE_TITLE: &str = " samples · greedy, and drawn with a fixed seed ";

/// Columns of a model's name.
const NAME: usize = 12;

/// Returns the rows that all texts need with one line for each continuation.
pub fn least(scene: &Scene<'_>) -> u16 {
    let prompts = scene.run.prompts();
    let rows = prompts.iter().map(|prompt| {
        let all = scene.run.continuations(prompt);
        1 + all.iter().flatten().count()
    });
    u16::try_from(rows.sum::<usize>()).unwrap_or(u16::MAX)
}

/// Returns the panel's title, and in at most `rows` lines the latest texts, each with a line for each of its continuations. A
/// single text is shown in the title.
pub fn lines(scene: &Scene<'_>, width: usize, rows: usize) -> (String, Vec<Line<'static>>) {
    let mut blocks: Vec<(&str, Vec<Line<'static>>)> = Vec::new();
    let mut used = 0;
    for prompt in scene.run.prompts().into_iter().rev() {
        let lines = continuations(scene, prompt, width);
        used += 1 + lines.len();
        if !blocks.is_empty() && used > rows {
            break;
        }
        blocks.push((prompt, lines));
    }
    if let [(prompt, lines)] = &mut blocks[..] {
        let prompt = scene.text(prompt);
        return (
            format!("{TITLE}· {} ", prompt.trim()),
            std::mem::take(lines),
        );
    }
    let blocks = blocks.into_iter().rev();
    let lines = blocks
        .flat_map(|(prompt, lines)| std::iter::once(title(scene, prompt, width)).chain(lines));
    (TITLE.into(), lines.collect())
}

fn continuations(scene: &Scene<'_>, prompt: &str, width: usize) -> Vec<Line<'static>> {
    let line = |sample: &SamplePoint| {
        let name = table::phase_name(&sample.phase);
        let text = scene.text(sample.greedy.trim());
        let room = width.saturating_sub(NAME + 2);
        Line::from(vec![
            Span::styled(
                format!("  {}", scene.glyphs.fit(&name, NAME)),
                scene.theme.dim,
            ),
            Span::styled(scene.glyphs.fit(&text, room), scene.theme.plain),
        ])
    };
    let all = scene.run.continuations(prompt);
    all.into_iter().flatten().map(line).collect()
}

fn title(scene: &Scene<'_>, prompt: &str, width: usize) -> Line<'static> {
    let text = scene.glyphs.fit(&scene.text(&format!(" {prompt}")), width);
    Line::styled(text.trim_end().to_string(), scene.theme.key)
}

/// Draws three columns per text; all texts share the rows.
pub fn wide(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let block = scene.panel(scene.text(WIDE_TITLE));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let prompts = scene.run.prompts();
    // Each text needs room for itself and some lines of its continuations.
    let fitting = usize::from(inside.height / 6).max(1);
    let shown = &prompts[prompts.len().saturating_sub(fitting)..];
    let rows = Layout::vertical(shown.iter().map(|_| Constraint::Fill(1))).split(inside);
    for (prompt, area) in shown.iter().zip(rows.iter()) {
        let [head, below] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(*area);
        frame.render_widget(title(scene, prompt, usize::from(head.width)), head);
        let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3])
            .spacing(1)
            .areas(below);
        let names = ["reference", "previous round", "now"];
        let all = scene.run.continuations(prompt);
        for ((name, sample), area) in names.iter().zip(all).zip(columns) {
            frame.render_widget(column(scene, name, sample, area), area);
        }
    }
}

/// Returns a model's continuations, with the greedy one above the sampled one.
fn column(
    scene: &Scene<'_>,
    name: &str,
    sample: Option<&SamplePoint>,
    area: Rect,
) -> Paragraph<'static> {
    let width = usize::from(area.width);
    let Some(sample) = sample else {
        return Paragraph::new(Line::styled(format!(" {name}: -"), scene.theme.dim));
    };
    let model = match name {
        "reference" => name.to_string(),
        _ => format!("{name}: {}", table::phase_name(&sample.phase)),
    };
    let head = scene.glyphs.fit(&scene.text(&format!(" {model}")), width);
    let mut lines = vec![Line::styled(head, scene.theme.dim)];
    let half = usize::from(area.height.saturating_sub(1)).div_ceil(2);
    for (text, style) in [
        (&sample.greedy, scene.theme.plain),
        (&sample.drawn, scene.theme.dim),
    ] {
        let text = scene.text(&format!(" {}", text.trim()));
        let mut wrapped = wrap(Line::styled(text, style), width, 1);
        wrapped.truncate(half);
        lines.extend(wrapped);
    }
    Paragraph::new(lines)
}
