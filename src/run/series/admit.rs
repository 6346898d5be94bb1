//! Checks the contents of `series.bin`, which may come from elsewhere: only texts and numbers that a journal's events
//! may have. A fold over checked events holds nothing else, so that any other content shows that the file was not
//! written by this program.

use std::borrow::Cow;

use crate::run::baseline::BaselinePhase;
use crate::run::command::LONGEST_NOTE;
use crate::run::event::foreign::{counted, layers};
use crate::run::event::{LONGEST_TEXT, Phase, PhaseResult};
use crate::run::state::{
    Branch, Core, Mark, MarkKind, PHASES_KEPT, PhaseNow, REMARKS_KEPT, RunState, TaskPoint,
};
use crate::run::tail::Position;
use crate::text;

/// Whether the texts of a JSON document are clean. Clean texts contain nothing that JSON would escape, except quotes
/// and backslashes.
pub fn is_clean_json(document: &str) -> bool {
    let mut chars = document.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !matches!(chars.next(), Some('"' | '\\')) {
            return false;
        }
    }
    matches!(text::json(document), Cow::Borrowed(_))
}

/// Whether a state without its past may be used.
pub fn head(state: &RunState, position: &Position) -> bool {
    let counts = [
        state.seq,
        state.refusals,
        state.running_since,
        position.offset,
        position.line,
    ];
    let info = state.info.as_ref().map_or(Ok(()), |i| i.check());
    let sums = [state.dropped, state.core.tokens];
    info.is_ok()
        && counts.into_iter().all(|n| counted("", n).is_ok())
        // Sums of values in events are unbounded.
        && sums.into_iter().all(|n| n < u64::MAX / 4)
        && state.elapsed.is_finite()
        && state.ranks.as_ref().is_none_or(|r| r.check_numbers().is_ok())
        && state.remarks.len() <= REMARKS_KEPT
        && state.remarks.iter().all(|r| r.text.chars().count() <= LONGEST_NOTE)
        && state.phases.len() <= PHASES_KEPT
        && state.phases.iter().all(phase_now)
        && core(&state.core)
}

/// Whether the rest of a state may be used.
pub fn past(state: &RunState) -> bool {
    let clean = |t: &str| text::clean(t) == t;
    state.snapshots.cores().all(core)
        && state.notes.iter().all(|n| clean(&n.text))
        && state
            .checkpoints
            .iter()
            .all(|c| clean(&c.name) && clean(&c.reason))
        && branch(&state.history.live)
        && state.history.abandoned.iter().all(|a| branch(&a.branch))
}

fn core(core: &Core) -> bool {
    let fine = |checked: Result<(), String>| checked.is_ok();
    let result = |r: &PhaseResult| fine(r.check());
    let now = core.phase.as_ref().is_none_or(phase_now);
    let mut decisions = core.decision.iter().chain(&core.last_decision);
    let moved = core.moved.is_none_or(|m| fine(counted("", m.due)));
    now && moved
        && fine(counted("", core.step))
        && fine(counted("", core.phase_step))
        && core.reference.iter().all(result)
        && core.rounds.iter().all(|r| result(&r.result))
        && core.controls.iter().all(|c| result(&c.result))
        && core.baselines.iter().all(|b| {
            result(&b.result)
                && is_text(&b.objective)
                && BaselinePhase::new(&b.name, b.part).is_some()
        })
        && decisions.all(|d| fine(d.evidence.check()))
}

fn phase_now(now: &PhaseNow) -> bool {
    phase(&now.phase)
        && [now.began_at, now.began_seq, now.steps, now.due]
            .iter()
            .all(|&n| counted("", n).is_ok())
        && [now.layers, now.added, now.source_layers.len()]
            .iter()
            .all(|&n| layers("", n).is_ok())
        && now.course.is_sound()
}

fn branch(branch: &Branch) -> bool {
    let marks = branch.marks.iter();
    let note = |m: &Mark| match &m.kind {
        MarkKind::Note(words) => text::clean(words) == *words,
        _ => true,
    };
    let clean = marks.clone().all(note);
    clean
        && marks
            .filter_map(|m| match &m.kind {
                MarkKind::Phase(phase) => Some(phase),
                _ => None,
            })
            .chain(branch.probes.iter().map(|p| &p.phase))
            .all(phase)
        && branch.probes.iter().all(|p| text::clean(&p.file) == p.file)
        && branch.tasks.iter().all(task)
        && branch.samples.iter().all(|s| {
            phase(&s.phase)
                && layers("", s.layers).is_ok()
                && [&s.prompt, &s.greedy, &s.drawn].iter().all(|t| is_text(t))
        })
}

fn task(point: &TaskPoint) -> bool {
    let metrics = point.metrics.iter();
    phase(&point.phase)
        && layers("", point.layers).is_ok()
        && counted("", point.step).is_ok()
        && [&point.task, &point.version].iter().all(|t| is_text(t))
        && point.refused.iter().all(|why| is_text(why))
        && metrics
            .clone()
            .all(|m| is_text(&m.name) && counted("", m.n).is_ok())
}

/// Whether a text is clean and no longer than those of events.
fn is_text(text: &str) -> bool {
    text::clean(text) == text && text.len() <= LONGEST_TEXT
}

fn phase(phase: &Phase) -> bool {
    match phase {
        Phase::Other(name) => text::clean(name) == *name,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_texts_that_draw_is_not_clean() {
        for fine in [r#"{"a":"b c \"d\" \\ é 數"}"#, "[]", "{\n \"a\": 1 }"] {
            assert!(is_clean_json(fine), "{fine}");
        }
        for bad in [
            r#""\u001b[2J""#,
            r#""\n""#,
            r#""\\\t""#,
            "\"\u{9b}2J\"",
            "\"\u{202e}\"",
        ] {
            assert!(!is_clean_json(bad), "{bad:?}");
        }
    }

    #[test]
    fn numbers_that_no_event_has_are_not_let_in() {
        let position = Position::default();
        let mut state = RunState::default();
        assert!(head(&state, &position) && past(&state));
        state.dropped = u64::MAX - 1;
        assert!(!head(&state, &position));
        state.dropped = 0;
        state.core.phase = Some(PhaseNow {
            phase: Phase::Reference,
            began_at: 0,
            layers: usize::MAX,
            parameters: 0,
            steps: 1,
            due: 1,
            start: crate::run::event::Start::Random,
            source_layers: Vec::new(),
            added: 0,
            began_seq: 0,
            course: Default::default(),
        });
        assert!(!head(&state, &position));
        state.core.phase = None;
        state.warn("a\u{1b}[2J".into());
        assert!(!past(&state));
    }
}
