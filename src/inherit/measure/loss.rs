//! Loss: layers are dropped one at a time, each time the one whose removal gives the lowest loss on the windows. The remaining
//! layers are measured again after each removal, as in Song et al., "SLEB: streamlining LLMs through redundancy verification and
//! elimination of transformer blocks", arXiv 2402.09025.

use std::ops::ControlFlow;

use super::subject::{Measured, Progress, Round, Subject, Watch};
use crate::config::Measure;
use crate::inherit::error::InheritError;
use crate::ops;

/// Drops layers until `keep` remain.
pub(super) fn choose(
    keep: usize,
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Measured>, InheritError> {
    let mut kept: Vec<usize> = (0..subject.model.config.n_layer).collect();
    let mut work = Work::new(&subject, keep, watch);
    let Some(whole) = loss_of(&subject, &kept, &mut work)? else {
        return Ok(None);
    };
    let mut rounds = Vec::with_capacity(kept.len() - keep);
    while kept.len() > keep {
        let Some(losses) = losses_without(&subject, &kept, &mut work)? else {
            return Ok(None);
        };
        // Ties go to the first. Non-finite losses count as the largest.
        let finite = |loss: f64| {
            if loss.is_finite() {
                loss
            } else {
                f64::INFINITY
            }
        };
        let least =
            (0..kept.len()).min_by(|&a, &b| finite(losses[a]).total_cmp(&finite(losses[b])));
        let least = least.filter(|&i| losses[i].is_finite());
        let place = least.ok_or(InheritError::NotFinite(Measure::Loss.name()))?;
        let without = kept.iter().copied().zip(losses.iter().copied()).collect();
        let dropped = (kept.remove(place), losses[place]);
        rounds.push(Round { without, dropped });
        if work.report(0.0, Some(dropped)).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(Measured {
        measure: Measure::Loss,
        kept,
        dropped: rounds.iter().map(|round| round.dropped.0).collect(),
        values: rounds.iter().map(|round| round.dropped.1).collect(),
        whole: Some(whole),
        rounds,
    }))
}

/// Returns the mean loss over all windows of the model with these layers.
fn loss_of(
    subject: &Subject<'_>,
    layers: &[usize],
    work: &mut Work<'_, '_>,
) -> Result<Option<f64>, InheritError> {
    let mut sum = 0.0;
    let went = subject.each_batch(&mut |windows| {
        subject.model.embed(subject.workspace)?;
        sum += rest(subject, layers, windows)?;
        Ok(work.report(layers.len() as f64 * work.layer + work.head, None))
    })?;
    let mean = sum / subject.starts.len() as f64;
    Ok(matches!(went, ControlFlow::Continue(())).then_some(mean))
}

/// Returns the mean losses over all windows of the model with these layers, without each of them in turn. The layers below the
/// missing one are run only once, which halves the work.
fn losses_without(
    subject: &Subject<'_>,
    layers: &[usize],
    work: &mut Work<'_, '_>,
) -> Result<Option<Vec<f64>>, InheritError> {
    let (model, ws) = (subject.model, subject.workspace);
    let mut sums = vec![0.0; layers.len()];
    let went = subject.each_batch(&mut |windows| {
        model.embed(ws)?;
        // The stream before the missing layer, which `through` overwrites.
        let mut before = ops::read(ws.x(0))?;
        for (place, &layer) in layers.iter().enumerate() {
            sums[place] += rest(subject, &layers[place + 1..], windows)?;
            ops::write(ws.x(0), &before)?;
            let after = model.through(ws, &[layer], &mut |_, _, _| Ok(()))?;
            before = ops::read(after)?;
            ops::write(ws.x(0), &before)?;
            let passes = (layers.len() - place) as f64;
            if work
                .report(passes * work.layer + work.head, None)
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let windows = subject.starts.len() as f64;
    let means = sums.iter().map(|sum| sum / windows).collect();
    Ok(matches!(went, ControlFlow::Continue(())).then_some(means))
}

/// Runs the stream in `x(0)` through these layers and the head. Returns the sum of the first windows' mean losses.
fn rest(subject: &Subject<'_>, layers: &[usize], windows: usize) -> Result<f64, InheritError> {
    let (model, ws) = (subject.model, subject.workspace);
    let stream = model.through(ws, layers, &mut |_, _, _| Ok(()))?;
    model.losses_from(ws, stream, subject.vocab)?;
    let losses = ops::read(&ws.losses)?;
    let windows = losses.chunks_exact(ws.time).take(windows);
    Ok(windows
        .map(|w| w.iter().map(|&l| f64::from(l)).sum::<f64>() / ws.time as f64)
        .sum())
}

/// Tracks the work done, in parameters of the layers and heads that batches have gone through.
struct Work<'w, 'f> {
    watch: &'w mut Watch<'f>,
    layer: f64,
    head: f64,
    done: f64,
    all: f64,
}

impl<'w, 'f> Work<'w, 'f> {
    fn new(subject: &Subject<'_>, keep: usize, watch: &'w mut Watch<'f>) -> Self {
        let config = &subject.model.config;
        let params = subject.model.params.iter();
        let first: usize = params
            .filter(|p| p.layer == Some(0))
            .map(crate::model::Param::len)
            .sum();
        let (layer, head) = (first as f64, (config.n_embd * subject.vocab) as f64);
        // The whole model, and for each layer of each round the layers from it on.
        let round = |m: usize| (m * (m + 1) / 2) as f64 * layer + m as f64 * head;
        let rounds: f64 = (keep + 1..=config.n_layer).map(round).sum();
        let whole = config.n_layer as f64 * layer + head;
        Self {
            watch,
            layer,
            head,
            done: 0.0,
            all: (whole + rounds) * subject.batches() as f64,
        }
    }

    /// Adds work and reports the progress.
    fn report(&mut self, done: f64, dropped: Option<(usize, f64)>) -> ControlFlow<()> {
        self.done += done;
        (self.watch)(Progress {
            share: self.done / self.all,
            dropped,
        })
    }
}
