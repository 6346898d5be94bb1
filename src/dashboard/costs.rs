//! The costs of each choice of a decision: layers, parameters, memory, speed, duration and end.

use super::eta;
use crate::run::event::{Evidence, GrowthCost};
use crate::run::show::duration;
use crate::run::state::RunState;
use crate::run::table;

/// Returns the most layers that can still be added.
pub fn layers_left(run: &RunState) -> usize {
    let max = run.info.as_ref().map_or(0, |i| i.max_layers);
    let have = run.core.phase.as_ref().map_or(0, |p| p.layers);
    max.saturating_sub(have)
}

/// A choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Grow by this number of layers.
    Grow(usize),
    /// Continue training for this number of steps.
    TrainOn(u64),
    Stop,
}

/// The costs of a choice; unknown ones are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Layers now and after.
    pub layers: (usize, usize),
    pub parameters: Option<u64>,
    pub bytes: Option<u64>,
    /// Tokens a second.
    pub speed: Option<f64>,
    pub seconds: Option<f64>,
    /// Whether the speed is an estimate, because the run has not trained a model of this size.
    pub estimated: bool,
}

impl Cost {
    /// Estimates the cost of a choice made now. The speed of the present model is measured; the speed of other depths and all memory
    /// are the trainer's estimates, if the evidence has them. The evidence may be that of an earlier round, so layers are counted
    /// from the present model.
    pub fn of(run: &RunState, e: Option<&Evidence>, choice: Choice) -> Self {
        let tokens = run.info.as_ref().map_or(0, |i| i.batch_tokens) as f64;
        let round = run.info.as_ref().map_or(0, |i| i.round_steps) as f64;
        let positive = |x: f64| (x.is_finite() && x > 0.0).then_some(x);
        let now = run.core.phase.as_ref();
        let have = now.map_or_else(|| e.map_or(0, |e| e.layers), |p| p.layers);
        let known = |add: usize| -> Option<&GrowthCost> {
            let mut all = e.into_iter().flat_map(|e| e.costs.iter().chain(&e.growth));
            all.find(|c| c.layers == have + add)
        };
        match choice {
            Choice::Grow(add) => {
                let cost = known(add);
                let speed = cost.and_then(|c| positive(c.tokens_per_second));
                let speed = speed.or_else(|| eta::speed_of(run, have + add));
                Self {
                    layers: (have, have + add),
                    parameters: cost.map(|c| c.parameters),
                    bytes: cost.map(|c| c.memory_bytes),
                    speed,
                    seconds: speed.map(|s| round * tokens / s),
                    estimated: !cost.is_some_and(|c| c.measured),
                }
            }
            Choice::TrainOn(steps) => {
                let cost = known(0);
                let speed = positive(run.core.tokens_per_second)
                    .or_else(|| cost.and_then(|c| positive(c.tokens_per_second)));
                Self {
                    layers: (have, have),
                    parameters: now.map(|p| p.parameters),
                    bytes: cost.map(|c| c.memory_bytes),
                    speed,
                    seconds: speed.map(|s| steps as f64 * tokens / s),
                    estimated: false,
                }
            }
            Choice::Stop => Self {
                layers: (have, have),
                parameters: now.map(|p| p.parameters),
                bytes: None,
                speed: None,
                seconds: eta::of_controls(run),
                estimated: false,
            },
        }
    }

    /// Returns layers, parameters, memory, tokens per second and duration as texts; `~` marks estimates.
    pub fn cells(&self) -> [String; 5] {
        let dash = || "-".to_string();
        let about = if self.estimated { "~" } else { "" };
        let layers = match self.layers {
            (a, b) if a == b => a.to_string(),
            (a, b) => format!("{a}→{b}"),
        };
        [
            layers,
            self.parameters.map_or_else(dash, table::count),
            self.bytes.map_or_else(dash, table::bytes),
            self.speed
                .map_or_else(dash, |s| format!("{about}{}", table::count(s as u64))),
            match self.seconds {
                Some(s) if s > 0.0 => format!("{about}{}", duration(s)),
                _ => dash(),
            },
        ]
    }

    /// Returns the costs as a sentence; `end` is the time of the end as text.
    pub fn sentence(&self, end: Option<String>) -> String {
        let [layers, parameters, bytes, speed, takes] = self.cells();
        let plural = if layers == "1" { "" } else { "s" };
        let mut text = format!("{layers} layer{plural}");
        let mut add = |what: &str, value: String| {
            if value != "-" {
                text.push_str(&format!(" · {value}{what}"));
            }
        };
        add(" params", parameters);
        add("", bytes);
        add(" tok/s", speed);
        add("", takes);
        if let Some(end) = end {
            add("", format!("until {end}"));
        }
        text
    }
}
