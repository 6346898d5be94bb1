//! The table of every model's validation loss and its gap to the reference.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::trend::trend;
use crate::dashboard::scene::Scene;
use crate::run::event::PhaseResult;
use crate::run::losses::{gap_words, loss_words};
use crate::run::table;

pub const TITLE: &str = " validation · loss and paired gap to the reference, in nats ";

/// Columns of a phase's name, its layers, its loss and its gap.
const NAME: usize = 16;
const LAYERS: usize = 6;
const LOSS: usize = 16;
const GAP: usize = 17;

struct Entry {
    name: String,
    layers: usize,
    loss: String,
    gap: String,
    course: Vec<f64>,
    style: Style,
}

/// Returns a heading and a line per phase; before the first evaluation, a line that states this.
pub fn lines(scene: &Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let entries = entries(scene);
    if entries.is_empty() {
        let text =
            " no evaluation so far: the first is made when a phase begins, and  : eval  makes one";
        return vec![Line::styled(scene.text(text), scene.theme.dim)];
    }
    let fit = |text: &str, columns: usize| scene.glyphs.fit(&scene.text(text), columns);
    let left = width.saturating_sub(1 + NAME + LAYERS + LOSS + GAP + 3);
    let heading = format!(
        " {}{}  {}{} {}",
        fit("model", NAME),
        fit("layers", LAYERS),
        fit("loss", LOSS),
        fit("gap", GAP),
        if left >= 8 { "course" } else { "" },
    );
    let mut lines = vec![Line::styled(
        scene.glyphs.fit(&heading, width),
        scene.theme.title,
    )];
    for entry in entries {
        let text = format!(
            " {}{:>LAYERS$}  {}{} ",
            fit(&entry.name, NAME),
            entry.layers,
            fit(&entry.loss, LOSS),
            fit(&entry.gap, GAP),
        );
        let mut spans = vec![Span::styled(text, entry.style)];
        if left >= 8 {
            let bars = trend(&entry.course, left.min(40), scene.glyphs);
            spans.push(Span::styled(bars, scene.theme.val));
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn entries(scene: &Scene<'_>) -> Vec<Entry> {
    let (run, theme) = (scene.run, scene.theme);
    let core = &run.core;
    let by_phase = run.live().evals_by_phase();
    let course = |name: &str| {
        let mut of_phase = by_phase.iter().rev();
        let found = of_phase.find(|(phase, _)| table::phase_name(phase) == name);
        found.map_or(Vec::new(), |(_, evals)| {
            evals.iter().map(|e| e.val_loss()).collect()
        })
    };
    let finished = |name: String, r: &PhaseResult, style| Entry {
        course: course(&name),
        layers: r.layers,
        loss: loss_words(r.val_loss, r.stderr),
        gap: match r.gap {
            Some(_) => gap_words(r.gap, r.gap_stderr),
            None => "-".into(),
        },
        name,
        style,
    };
    let mut all: Vec<Entry> = Vec::new();
    if let Some(reference) = &core.reference {
        all.push(finished("reference".into(), reference, theme.reference));
    }
    for round in &core.rounds {
        let name = format!("round {}", round.round);
        all.push(finished(name, &round.result, theme.plain));
    }
    for compared in table::compared(core) {
        all.push(finished(compared.name, compared.result, theme.dim));
    }
    if let (Some(now), Some(eval)) = (&core.phase, core.eval) {
        let name = table::phase_name(&now.phase);
        // A finished phase already has its line.
        if !all.iter().any(|e| e.name == name) {
            all.push(Entry {
                course: course(&name),
                layers: now.layers,
                loss: loss_words(eval.val_loss(), eval.stderr()),
                gap: match eval.gap {
                    Some(_) => gap_words(eval.gap, eval.gap_stderr),
                    None => "-".into(),
                },
                name: format!("{name}, now"),
                style: theme.val,
            });
        }
    }
    all
}
