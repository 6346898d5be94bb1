//! The order of a run's phases, for the trainer's plan and for forecasts on a screen.

use super::baseline::BaselinePhase;
use super::command::GrowSource;
use super::controls::Control;
use super::event::{Depth, Length, Phase, Planned, PlannedBaseline, RunInfo, Start};

/// The facts from which the order of a run's phases follows.
#[derive(Debug)]
pub struct Recipe {
    pub reference_layers: usize,
    /// Steps of the reference phase; 0 when it is loaded.
    pub reference_steps: u64,
    pub round_steps: u64,
    /// Layers that each growth adds; 0 when the model cannot grow.
    pub grow_step: usize,
    /// The source of these layers; one growth by copies at most doubles a model.
    pub grow_source: GrowSource,
    /// Most layers that a growth leads to.
    pub max_layers: usize,
    /// The models that the run trains for comparison, in order.
    pub comparisons: Vec<Comparison>,
    /// Whether the comparisons follow the reference, without rounds.
    pub without_rounds: bool,
}

/// A phase whose model is compared with the rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub phase: Phase,
    pub depth: Depth,
    pub length: Length,
}

impl Comparison {
    fn of_control(control: &'static Control) -> Self {
        Self {
            phase: Phase::Control(control),
            depth: match control.start {
                Start::Reference => Depth::Reference,
                _ => Depth::Final,
            },
            length: Length::Same,
        }
    }

    fn of_baseline(baseline: &PlannedBaseline) -> Option<Self> {
        Some(Self {
            phase: Phase::Baseline(BaselinePhase::new(&baseline.name, baseline.part)?),
            depth: baseline.depth,
            length: baseline.length,
        })
    }

    /// Returns the comparisons of a run with these controls and baselines, in the order in which they are trained. With
    /// `only`, the phases of that baseline alone.
    pub fn all(
        controls: impl Iterator<Item = &'static Control>,
        baselines: &[PlannedBaseline],
        only: Option<&str>,
    ) -> Vec<Self> {
        let controls = controls.filter(|_| only.is_none()).map(Self::of_control);
        let baselines = baselines
            .iter()
            .filter(|b| only.is_none_or(|only| b.name == only));
        controls
            .chain(baselines.filter_map(Self::of_baseline))
            .collect()
    }

    /// Returns the comparisons of a run with these facts.
    pub fn of_run(info: &RunInfo) -> Vec<Self> {
        let only = info.only_baseline.as_deref();
        Self::all(Control::planned(info), &info.baselines, only)
    }
}

/// Returns the comparisons of `all` that are trained after `before`: all of them after another phase.
pub fn after<'a>(all: &'a [Comparison], before: Option<&Phase>) -> &'a [Comparison] {
    let place = |phase: &Phase| all.iter().position(|c| c.phase == *phase);
    match before {
        Some(before @ (Phase::Control(_) | Phase::Baseline(_))) => match (place(before), before) {
            (Some(i), _) => &all[i + 1..],
            // The config has since dropped this control: the comparisons after it in the table follow.
            (None, Phase::Control(control)) => {
                let is_after = |c: &Comparison| match c.phase {
                    Phase::Control(other) => other.is_after(Some(control)),
                    _ => true,
                };
                let first = all.iter().position(is_after);
                first.map_or(&[], |i| &all[i..])
            }
            (None, _) => &[],
        },
        _ => all,
    }
}

impl Recipe {
    /// Returns the recipe of a run from its facts, for readers without its config.
    pub fn of_run(info: &RunInfo) -> Self {
        Self {
            reference_layers: info.n_layer,
            reference_steps: info.reference_steps,
            round_steps: info.round_steps,
            grow_step: info.grow_step,
            grow_source: info.grow_source,
            max_layers: info.max_layers,
            comparisons: Comparison::of_run(info),
            without_rounds: info.only_baseline.is_some(),
        }
    }

    /// Returns the phases from `first` on with every growth taken. The first round has `layers` layers if it is still to
    /// come, and the present model has them otherwise. Models for comparison take `same` steps, scaled or replaced by
    /// their length. Empty for a phase of a newer program.
    pub fn phases(&self, first: &Phase, layers: usize, same: u64) -> Vec<Planned> {
        let mut all = Vec::new();
        let mut final_layers = layers;
        let planned = |comparison: &Comparison, last| Planned {
            phase: comparison.phase.clone(),
            layers: comparison.depth.layers(last, self.reference_layers),
            steps: comparison.length.steps(same),
            conditional: false,
        };
        match first {
            Phase::Reference => {
                all.push(Planned {
                    phase: Phase::Reference,
                    layers: self.reference_layers,
                    steps: self.reference_steps,
                    conditional: false,
                });
                if !self.without_rounds {
                    final_layers = self.rounds(1, layers, &mut all);
                }
            }
            Phase::Round(n) => final_layers = self.rounds(*n, layers, &mut all),
            Phase::Control(control) => all.push(planned(&Comparison::of_control(control), layers)),
            Phase::Baseline(_) => {
                let known = self.comparisons.iter().find(|c| c.phase == *first);
                all.extend(known.map(|c| planned(c, layers)));
            }
            Phase::Other(_) => return all,
        }
        let comparisons = after(&self.comparisons, Some(first));
        all.extend(comparisons.iter().map(|c| planned(c, final_layers)));
        all
    }

    /// Adds the rounds from `round` on to `all` and returns the layers of the last one.
    fn rounds(&self, mut round: u32, mut layers: usize, all: &mut Vec<Planned>) -> usize {
        let mut conditional = false;
        loop {
            all.push(Planned {
                phase: Phase::Round(round),
                layers,
                steps: self.round_steps,
                conditional,
            });
            let room = self.max_layers.saturating_sub(layers);
            let added = match self.grow_source.copies() {
                true => self.grow_step.min(layers).min(room),
                false => self.grow_step.min(room),
            };
            if added == 0 {
                return layers;
            }
            layers += added;
            round = round.saturating_add(1);
            conditional = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_copied_once_over_at_most() {
        let layers = |grow_source, grow_step| -> Vec<usize> {
            let recipe = Recipe {
                reference_layers: 8,
                reference_steps: 10,
                round_steps: 10,
                grow_step,
                grow_source,
                max_layers: 7,
                comparisons: Vec::new(),
                without_rounds: false,
            };
            let phases = recipe.phases(&Phase::Round(1), 1, 10);
            phases.iter().map(|planned| planned.layers).collect()
        };
        assert_eq!(layers(GrowSource::CopyTop, 4), [1, 2, 4, 7]);
        assert_eq!(layers(GrowSource::CopyMiddle, 2), [1, 2, 4, 6, 7]);
        assert_eq!(layers(GrowSource::Next, 4), [1, 5, 7]);
    }
}
