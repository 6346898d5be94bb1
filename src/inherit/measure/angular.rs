//! Angular distance: Gromov et al., "The unreasonable ineffectiveness of the deeper layers", arXiv 2403.17887.
//! d(l, l + k) = arccos(cos(X_l, X_l+k)) / pi, of the hidden states before layer l and k layers later, at the last token of
//! each window, averaged over windows. The block of k layers with the least distance is dropped as a whole.

use std::f64::consts::PI;
use std::ops::ControlFlow;

use super::subject::{Measured, Passes, Subject, Watch, finite};
use crate::config::Measure;
use crate::inherit::error::InheritError;
use crate::model::cosine;
use crate::ops;

/// Drops the contiguous block of the least distance, so that `keep` layers remain.
pub(super) fn choose(
    keep: usize,
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Measured>, InheritError> {
    let Some(states) = last_states(subject, watch)? else {
        return Ok(None);
    };
    let n_layer = states.len() - 1;
    let block = n_layer - keep;
    let values = match block {
        0 => Vec::new(),
        _ => distances(&states, block, subject.model.config.n_embd),
    };
    finite(Measure::Angular, &values)?;
    // Ties go to the first.
    let least = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
    let first = least.unwrap_or(n_layer);
    let (dropped, kept) = (0..n_layer).partition(|l| (first..first + block).contains(l));
    Ok(Some(Measured {
        measure: Measure::Angular,
        kept,
        dropped,
        values,
        whole: None,
        rounds: Vec::new(),
    }))
}

/// Returns the distance between input and output of each block of `block` layers, in the order of their first layers.
fn distances(states: &[Vec<f32>], block: usize, c: usize) -> Vec<f64> {
    let angle = |(a, b): (&[f32], &[f32])| cosine(a, b).clamp(-1.0, 1.0).acos() / PI;
    let pairs = states.iter().zip(&states[block..]);
    pairs
        .map(|(before, after)| {
            let rows = before.chunks_exact(c).zip(after.chunks_exact(c));
            let windows = rows.len().max(1) as f64;
            rows.map(angle).sum::<f64>() / windows
        })
        .collect()
}

/// Returns the hidden states at the last token of each window, before each layer and after the last one: n_layer + 1 times (N, C).
fn last_states(
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Vec<Vec<f32>>>, InheritError> {
    let (model, ws) = (subject.model, subject.workspace);
    let (n_layer, c) = (model.config.n_layer, model.config.n_embd);
    let layers: Vec<usize> = (0..n_layer).collect();
    let mut states = vec![Vec::with_capacity(subject.starts.len() * c); n_layer + 1];
    let mut passes = Passes::over(&subject, watch);
    let went = subject.each_batch(&mut |windows| {
        let add = |into: &mut Vec<f32>, stream: &[f32]| {
            for window in stream.chunks_exact(ws.time * c).take(windows) {
                into.extend_from_slice(&window[(ws.time - 1) * c..]);
            }
        };
        model.embed(ws)?;
        add(&mut states[0], &ops::read(ws.x(0))?);
        model.through(ws, &layers, &mut |layer, _, after| {
            add(&mut states[layer + 1], &ops::read(after)?);
            Ok(())
        })?;
        Ok(passes.one_more())
    })?;
    Ok(matches!(went, ControlFlow::Continue(())).then_some(states))
}
