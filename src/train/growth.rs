//! Growth as a transaction: checks, a verified checkpoint before it, the grown model, its evaluation, and only then the `grow` event. If a
//! part of it fails, or the grown model fails soon after, it is rolled back.

use anyhow::{Result, bail};

use super::control::{Pause, Verdict};
use super::keeper::pre_grow;
use super::outcome::Ended;
use super::start::{Sources, Start};
use super::state::PendingGrowth;
use super::trainer::Trainer;
use crate::inherit;
use crate::run::command::GrowMode;
use crate::run::event::{Body, Growth, Phase};
use crate::run::hints::DECIDE_AGAIN;

impl Trainer {
    /// Begins the next round, with `add` more layers. `Some` ends this process's part.
    pub(super) fn grow(&mut self, add: usize, mode: GrowMode) -> Result<Option<Ended>> {
        match self.try_grow(add, mode) {
            Ok(round) => {
                self.keeping()
                    .background(&format!("start of round {round}"), false);
                Ok(None)
            }
            Err(error) => self.growth_failed(&format!("{error:#}")),
        }
    }

    /// Grows and evaluates; the `grow` event comes last.
    fn try_grow(&mut self, add: usize, mode: GrowMode) -> Result<u32> {
        if let Some(refusal) = self.cannot_grow(add) {
            bail!(refusal);
        }
        let last = self.state.rounds.last();
        let (before, val_loss) = last.map_or((1, f64::NAN), |r| (r.round, r.result.val_loss));
        let round = before + 1;
        let sources = self.state.source_layers.clone();
        let reference = self.reference()?;
        let from = self.config.grow.source;
        let layers = inherit::grow(from, &sources, add, reference.config.n_layer);
        let (_, added) = inherit::sources(&layers, &sources);
        // By its own name: the link may be another branch's, and may not have been written.
        let link = pre_grow(before);
        let known = self.keeper.before_growth();
        let checkpoint =
            known.unwrap_or_else(|| self.keeper.checkpoints().resolve(&link).unwrap_or(link));
        let (what, seed) = (&self.config.inherit.what, self.config.train.seed);
        let start = Start::grown(mode, &sources, &layers, what, seed);
        let own = match start.takes_own() {
            // Written and verified before the growth.
            true => Some(self.keeper.checkpoints().open_saved(&checkpoint)?),
            false => None,
        };
        let models = Sources {
            reference: Some(&reference),
            own: own.as_ref(),
        };
        start.apply(&mut self.learner, models, true)?;
        if crate::fault::is_at("growth", u64::from(round)) {
            bail!("out of memory, as HEIRLOOM_FAULT asks");
        }
        if crate::fault::is_at("growth-nan", u64::from(round)) {
            let weights = &self.learner.model()?.weights;
            weights.write_all(&vec![f32::NAN; weights.elements()])?;
        }
        self.state.stream = u64::from(round);
        let (from_layers, to_layers) = (sources.len(), self.learner.shape().n_layer);
        self.begin(Phase::Round(round), &start, self.config.train.steps)?;
        let loss = self.state.eval_now().map_or(f64::NAN, |e| e.val_loss());
        if !loss.is_finite() {
            bail!("the grown model's validation loss is not finite");
        }
        self.state.pending_growth = Some(PendingGrowth {
            checkpoint,
            val_loss,
        });
        self.emit(Body::Grow(Growth {
            from_layers,
            to_layers,
            added,
            mode,
            source: from,
            round,
        }));
        Ok(round)
    }

    /// Returns why the growth that the present round began with has failed, once that is known. A growth has succeeded if the validation
    /// loss is finite at the next evaluation and, with `grow.recover_steps`, has come back below its value before the growth within that
    /// number of steps.
    pub(super) fn judge_growth(&mut self) -> Result<Option<String>> {
        let Some(pending) = self.state.pending_growth.clone() else {
            return Ok(None);
        };
        let (step, within) = (self.state.phase_step, self.config.grow.recover_steps);
        if step == within {
            self.evaluate()?;
        }
        let after = self.state.evals.iter().filter(|e| e.phase_step > 0);
        let losses: Vec<f64> = after.map(|e| e.val_loss()).collect();
        let Some(last) = losses.last() else {
            return Ok(None);
        };
        if !last.is_finite() {
            return Ok(Some("the validation loss is not finite".into()));
        }
        let recovered = losses.iter().any(|loss| *loss < pending.val_loss);
        if within == 0 || recovered {
            self.state.pending_growth = None;
        } else if step >= within {
            let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
            return Ok(Some(format!(
                "after {step} steps the validation loss, {best:.4} at best, has not come back below {:.4}, its value before the growth",
                pending.val_loss
            )));
        }
        Ok(None)
    }

    /// Goes back to the model before a growth, and reports why.
    pub(super) fn growth_failed(&mut self, why: &str) -> Result<Option<Ended>> {
        let round = self.state.rounds.last().map_or(1, |r| r.round);
        let known = self
            .state
            .pending_growth
            .as_ref()
            .map(|p| p.checkpoint.clone());
        let name = known.or_else(|| self.keeper.before_growth());
        let name = name.unwrap_or_else(|| pre_grow(round));
        self.warn(format!("the growth has failed: {why}"));
        // If a rank is lost, nothing can be read back here: a resume does so.
        self.learner.peers().check()?;
        self.roll_back(&name, why).map_err(|error| {
            error.context(format!(
                "the growth has failed ({why}), and {name} could not be restored"
            ))
        })?;
        self.held_back(&format!("the model was not grown: {why}"))
    }

    /// Handles a round whose end could not be carried out: an operator decides again, or the process ends.
    pub(super) fn held_back(&mut self, message: &str) -> Result<Option<Ended>> {
        if self.control.verdict_on_failure(&self.state) == Verdict::Wait {
            self.pause(Pause::Waiting, Some(format!("{message}{DECIDE_AGAIN}")));
            return Ok(None);
        }
        Ok(Some(Ended::Failed(format!(
            "{message}. The run is as it was before; resume: heirloom train --resume {}",
            self.directory.run().argument()
        ))))
    }
}
