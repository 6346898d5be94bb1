//! Thins out the evaluations of a long run: the latest are kept, and some of each phase. The curves hold all of them.

use super::points::EvalPoint;

/// Largest number of evaluations of a branch.
pub const MOST_EVALS: usize = 2 * LATEST_KEPT;
/// The latest evaluations, which stay.
pub const LATEST_KEPT: usize = 2048;
/// Number of earlier evaluations that are kept, of all phases together.
const EARLIER_KEPT: usize = LATEST_KEPT / 2;

/// Thins out all but the latest evaluations: those of each phase evenly over its steps and to the same number, keeping
/// its last one. `starts` are the event numbers at which phases begin.
pub fn thin_out(evals: &mut Vec<EvalPoint>, starts: &[u64]) {
    let latest = evals.split_off(evals.len().saturating_sub(LATEST_KEPT));
    let phase = |e: &EvalPoint| starts.partition_point(|start| *start <= e.seq);
    let phases: Vec<&[EvalPoint]> = evals.chunk_by(|a, b| phase(a) == phase(b)).collect();
    // No recipe has more phases than that: the oldest go.
    let phases = &phases[phases.len().saturating_sub(EARLIER_KEPT)..];
    let most = EARLIER_KEPT / phases.len().max(1);
    let mut kept: Vec<EvalPoint> = phases.iter().flat_map(|p| spread(p, most)).collect();
    kept.extend(latest);
    *evals = kept;
}

/// The first evaluation in each of `most - 1` equal parts of a phase, and the last of all.
fn spread(evals: &[EvalPoint], most: usize) -> Vec<EvalPoint> {
    let Some((last, earlier)) = evals.split_last() else {
        return Vec::new();
    };
    let first = evals[0].step;
    let steps = last.step.saturating_sub(first) as f64 + 1.0;
    let bucket = |e: &EvalPoint| {
        let share = e.step.saturating_sub(first) as f64 / steps;
        (share * (most - 1) as f64) as usize
    };
    let chunks = earlier.chunk_by(|a, b| bucket(a) == bucket(b));
    let mut kept: Vec<EvalPoint> = chunks.map(|c| c[0]).take(most - 1).collect();
    kept.push(*last);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Evaluation;

    fn evals(seqs: std::ops::Range<u64>) -> Vec<EvalPoint> {
        let eval = |seq| EvalPoint {
            seq,
            step: 100 * seq,
            tokens: 0,
            elapsed: 0.0,
            evaluation: Evaluation::default(),
        };
        seqs.map(eval).collect()
    }

    #[test]
    fn the_latest_stay_and_every_phase_keeps_some_over_all_of_its_steps() {
        let mut all = evals(0..6000);
        let starts = [0, 1000, 1010, 3000];
        thin_out(&mut all, &starts);
        assert!(all.len() <= LATEST_KEPT + EARLIER_KEPT);
        assert!(all.is_sorted_by_key(|e| e.seq));
        let of = |from, to| {
            let inside = all.iter().filter(move |e| (from..to).contains(&e.seq));
            inside.map(|e| e.seq).collect::<Vec<u64>>()
        };
        for (from, to) in [(0, 1000), (1000, 1010), (1010, 3000), (3000, 3952)] {
            let kept = of(from, to);
            assert_eq!((kept[0], kept[kept.len() - 1]), (from, to - 1));
            let gap = kept.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(gap.unwrap() <= (to - from) / 200 + 2, "{from}: {gap:?}");
        }
        assert_eq!(of(3952, 6000).len(), LATEST_KEPT);
        let before = all.clone();
        thin_out(&mut all, &starts);
        assert_eq!(all, before, "what is thinned out stays so");
    }

    #[test]
    fn phases_without_end_stay_bounded() {
        let starts: Vec<u64> = (0..10_000).collect();
        let mut all = evals(0..10_000);
        thin_out(&mut all, &starts);
        assert_eq!(all.len(), LATEST_KEPT + EARLIER_KEPT);
        assert_eq!(all[0].seq, (10_000 - LATEST_KEPT - EARLIER_KEPT) as u64);
        let mut few = evals(0..3);
        thin_out(&mut few, &[]);
        assert_eq!(few.len(), 3);
        thin_out(&mut Vec::new(), &[]);
    }
}
