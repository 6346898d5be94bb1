use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::dashboard::replay::tests::{Written, journal};

/// Makes a journal with two resumes, decisions and unreadable lines. Returns it with its lines.
fn story() -> (tempfile::TempDir, JournalIndex, Vec<String>) {
    let mut written = Written::new();
    written.run(300);
    written.checkpoint();
    let first = written.seq;
    written.run(150);
    written.decide();
    written.push_line("{broken");
    written.resume(first);
    written.run(200);
    written.push_line("");
    written.checkpoint();
    let second = written.seq;
    written.run(90);
    written.resume(second);
    written.run(400);
    let (tmp, index) = journal(&written);
    (tmp, index, written.lines)
}

fn told(state: &RunState) -> String {
    let mut state = state.clone();
    state.version = 0;
    format!("{state:?}")
}

/// Folds the first events directly, for comparison.
fn prefix(index: &JournalIndex, goal: usize) -> RunState {
    let mut state = RunState::default();
    let mut at = 0;
    while at < goal {
        let items = index.read(at, goal).unwrap();
        at += items.len();
        for item in items.into_iter().flatten() {
            item.apply_to(&mut state);
        }
    }
    state
}

#[test]
fn after_any_sequence_of_seeks_the_state_is_the_fold_over_the_prefix() {
    let (_tmp, index, lines) = story();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    // Many kept states, few that are thinned out repeatedly, and none.
    for (every, budget) in [(32, u64::MAX), (16, 200_000), (64, 0)] {
        let mut fold = Fold::keeping(every, budget);
        let mut state = RunState::default();
        let mut version = 0;
        for step in 0..60 {
            let goal = match random.random_range(0..4) {
                0 => fold.position().saturating_sub(1),
                1 => fold.position() + 1,
                _ => random.random_range(0..=lines.len()),
            };
            let goal = goal.clamp(1, lines.len());
            let moved = goal != fold.position();
            while fold.position() != goal {
                fold.go(&mut state, &index, goal).unwrap();
            }
            let wanted = prefix(&index, goal);
            assert_eq!(told(&state), told(&wanted), "seek {step} to {goal}");
            let blank = goal > 0 && lines[goal - 1].is_empty();
            assert!(!moved || blank || state.version > version, "seek {step}");
            version = state.version;
        }
        assert!(budget > 0 || fold.kept.is_empty());
    }
}

#[test]
fn going_back_reads_no_more_than_what_lies_between_two_kept_states() {
    let (_tmp, index, lines) = story();
    let mut fold = Fold::keeping(64, u64::MAX);
    let mut state = RunState::default();
    let all = lines.len();
    fold.go(&mut state, &index, all).unwrap();
    assert_eq!(fold.position(), all);
    assert_eq!(fold.kept.len(), all / 64);
    fold.start_from(&mut state, all - 1);
    assert!(all - 1 - fold.position() < 64, "{}", fold.position());
}

#[test]
fn kept_states_stay_within_their_budget() {
    let (_tmp, index, lines) = story();
    let budget = 100_000;
    let mut fold = Fold::keeping(8, budget);
    let mut state = RunState::default();
    fold.go(&mut state, &index, lines.len()).unwrap();
    let bytes = |p: usize| index.entries()[p - 1].offset / STATE_SHARE;
    let kept: Vec<usize> = fold.kept.iter().map(|(p, _)| *p).collect();
    assert!(kept.iter().map(|p| bytes(*p)).sum::<u64>() <= budget);
    assert!(kept.len() >= 2, "{kept:?}");
    let even = kept
        .iter()
        .enumerate()
        .all(|(i, p)| *p == (i + 1) * kept[0]);
    assert!(even, "{kept:?}");
}

#[test]
fn a_second_step_back_in_a_long_journal_is_short() {
    let (_tmp, index, lines) = story();
    // No state is kept on the way.
    let mut fold = Fold::keeping(1 << 20, u64::MAX);
    let mut state = RunState::default();
    let all = lines.len();
    fold.go(&mut state, &index, all).unwrap();
    fold.go(&mut state, &index, all - 1).unwrap();
    fold.start_from(&mut state, all - 2);
    assert!(fold.position() >= all - 2 - NEAR, "{}", fold.position());
}
