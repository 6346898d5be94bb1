//! Chooses the layers of the reference that a model takes, by a measure on the validation text if the choice asks for one.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::outcome::{Boundary, Ended, Next};
use super::record;
use super::start::{Sources, Start};
use super::trainer::Trainer;
use crate::config::{LayerChoice, Measure};
use crate::inherit::{self, Measured};
use crate::model::Files;
use crate::run::command::Command;
use crate::run::event::{Body, LayerMeasure, Log, Phase};
use crate::run::table;
use crate::text::duration;

/// Tokens of the validation text on which losses without a layer are measured; few, because there are many passes.
const LOSS_TOKENS: usize = 16_384;
/// Time between two events that report the progress of a measure.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Layers of the reference, in order, and the measure that chose them, if any.
pub(super) type Layers = (Vec<usize>, Option<LayerMeasure>);

impl Trainer {
    /// Returns the layers of the finished reference that a choice selects. A measured choice is measured on the validation
    /// windows; a signal or `quit` interrupts it, and the result is `None`. After a measure, interrupted or not, the model in
    /// memory is the reference.
    ///
    /// # Errors
    /// When the choice names layers that the reference lacks, the reference cannot be read or measured, or another rank is lost
    /// meanwhile.
    pub(super) fn choose_layers(
        &mut self,
        choice: &LayerChoice,
        reference: &Files,
    ) -> Result<Option<Layers>> {
        let measured = self.state.reference.as_ref();
        let max_rank = measured.map_or(Vec::new(), |r| r.max_rank.clone());
        let starts = self.measured_starts(choice.measure());
        let n_layer = reference.config.n_layer;
        let chosen = inherit::resolve(choice, n_layer, &max_rank, |measure, keep| {
            self.measure_layers(reference, measure, keep, &starts)
        })?;
        Ok(chosen.map(|chosen| {
            let event = chosen.measured.map(|m| to_event(m, starts.len()));
            (chosen.layers, event)
        }))
    }

    /// Returns the starts of the windows for a measure: all validation windows, or some of them, evenly spread.
    fn measured_starts(&self, measure: Option<Measure>) -> Vec<usize> {
        let passes = self.learner.passes();
        let (all, time) = (passes.eval_windows, passes.time);
        let wanted = match measure {
            Some(Measure::Loss) => (LOSS_TOKENS / time).max(passes.eval_batch),
            _ => all,
        };
        let starts = crate::corpus::even_starts(self.data.val().len(), time, all);
        let wanted = wanted.min(all);
        (0..wanted).map(|i| starts[i * all / wanted]).collect()
    }

    /// Takes a measure. `None` if a signal or `quit` has interrupted it; an error also if another rank is lost meanwhile.
    fn measure_layers(
        &mut self,
        reference: &Files,
        measure: Measure,
        keep: usize,
        starts: &[usize],
    ) -> Result<Option<Measured>> {
        let n_layer = reference.config.n_layer;
        // After the reference's phase it is still in memory.
        if self.state.phase != Phase::Reference || self.learner.holds().is_none() {
            // A checkpoint that is being written holds a copy of the previous model.
            self.keeping().finish();
            let sources = Sources {
                reference: Some(reference),
                own: None,
            };
            Start::reference(n_layer).apply(&mut self.learner, sources, false)?;
        }
        let message = format!(
            "choosing {keep} of {} by {} on {} of {} tokens",
            table::plural(n_layer, "layer"),
            measure.name(),
            table::plural(starts.len(), "validation window"),
            self.learner.passes().time,
        );
        self.emit(Body::Log(Log { message }));
        // A measure takes long, and readers of the journal see what it reports.
        self.journal.flush();
        let (control, journal, state) = (&mut self.control, &mut self.journal, &self.state);
        let (began, mut reported) = (Instant::now(), Instant::now());
        let (peers, mut lost) = (self.learner.peers(), None);
        let mut watch = |progress: inherit::measure::Progress| {
            lost = peers.check().err();
            if lost.is_some() || control.is_interrupted(quits) {
                return ControlFlow::Break(());
            }
            if progress.dropped.is_some() || reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let left = began.elapsed().as_secs_f64() * (1.0 / progress.share - 1.0);
                let done = match progress.dropped {
                    Some((layer, loss)) => format!("layer {layer} dropped, loss {loss:.4}"),
                    None => format!("measuring layers: {:.0}%", 100.0 * progress.share),
                };
                let message = match progress.share < 1.0 {
                    true => format!("{done}; about {} left", duration(left)),
                    false => format!("{done} ({})", duration(began.elapsed().as_secs_f64())),
                };
                record::emit(journal, state, Body::Log(Log { message }));
                journal.flush();
            }
            ControlFlow::Continue(())
        };
        let val = self.data.val();
        let measured = self
            .learner
            .measure_layers(val, starts, measure, keep, &mut watch);
        match lost {
            Some(lost) => Err(lost.into()),
            None => measured,
        }
    }

    /// Handles the interruption of a measure; its task stays due. `Some` ends this process's part.
    pub(super) fn after_interruption(&mut self) -> Result<Option<Ended>> {
        if let Some((by, command, sender)) = self.control.take(quits) {
            return Ok(match self.obey(by, command, sender)? {
                Next::End(ended) => Some(ended),
                _ => None,
            });
        }
        if !self.control.must_stop() {
            return Ok(None);
        }
        Ok(match self.boundary()? {
            Boundary::End(ended) => Some(ended),
            _ => None,
        })
    }
}

fn quits(command: &Command) -> bool {
    *command == Command::Quit
}

fn to_event(measured: Measured, windows: usize) -> LayerMeasure {
    LayerMeasure {
        name: measured.measure.name().into(),
        windows: windows as u64,
        dropped: measured.dropped,
        values: measured.values,
        whole: measured.whole,
    }
}
