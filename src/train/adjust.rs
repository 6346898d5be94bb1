//! Values that operators set in a running training: learning rate, hyperparameters, weights of the sources of the text, a
//! cooldown, frozen layers.

use std::ops::Range;

use super::control::Pause;
use super::live::Overruled;
use super::optimizer::Hyperparameters;
use super::plan;
use super::trainer::Trainer;
use crate::run::command::{By, Command, MOST_STEPS};
use crate::run::event::{Body, Change, Log, Phase};
use crate::run::setting::{MOST_WEIGHT, Setting};
use crate::run::table;
use crate::run::words::MOST_LR;

/// The answer to a command that has set something with the change it made, or the reason why it is refused.
type Adjusted = Result<(String, Change), String>;

impl Trainer {
    /// The learning rate of the next update.
    pub(super) fn learning_rate(&self) -> f64 {
        self.planned_rate() * self.state.rate_scale()
    }

    /// The learning rate of the next update without the factor that the operator has put on the schedule.
    fn planned_rate(&self) -> f64 {
        let place = self.state.schedule_place();
        match self.state.live.cooldown(place) {
            Some(cooldown) => cooldown.planned(place.1),
            None => self.schedule().at(place.1),
        }
    }

    /// The schedule of the present phase; a control's is that of the rounds it is compared with.
    pub(super) fn schedule(&self) -> plan::LearningRate {
        let follows = self.state.is_control() && !self.state.has_own_schedule();
        let steps = match follows {
            true => self.config.train.steps,
            false => self.state.steps,
        };
        plan::LearningRate::of_phase(&self.config, &self.state.phase, steps)
    }

    /// The hyperparameters of the next update.
    pub(super) fn hyperparameters(&self) -> Hyperparameters<'_> {
        let (train, live) = (&self.config.train, &self.state.live);
        let [beta1, _] = train.betas;
        Hyperparameters {
            betas: [beta1, self.value(Setting::Beta2)],
            weight_decay: self.value(Setting::WeightDecay),
            clip: self.value(Setting::Clip),
            frozen: live.frozen(),
            ..Hyperparameters::of(train, self.learning_rate())
        }
    }

    /// A setting's value at the present step.
    fn value(&self, setting: Setting) -> f64 {
        let train = &self.config.train;
        let configured = match setting {
            Setting::WeightDecay => train.weight_decay,
            Setting::Clip => train.clip,
            Setting::Beta2 => train.betas[1],
        };
        let place = self.state.schedule_place();
        self.state.live.value(setting, place, configured)
    }

    /// The weights of the sources of the training text at the present step.
    pub(super) fn weights(&self) -> Vec<f64> {
        let (place, configured) = (self.state.schedule_place(), self.data.weights());
        let weights = self.state.live.weights(place, configured);
        weights.unwrap_or_else(|| configured.to_vec())
    }

    /// Scales the phase's schedule so that the next update has this rate.
    pub(super) fn set_lr(&mut self, lr: f64) -> Adjusted {
        if !(lr.is_finite() && lr > 0.0 && lr <= MOST_LR) {
            return Err(format!(
                "a learning rate must be above 0 and at most {MOST_LR}, is {lr}"
            ));
        }
        if self.state.is_control() {
            return Err("a control is trained with the same learning rates as the model it is compared with".into());
        }
        let planned = self.planned_rate();
        if !(lr / planned).is_finite() {
            return Err("the schedule has come to a rate of 0, which cannot be scaled".into());
        }
        let before = self.learning_rate();
        self.state.scale_rate(lr / planned);
        let message = format!(
            "learning rate {lr:.3e} from {} on, was {before:.3e}; the rest of the schedule is scaled with it",
            self.place()
        );
        Ok((
            message,
            change("lr", format!("{before:.3e}"), format!("{lr:.3e}")),
        ))
    }

    /// Sets a hyperparameter of all updates from the next one on.
    pub(super) fn set(&mut self, setting: Setting, value: f64) -> Adjusted {
        setting.check(value)?;
        self.refuse_in_control()?;
        let before = self.value(setting);
        if before == value {
            return Err(format!("{setting} is {value} already"));
        }
        let place = self.state.schedule_place();
        self.state.live.set(setting, place, value);
        let message = format!("{setting} {value} from {} on, was {before}", self.place());
        let change = change(setting.name(), before.to_string(), value.to_string());
        Ok((message, change))
    }

    /// Sets the weight of a source of the training text in all batches from the next one on.
    pub(super) fn set_mixture(&mut self, source: usize, weight: f64) -> Adjusted {
        self.refuse_in_control()?;
        let mut weights = self.weights();
        let n = weights.len();
        if n < 2 {
            return Err("the training text has one source: there is nothing to weigh".into());
        }
        let Some(own) = weights.get_mut(source) else {
            return Err(format!(
                "the training text has sources 0 to {}, no source {source}",
                n - 1
            ));
        };
        if !(0.0..=MOST_WEIGHT).contains(&weight) {
            return Err(format!(
                "a weight must be in [0, {MOST_WEIGHT}], is {weight}"
            ));
        }
        let before = std::mem::replace(own, weight);
        if before == weight {
            return Err(format!("the weight of source {source} is {weight} already"));
        }
        let sum: f64 = weights.iter().sum();
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(format!(
                "the weights would sum to {sum}; one source must have a weight above 0"
            ));
        }
        let place = self.state.schedule_place();
        self.state.live.set_weight(source, place, weight);
        let shares = weights.iter().map(|w| format!("{:.1} %", 100.0 * w / sum));
        let message = format!(
            "weight of source {source}: {weight} from {} on, was {before}; shares are now {}",
            self.place(),
            shares.collect::<Vec<_>>().join(", ")
        );
        let what = format!("mixture {source}");
        Ok((
            message,
            change(&what, before.to_string(), weight.to_string()),
        ))
    }

    /// Lets the rate fall linearly to the schedule's lowest within `steps`; then the phase's decision is due.
    pub(super) fn cool_down(&mut self, by: By, steps: u64) -> Adjusted {
        self.refuse_in_control()?;
        if !self.state.trains() {
            return Err("this phase does not train".into());
        }
        let due = self.state.phase_step.saturating_add(steps);
        if steps == 0 || due > MOST_STEPS {
            return Err(format!("{steps} steps: give 1 to {MOST_STEPS}"));
        }
        let (from, to) = (self.learning_rate(), self.schedule().min);
        // A rate that a factor has lowered to the minimum may differ from it by rounding.
        if from <= to * (1.0 + 1e-9) {
            return Err(format!(
                "the learning rate, {from:.3e}, is not above min_lr ({to:.3e}): there is nothing to cool down"
            ));
        }
        let (place, scale) = (self.state.schedule_place(), self.state.rate_scale());
        self.state.live.cool_down(place, steps, (from, to), scale);
        let step = self.state.phase_step;
        self.state.course.cool_down(step, steps, from, to);
        self.state.due = due;
        self.resolve(by, Command::Cooldown { steps }.describe());
        if self.control.paused() == Some(Pause::Waiting) {
            self.unpause();
        }
        let end = match self.state.phase {
            Phase::Round(_) => "the decision is due",
            _ => "the phase ends",
        };
        let message = format!(
            "learning rate from {from:.3e} to {to:.3e} over {}; {end} at step {due}",
            table::plural(usize::try_from(steps).unwrap_or(usize::MAX), "step"),
        );
        Ok((
            message,
            change("cooldown", format!("{from:.3e}"), format!("{to:.3e}")),
        ))
    }

    /// Stops training layers, until they are unfrozen or another model than a grown one takes the present one's place. Controls
    /// do not repeat it. A growth keeps the indices, also of layers that it takes from the reference again.
    pub(super) fn freeze(&mut self, layers: Range<usize>) -> Adjusted {
        self.change_frozen(&layers, true)
    }

    /// Trains layers again.
    pub(super) fn unfreeze(&mut self, layers: &Range<usize>) -> Adjusted {
        self.change_frozen(layers, false)
    }

    fn change_frozen(&mut self, layers: &Range<usize>, freeze: bool) -> Adjusted {
        self.refuse_in_control()?;
        let n_layer = self.learner.shape().n_layer;
        if layers.is_empty() || layers.end > n_layer {
            return Err(format!(
                "layers {}..{}: the model has layers 0..{n_layer} (without {n_layer})",
                layers.start, layers.end
            ));
        }
        let live = &mut self.state.live;
        let before = live.frozen_words();
        let (news, state) = match freeze {
            true => (live.freeze(layers.clone()), "frozen"),
            false => (live.unfreeze(layers), "trained"),
        };
        if !news {
            return Err(format!(
                "layers {}..{} are {state} already; frozen: {before}",
                layers.start, layers.end
            ));
        }
        let now = live.frozen_words();
        let message = format!(
            "frozen layers from {} on: {now} (were: {before})",
            self.place()
        );
        Ok((message, change("frozen layers", before, now)))
    }

    /// Reports what an operator had set and follows the config again, which has changed since.
    pub(super) fn report_overruled(&mut self, overruled: &[Overruled]) {
        for what in overruled {
            let place = self.place();
            let message = match what {
                Overruled::Setting(setting) => format!(
                    "{setting} is {} from {place} on: {} was changed in the config after an operator had set {setting}",
                    self.value(*setting),
                    setting.key()
                ),
                Overruled::Cooldown(key) => format!(
                    "the cooldown has ended at {place}: {key} was changed in the config after an operator had begun it"
                ),
            };
            self.emit(Body::Log(Log { message }));
        }
    }

    fn refuse_in_control(&self) -> Result<(), String> {
        match self.state.is_control() {
            true => Err(
                "a control is trained with the same values as the model it is compared with".into(),
            ),
            false => Ok(()),
        }
    }
}

/// Their names in journals.
pub(super) fn names(overruled: &[Overruled]) -> Vec<String> {
    overruled.iter().map(|o| o.what().into()).collect()
}

fn change(what: &str, old: String, new: String) -> Change {
    Change {
        what: what.into(),
        old,
        new,
    }
}
