//! Block influence: Men et al., "ShortGPT: layers in large language models are more redundant than you expect", arXiv
//! 2403.03853. BI_l = 1 - E[cos(X_l, X_l+1)], over all tokens, of the hidden states before and after layer l. The layers of
//! least influence are dropped.

use std::ops::ControlFlow;

use super::subject::{Measured, Passes, Subject, Watch, finite};
use crate::config::Measure;
use crate::inherit::error::InheritError;
use crate::model::similarity;
use crate::ops;

/// Keeps the `keep` layers of the highest influence.
pub(super) fn choose(
    keep: usize,
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Measured>, InheritError> {
    let Some(values) = influences(subject, watch)? else {
        return Ok(None);
    };
    finite(Measure::Influence, &values)?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Stable: of layers with equal influence, the lower one comes first and is kept.
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut dropped = order.split_off(keep);
    dropped.reverse();
    order.sort_unstable();
    Ok(Some(Measured {
        measure: Measure::Influence,
        kept: order,
        dropped,
        values,
        whole: None,
        rounds: Vec::new(),
    }))
}

/// Returns the influence of each layer.
fn influences(
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Vec<f64>>, InheritError> {
    let (model, ws) = (subject.model, subject.workspace);
    let (n_layer, c) = (model.config.n_layer, model.config.n_embd);
    let layers: Vec<usize> = (0..n_layer).collect();
    let mut similar = vec![0.0; n_layer];
    let mut passes = Passes::over(&subject, watch);
    let went = subject.each_batch(&mut |windows| {
        let seen = windows * ws.time * c;
        model.embed(ws)?;
        model.through(ws, &layers, &mut |layer, before, after| {
            let (before, after) = (ops::read(before)?, ops::read(after)?);
            // Window by window, so that the sum does not depend on the number of windows in a pass.
            let before = before[..seen].chunks(ws.time * c);
            for (before, after) in before.zip(after[..seen].chunks(ws.time * c)) {
                similar[layer] += similarity(before, after, c);
            }
            Ok(())
        })?;
        Ok(passes.one_more())
    })?;
    let tokens = (subject.starts.len() * ws.time) as f64;
    let values = similar.iter().map(|sum| 1.0 - sum / tokens).collect();
    Ok(matches!(went, ControlFlow::Continue(())).then_some(values))
}
