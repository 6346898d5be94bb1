//! Times of ranks: their curves are bounded, and cut by a rollback.

use super::*;
use crate::run::event::{RankSeconds, RankTimes};
use crate::run::state::{EXCHANGE, compute_of, wait_of};

fn times(world: usize, step: u64) -> RankTimes {
    let rank = |rank: usize| RankSeconds {
        compute: 0.5 + rank as f64 / 100.0,
        wait: 0.25,
        exchange: step as f64,
    };
    let ranks: Vec<_> = (0..world).map(rank).collect();
    RankTimes::of(1, &ranks)
}

/// The first event of an earlier program's journal, with ranks.
fn started_with(seq: u64, ranks: &str) -> Event {
    let journal = include_str!("../../../../tests/fixtures/runs/old/plain/events.jsonl");
    let line = journal.lines().next().unwrap();
    let line = line.replacen(r#""threads""#, &format!(r#""ranks":{ranks},"threads""#), 1);
    let mut event = Event::from_line(&line).unwrap();
    event.seq = seq;
    event
}

impl Run {
    fn time(&mut self, world: usize, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            self.emit(Body::Ranks(times(world, self.step)));
        }
    }
}

#[test]
fn the_latest_times_and_the_curves_of_every_rank_are_known() {
    let mut run = Run::begun();
    assert_eq!(run.state.world(), None);
    run.time(3, 5);
    assert_eq!(run.state.world(), Some(3));
    assert_eq!(run.state.rank_times(), Some(&times(3, 5)));
    let curves = &run.state.live().times;
    let last = |curve: usize| curves.column(curve).last().unwrap().value();
    assert_eq!(last(EXCHANGE), 5.0);
    assert!((last(compute_of(2)) - 0.52).abs() < 1e-6);
    assert_eq!(last(wait_of(0)), 0.25);
}

#[test]
fn a_thousand_ranks_take_bounded_memory() {
    let mut run = Run::begun();
    run.time(1024, 5000);
    let curves = &run.state.live().times;
    assert_eq!(curves.columns(), compute_of(511));
    assert!(curves.len() * curves.columns() <= 8 * 32_768);
    assert_eq!(curves.points(), 5000);
    assert!(curves.is_sound());
}

#[test]
fn a_rollback_cuts_the_curves() {
    let mut run = Run::begun();
    run.time(2, 10);
    let begun = run.begin_checkpoint();
    run.end_checkpoint(begun, 10);
    run.time(2, 10);
    run.roll_back(begun, 10);
    assert_eq!(run.state.live().times.points(), 10);
    assert_eq!(run.state.history.abandoned[0].branch.times.points(), 10);
}

#[test]
fn times_of_another_number_of_ranks_are_not_those_of_the_present_ones() {
    let mut run = Run::begun();
    run.time(4, 3);
    run.seq += 1;
    run.state.apply(&started_with(
        run.seq,
        r#"{"world":2,"launcher":"mpi","hosts":["box"]}"#,
    ));
    assert_eq!(run.state.world(), Some(2));
    assert_eq!(run.state.rank_times(), None);
    run.time(2, 1);
    assert!(run.state.rank_times().is_some());
}
