//! Values that operators have set while the training ran. The state of a checkpoint holds them, so that a resume continues with them and a
//! rollback undoes them.
//!
//! A change holds from its place on, a round (0 for the reference) and a step of it, until the next change. A control, which goes through
//! the schedules of the rounds that it is compared with, is given their places and so their values; but it trains all of its layers.

use serde::{Deserialize, Serialize};

use crate::config::resume::Values;
use crate::run::setting::{MOST_WEIGHT, Setting};

/// A round, and a step of its schedule.
pub type Place = (u32, u64);

/// Changes in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveControls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<SettingChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mixture: Vec<WeightChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cooldowns: Vec<Cooldown>,
    /// Layers that are not trained, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    frozen: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct SettingChange {
    place: Place,
    setting: Setting,
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct WeightChange {
    place: Place,
    source: usize,
    weight: f64,
}

/// A value that an operator had set and another config has overruled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overruled {
    Setting(Setting),
    /// The key of the schedule that has another value.
    Cooldown(String),
}

impl Overruled {
    /// Its name in [`crate::run::event::Change`].
    pub fn what(&self) -> &'static str {
        match self {
            Self::Setting(setting) => setting.name(),
            Self::Cooldown(_) => "cooldown",
        }
    }
}

/// Keys of `[train]` and `[reference.train]` that determine a schedule.
const SCHEDULE: [&str; 4] = ["lr", "min_lr", "warmup", "schedule"];

/// A linear fall of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cooldown {
    place: Place,
    steps: u64,
    /// Rates before the first update and from the last one on.
    from: f64,
    to: f64,
    /// The factor on the schedule's rates that `from` includes.
    scale: f64,
}

impl Cooldown {
    /// The rate of the update that follows `step` finished ones, without the factor on the schedule's rates.
    pub fn planned(&self, step: u64) -> f64 {
        let taken = step.saturating_sub(self.place.1).saturating_add(1);
        let share = taken.min(self.steps) as f64 / self.steps as f64;
        // Exactly `to` at the end.
        (self.from * (1.0 - share) + self.to * share) / self.scale
    }
}

impl LiveControls {
    /// Whether nothing has been set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The value of a setting at a place, `configured` where it has not been changed.
    pub fn value(&self, setting: Setting, place: Place, configured: f64) -> f64 {
        let mut changes = self.settings.iter().rev();
        let last = changes.find(|c| c.setting == setting && c.place <= place);
        last.map_or(configured, |c| c.value)
    }

    pub fn set(&mut self, setting: Setting, place: Place, value: f64) {
        self.settings.push(SettingChange {
            place,
            setting,
            value,
        });
    }

    /// Returns to the configured values of the settings whose keys another config gives other values than `before`, in all
    /// places, and ends the cooldowns of `round` where the schedule's keys have other values. Returns what had been set.
    pub fn give_way(&mut self, before: &Values, now: &Values, round: u32) -> Vec<Overruled> {
        let is_new = |key: &str| before.contains_key(key) && before.get(key) != now.get(key);
        let mut overruled = Vec::new();
        for setting in Setting::ALL {
            let is_set = self.settings.iter().any(|c| c.setting == setting);
            if is_set && is_new(setting.key()) {
                self.settings.retain(|c| c.setting != setting);
                overruled.push(Overruled::Setting(setting));
            }
        }
        let own = SCHEDULE.iter().map(|key| format!("reference.train.{key}"));
        let shared = SCHEDULE.iter().map(|key| format!("train.{key}"));
        let mut keys = own.filter(|_| round == 0).chain(shared);
        let cools_down = self.cooldowns.iter().any(|c| c.place.0 == round);
        // A key may be absent before or now: an absent minimum is a tenth of the peak. States of earlier versions have no values at all.
        let changed = |key: &String| before.get(key) != now.get(key) && !before.is_empty();
        if let Some(key) = keys.find(|key| cools_down && changed(key)) {
            self.cooldowns.retain(|c| c.place.0 != round);
            overruled.push(Overruled::Cooldown(key));
        }
        overruled
    }

    /// The weights of the sources of the training text at a place; `None` where they are the configured ones.
    pub fn weights(&self, place: Place, configured: &[f64]) -> Option<Vec<f64>> {
        let mut weights: Option<Vec<f64>> = None;
        for change in self.mixture.iter().filter(|c| c.place <= place) {
            let weights = weights.get_or_insert_with(|| configured.to_vec());
            if let Some(weight) = weights.get_mut(change.source) {
                *weight = change.weight;
            }
        }
        weights
    }

    pub fn set_weight(&mut self, source: usize, place: Place, weight: f64) {
        self.mixture.push(WeightChange {
            place,
            source,
            weight,
        });
    }

    /// The cooldown that the rate at a place follows: the last one that began in the same round.
    pub fn cooldown(&self, (round, step): Place) -> Option<&Cooldown> {
        let mut all = self.cooldowns.iter().rev();
        all.find(|c| c.place.0 == round && c.place.1 <= step)
    }

    /// Lets the rate fall from `from`, of which `scale` is the factor on the schedule's, to `to` within `steps`.
    pub fn cool_down(&mut self, place: Place, steps: u64, (from, to): (f64, f64), scale: f64) {
        self.cooldowns.push(Cooldown {
            place,
            steps,
            from,
            to,
            scale,
        });
    }

    /// Layers that are not trained.
    pub fn frozen(&self) -> &[usize] {
        &self.frozen
    }

    /// Freezes layers. Returns whether one of them was trained.
    pub fn freeze(&mut self, layers: std::ops::Range<usize>) -> bool {
        let before = self.frozen.len();
        self.frozen.extend(layers);
        self.frozen.sort_unstable();
        self.frozen.dedup();
        self.frozen.len() > before
    }

    /// Trains layers again. Returns whether one of them was frozen.
    pub fn unfreeze(&mut self, layers: &std::ops::Range<usize>) -> bool {
        let before = self.frozen.len();
        self.frozen.retain(|layer| !layers.contains(layer));
        self.frozen.len() < before
    }

    /// The frozen layers in words: `none`, or ranges without their ends (`0..2, 5`).
    pub fn frozen_words(&self) -> String {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for &layer in &self.frozen {
            match ranges.last_mut() {
                Some((_, end)) if *end == layer => *end += 1,
                _ => ranges.push((layer, layer + 1)),
            }
        }
        let words = ranges.iter().map(|&(from, to)| match to - from {
            1 => from.to_string(),
            _ => format!("{from}..{to}"),
        });
        match ranges.is_empty() {
            true => "none".into(),
            false => words.collect::<Vec<_>>().join(", "),
        }
    }

    /// Rejects values that a trainer never writes, in a state that was read.
    ///
    /// # Errors
    /// Describes the problem.
    pub fn check(&self, most_layers: usize) -> Result<(), String> {
        if self.frozen.iter().any(|&layer| layer >= most_layers) {
            return Err(format!("a layer beyond {most_layers} is frozen"));
        }
        for change in &self.settings {
            change.setting.check(change.value)?;
        }
        let weight = |c: &WeightChange| (0.0..=MOST_WEIGHT).contains(&c.weight);
        if !self.mixture.iter().all(weight) {
            return Err(format!("a source's weight is not in [0, {MOST_WEIGHT}]"));
        }
        let good = |rate: f64| rate.is_finite() && rate >= 0.0;
        let cooldown = |c: &Cooldown| {
            c.steps > 0 && good(c.from) && good(c.to) && good(c.scale) && c.scale > 0.0
        };
        match self.cooldowns.iter().all(cooldown) {
            true => Ok(()),
            false => Err("a cooldown has no steps, or rates that are not numbers above 0".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_from_its_place_on() {
        let mut live = LiveControls::default();
        let clip = |live: &LiveControls, place| live.value(Setting::Clip, place, 1.0);
        live.set(Setting::Clip, (1, 10), 0.5);
        live.set(Setting::WeightDecay, (1, 12), 0.0);
        live.set(Setting::Clip, (2, 3), 2.0);
        for (place, wanted) in [
            ((0, 99), 1.0),
            ((1, 9), 1.0),
            ((1, 10), 0.5),
            ((2, 2), 0.5),
            ((2, 3), 2.0),
            ((3, 0), 2.0),
        ] {
            assert_eq!(clip(&live, place), wanted, "{place:?}");
        }
        assert_eq!(live.value(Setting::WeightDecay, (1, 12), 0.1), 0.0);
        assert_eq!(live.value(Setting::Beta2, (9, 9), 0.95), 0.95);
    }

    #[test]
    fn weights_change_source_by_source() {
        let mut live = LiveControls::default();
        assert_eq!(live.weights((1, 0), &[1.0, 2.0]), None);
        live.set_weight(1, (1, 5), 0.0);
        live.set_weight(0, (2, 0), 3.0);
        assert_eq!(live.weights((1, 4), &[1.0, 2.0]), None);
        assert_eq!(live.weights((1, 5), &[1.0, 2.0]), Some(vec![1.0, 0.0]));
        assert_eq!(live.weights((2, 0), &[1.0, 2.0]), Some(vec![3.0, 0.0]));
    }

    #[test]
    fn a_cooldown_falls_linearly_and_ends_at_its_floor() {
        let mut live = LiveControls::default();
        live.cool_down((1, 20), 4, (0.8, 0.4), 1.0);
        assert!(live.cooldown((1, 19)).is_none() && live.cooldown((2, 30)).is_none());
        let rate = |step| live.cooldown((1, step)).unwrap().planned(step);
        for (step, wanted) in [(20, 0.7), (21, 0.6), (22, 0.5), (23, 0.4), (50, 0.4)] {
            assert!(
                (rate(step) - wanted).abs() < 1e-12,
                "{step}: {}",
                rate(step)
            );
        }
        // What the operator made of the schedule before is not counted twice.
        live.cool_down((1, 30), 1, (0.8, 0.4), 2.0);
        assert!((live.cooldown((1, 30)).unwrap().planned(30) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn what_the_config_changes_is_forgotten() {
        let values = |clip: &str, betas: &str| -> Values {
            let all = [("train.clip", clip), ("train.betas", betas)];
            all.map(|(key, value)| (key.to_string(), value.to_string()))
                .into()
        };
        let before = values("1.0", "[0.9, 0.95]");
        let mut live = LiveControls::default();
        for setting in [Setting::Clip, Setting::WeightDecay, Setting::Clip] {
            live.set(setting, (1, 4), 0.5);
        }
        assert!(live.give_way(&before, &before.clone(), 1).is_empty());
        // States of earlier versions have no values.
        assert!(live.give_way(&Values::new(), &before, 1).is_empty());
        let now = values("0.7", "[0.9, 0.99]");
        let overruled = [Overruled::Setting(Setting::Clip)];
        assert_eq!(live.give_way(&before, &now, 1), overruled);
        assert_eq!(live.value(Setting::Clip, (1, 9), 0.7), 0.7);
        assert_eq!(live.value(Setting::WeightDecay, (1, 9), 0.1), 0.5);
    }

    #[test]
    fn a_cooldown_ends_when_the_schedule_is_another_one() {
        let rates = |lr: &str| -> Values { [("train.lr".to_string(), lr.to_string())].into() };
        let mut live = LiveControls::default();
        live.cool_down((1, 4), 10, (0.8, 0.1), 1.0);
        live.cool_down((2, 4), 10, (0.8, 0.1), 1.0);
        assert!(live.give_way(&rates("0.8"), &rates("0.8"), 2).is_empty());
        let overruled = live.give_way(&rates("0.8"), &rates("0.1"), 2);
        assert_eq!(overruled, [Overruled::Cooldown("train.lr".into())]);
        // What a control repeats of an earlier round stays.
        assert!(live.cooldown((2, 9)).is_none() && live.cooldown((1, 9)).is_some());
    }

    #[test]
    fn layers_are_frozen_by_ranges() {
        let mut live = LiveControls::default();
        assert_eq!(live.frozen_words(), "none");
        assert!(live.freeze(0..2) && live.freeze(1..3) && !live.freeze(0..3));
        assert!(live.freeze(5..6));
        assert_eq!(
            (live.frozen(), live.frozen_words().as_str()),
            (&[0, 1, 2, 5][..], "0..3, 5")
        );
        assert!(live.unfreeze(&(1..2)) && !live.unfreeze(&(1..2)));
        assert_eq!(live.frozen_words(), "0, 2, 5");
    }

    #[test]
    fn states_without_changes_say_nothing_and_odd_ones_are_refused() {
        let none = LiveControls::default();
        assert_eq!(serde_json::to_string(&none).unwrap(), "{}");
        assert!(none.is_empty() && none.check(10).is_ok());
        for text in [
            r#"{"frozen":[10]}"#,
            r#"{"settings":[{"place":[1,2],"setting":"beta2","value":1.0}]}"#,
            r#"{"mixture":[{"place":[1,2],"source":0,"weight":-1.0}]}"#,
            r#"{"cooldowns":[{"place":[1,2],"steps":0,"from":0.1,"to":0.1,"scale":1.0}]}"#,
        ] {
            let live: LiveControls = serde_json::from_str(text).unwrap();
            assert!(live.check(10).is_err(), "{text}");
        }
    }
}
