//! Resolves a choice of layers to layers of a reference.

use super::error::InheritError;
use super::measure::Measured;
use crate::config::{LayerChoice, Measure};

/// A layer whose MaxRank is below this is lazy or nearly so.
const POTENT_RANK: f64 = 2.0;

/// Returns the reference layers of a choice, in order. Of a [measured](Measure) choice only their number is right
/// ([`LayerChoice::of`]). `max_rank` is the reference's MaxRank per layer: `auto` takes half of the layers, but none from the
/// first collapsing one on, and at least one.
///
/// # Errors
/// When the choice names no layer, or one that the reference lacks.
pub fn choose(
    choice: &LayerChoice,
    n_layer: usize,
    max_rank: &[f64],
) -> Result<Vec<usize>, InheritError> {
    if let LayerChoice::Spread(keep) | LayerChoice::Measured(_, keep) = *choice
        && keep > n_layer
    {
        return Err(InheritError::TooMany { keep, n_layer });
    }
    let mut layers = choice.of(n_layer);
    if *choice == LayerChoice::Auto {
        let potent = max_rank.iter().position(|&rank| rank < POTENT_RANK);
        layers.truncate(potent.unwrap_or(n_layer).max(1));
    }
    match layers.iter().find(|&&l| l >= n_layer) {
        Some(&layer) => Err(InheritError::NoLayer { layer, n_layer }),
        None if layers.is_empty() => Err(InheritError::Nothing),
        None => Ok(layers),
    }
}

/// Chosen layers, in order, and the measure that chose them.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub layers: Vec<usize>,
    pub measured: Option<Measured>,
}

/// As [`choose`], but takes the measure that the choice needs: `take` measures the reference ([`measure::measure`]).
/// Returns `None` if `take` does, which means that it was interrupted.
///
/// # Errors
/// As [`choose`], and those of `take`.
pub fn resolve<E: From<InheritError>>(
    choice: &LayerChoice,
    n_layer: usize,
    max_rank: &[f64],
    take: impl FnOnce(Measure, usize) -> Result<Option<Measured>, E>,
) -> Result<Option<Chosen>, E> {
    let layers = choose(choice, n_layer, max_rank)?;
    let LayerChoice::Measured(measure, keep) = *choice else {
        return Ok(Some(Chosen {
            layers,
            measured: None,
        }));
    };
    Ok(take(measure, keep)?.map(|measured| Chosen {
        layers: measured.kept.clone(),
        measured: Some(measured),
    }))
}

/// Returns the reference's next `n` contiguous layers after the last one inherited. They are fewer than `n` at the
/// reference's end, and empty if the inherited layers are not its first ones.
pub fn next_layers(layers: &[usize], n: usize, n_layer: usize) -> Vec<usize> {
    let contiguous = layers.iter().enumerate().all(|(i, &l)| i == l);
    if !contiguous {
        return Vec::new();
    }
    (layers.len()..n_layer.min(layers.len().saturating_add(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_layers_are_contiguous_and_end_with_the_reference() {
        assert_eq!(next_layers(&[0, 1], 2, 8), [2, 3]);
        assert_eq!(next_layers(&[0, 1, 2], 2, 4), [3]);
        assert!(next_layers(&[0, 1], 2, 2).is_empty());
        assert!(next_layers(&[0, 5], 2, 8).is_empty());
    }

    #[test]
    fn a_layer_the_reference_lacks_is_named() {
        let error = choose(&LayerChoice::List(vec![0, 9]), 4, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("layer 9 of a model of 4"), "{error}");
        assert_eq!(choose(&LayerChoice::Half, 5, &[]).unwrap(), [0, 1]);
    }

    #[test]
    fn more_layers_than_there_are_cannot_be_kept() {
        for choice in [
            LayerChoice::Spread(5),
            LayerChoice::Measured(Measure::Loss, 5),
        ] {
            let error = choose(&choice, 4, &[]).unwrap_err().to_string();
            assert_eq!(error, "cannot keep 5 of the model's 4 layers");
            assert_eq!(choose(&choice, 8, &[]).unwrap().len(), 5);
        }
    }

    #[test]
    fn only_a_measured_choice_is_measured() {
        let measured = |kept: &[usize]| Measured {
            measure: Measure::Angular,
            kept: kept.to_vec(),
            dropped: vec![1],
            values: vec![0.5],
            whole: None,
            rounds: Vec::new(),
        };
        let unasked = |_, _| -> Result<_, InheritError> { panic!("nothing is to be measured") };
        let half = resolve(&LayerChoice::Half, 4, &[], unasked)
            .unwrap()
            .unwrap();
        assert_eq!((half.layers, half.measured), (vec![0, 1], None));
        let choice = LayerChoice::Measured(Measure::Angular, 3);
        let asked = |measure, keep| -> Result<_, InheritError> {
            assert_eq!((measure, keep), (Measure::Angular, 3));
            Ok(Some(measured(&[0, 2, 3])))
        };
        let chosen = resolve(&choice, 4, &[], asked).unwrap().unwrap();
        assert_eq!(chosen.layers, [0, 2, 3]);
        let stopped = |_, _| -> Result<_, InheritError> { Ok(None) };
        assert_eq!(resolve(&choice, 4, &[], stopped).unwrap(), None);
    }

    #[test]
    fn auto_ends_before_the_first_collapsing_layer() {
        let auto = |ranks: &[f64]| choose(&LayerChoice::Auto, 8, ranks).unwrap();
        assert_eq!(
            auto(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0, 1.0]),
            [0, 1, 2, 3]
        );
        assert_eq!(auto(&[9.0, 8.0, 1.9, 6.0, 5.0, 4.0, 1.0, 1.0]), [0, 1]);
        assert_eq!(auto(&[1.0; 8]), [0]);
        assert_eq!(auto(&[]), [0, 1, 2, 3], "not measured yet");
    }
}
