//! The order of a run's phases, for the trainer's plan and for forecasts on a screen.

use super::command::GrowSource;
use super::controls::Control;
use super::event::{Phase, Planned, RunInfo};

/// What the order of a run's phases follows from.
#[derive(Debug)]
pub struct Recipe {
    pub reference_layers: usize,
    /// Steps of the reference phase; 0 when it is loaded.
    pub reference_steps: u64,
    pub round_steps: u64,
    /// Layers that each growth adds; 0 when the model cannot grow.
    pub grow_step: usize,
    /// Where these come from: a model cannot be copied more than once over.
    pub grow_source: GrowSource,
    /// Most layers that a growth leads to.
    pub max_layers: usize,
    /// The controls that the run trains, in order.
    pub controls: Vec<&'static Control>,
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
            controls: Control::planned(info).collect(),
        }
    }

    /// Returns the phases from `first` on with every growth taken. The first round has `layers` layers if it is still to
    /// come, and the present model has them otherwise. Controls take `control_steps`. Empty for a phase of a newer program.
    pub fn phases(&self, first: &Phase, layers: usize, control_steps: u64) -> Vec<Planned> {
        let control = |control: &'static Control, layers| Planned {
            phase: Phase::Control(control),
            layers: control.layers(layers, self.reference_layers),
            steps: control_steps,
            conditional: false,
        };
        let mut all = Vec::new();
        let mut final_layers = layers;
        let mut last_control = None;
        match first {
            Phase::Reference => {
                all.push(Planned {
                    phase: Phase::Reference,
                    layers: self.reference_layers,
                    steps: self.reference_steps,
                    conditional: false,
                });
                final_layers = self.rounds(1, layers, &mut all);
            }
            Phase::Round(n) => final_layers = self.rounds(*n, layers, &mut all),
            Phase::Control(present) => {
                all.push(control(present, layers));
                last_control = Some(*present);
            }
            Phase::Other(_) => return all,
        }
        let controls = self.controls.iter().filter(|c| c.is_after(last_control));
        all.extend(controls.map(|c| control(c, final_layers)));
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
                controls: Vec::new(),
            };
            let phases = recipe.phases(&Phase::Round(1), 1, 10);
            phases.iter().map(|planned| planned.layers).collect()
        };
        assert_eq!(layers(GrowSource::CopyTop, 4), [1, 2, 4, 7]);
        assert_eq!(layers(GrowSource::CopyMiddle, 2), [1, 2, 4, 6, 7]);
        assert_eq!(layers(GrowSource::Next, 4), [1, 5, 7]);
    }
}
