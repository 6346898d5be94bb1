//! Describes the phases of a run, as far as they follow from its config.

use crate::config::{BaselineConfig, BaselineSteps, Config};
use crate::inherit;
use crate::run::controls::Control;
use crate::run::event::Start;
use crate::run::table;
use crate::train::plan;

/// Returns one line a phase, in order; rounds after the first share one. `n_layer` is the reference's number of layers,
/// where it is known before the reference is read.
pub fn phases(config: &Config, n_layer: Option<usize>) -> Vec<String> {
    phases_with(config, n_layer, &|_| None)
}

/// Returns the lines of [`phases`] with the number of parameters of each model. `parameters` returns that number for a number
/// of layers, if it is known.
pub fn phases_with(
    config: &Config,
    n_layer: Option<usize>,
    parameters: &dyn Fn(usize) -> Option<u64>,
) -> Vec<String> {
    let layers = |n: Option<usize>| layers(n, parameters);
    let inherited = n_layer.and_then(|n| inherit::choose(&config.inherit.layers, n, &[]).ok());
    let first = inherited.as_ref().map(Vec::len);
    let grows = |n| plan::grows(config, inherited.as_deref().unwrap_or_default(), n);
    let max = match (n_layer, first) {
        (Some(n), Some(first)) if grows(n) => plan::max_layers(config, n).max(first),
        (_, first) => first.unwrap_or(0),
    };
    let round = steps(config.train.steps);
    let reference = match config.reference.train.as_ref().map_or(0, |r| r.steps) {
        0 => "loaded and measured".to_string(),
        n => steps(n),
    };
    let only = config.policy.only_baseline.as_ref();
    if only.is_some() {
        let mut all = vec![line("Reference", [layers(n_layer), Some(reference)])];
        all.extend(baselines(config));
        return all;
    }
    let mut all = vec![
        line("Reference", [layers(n_layer), Some(reference)]),
        line("Round 1", [layers(first), Some(round.clone())]),
    ];
    match first {
        Some(n) if n < max => {
            let rounds = 1 + growths(config, n, max);
            let which = match rounds {
                2 => "Round 2, if needed".to_string(),
                n => format!("Rounds 2 to {n}, if needed"),
            };
            let most = layers(Some(max)).map(|most| format!("up to {most}"));
            all.push(line(&which, [most, Some(round)]));
        }
        None => {
            let more = format!("{} layers more each", config.grow.step);
            all.push(line("Further rounds, if needed", [Some(more), Some(round)]));
        }
        Some(_) => {}
    }
    for control in Control::wanted(&config.control) {
        let name = format!("Control, {}", control.title);
        let size = match control.start {
            Start::Reference => layers(n_layer),
            _ => Some(control.size.into()),
        };
        all.push(line(&name, [size, None]));
    }
    all.extend(baselines(config));
    all
}

/// Returns the lines of the baselines that are trained.
fn baselines(config: &Config) -> Vec<String> {
    let only = config.policy.only_baseline.as_ref();
    let wanted = config.baseline.iter();
    let wanted = wanted.filter(|b| only.is_none_or(|only| b.name == *only));
    let words = |baseline: &BaselineConfig| {
        let name = format!("Baseline {}", baseline.name);
        let length = match baseline.steps {
            BaselineSteps::Same => None,
            BaselineSteps::Double => Some("twice as many steps".into()),
            BaselineSteps::Exactly(n) => Some(steps(n)),
        };
        line(&name, [Some(baseline.start.to_string()), length])
    };
    wanted.map(words).collect()
}

/// Returns the number of growths from `n` to `max` layers. One growth by copies at most doubles a model.
fn growths(config: &Config, mut n: usize, max: usize) -> usize {
    let step = config.grow.step.max(1);
    let mut growths = 0;
    while config.grow.source.copies() && n < max && n < step {
        n += n.max(1);
        growths += 1;
    }
    growths + max.saturating_sub(n).div_ceil(step)
}

/// Formats a line such as `Round 1: 4 layers, 300 steps`.
fn line(name: &str, facts: [Option<String>; 2]) -> String {
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    match facts.is_empty() {
        true => name.into(),
        false => format!("{name}: {}", facts.join(", ")),
    }
}

fn layers(n: Option<usize>, parameters: &dyn Fn(usize) -> Option<u64>) -> Option<String> {
    let layers = table::plural(n?, "layer");
    Some(match parameters(n?) {
        Some(parameters) => format!("{layers}, {} parameters", table::count(parameters)),
        None => layers,
    })
}

fn steps(n: u64) -> String {
    format!("{} steps", table::count(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    #[test]
    fn a_presets_phases_are_told_before_anything_is_read() {
        let config = config::load(&Source::named("tiny").unwrap(), &[])
            .unwrap()
            .config;
        assert_eq!(
            phases(&config, Some(config.model.n_layer)),
            [
                "Reference: 8 layers, 1800 steps",
                "Round 1: 4 layers, 300 steps",
                "Round 2, if needed: up to 6 layers, 300 steps",
                "Control, random start: as large as the last round's model",
                "Control, reference trained on: 8 layers",
            ]
        );
        let unknown = phases(&config, None);
        assert_eq!(
            unknown[1..3],
            [
                "Round 1: 300 steps",
                "Further rounds, if needed: 2 layers more each, 300 steps"
            ]
        );
        let parameters = |layers| Some(layers as u64 * 1000);
        let all = phases_with(&config, Some(config.model.n_layer), &parameters);
        assert_eq!(
            all[1..3],
            [
                "Round 1: 4 layers, 4000 parameters, 300 steps",
                "Round 2, if needed: up to 6 layers, 6000 parameters, 300 steps",
            ]
        );
    }

    #[test]
    fn chosen_layers_grow_by_copies_alone() {
        let rounds = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
            let loaded = config::load(&Source::named("tiny").unwrap(), &sets).unwrap();
            let all = phases(&loaded.config, Some(8));
            all.into_iter()
                .filter(|p| p.contains("ound"))
                .take(2)
                .collect::<Vec<_>>()
        };
        let next = rounds(&["inherit.layers=loss:4"]);
        assert_eq!(next[0], "Round 1: 4 layers, 300 steps");
        assert!(
            !next[1..].iter().any(|p| p.contains("if needed")),
            "{next:?}"
        );
        for copy in ["copy-middle", "copy-top"] {
            let source = format!("grow.source={copy}");
            let grown = rounds(&["inherit.layers=loss:4", &source, "grow.max_layers=7"]);
            assert_eq!(
                grown[1],
                "Rounds 2 to 3, if needed: up to 7 layers, 300 steps"
            );
            // One layer is copied to two, these to four, and these to seven.
            let step = "grow.step=4";
            let grown = rounds(&["inherit.layers=1", &source, step, "grow.max_layers=7"]);
            assert_eq!(
                grown[1],
                "Rounds 2 to 4, if needed: up to 7 layers, 300 steps"
            );
        }
    }
}
