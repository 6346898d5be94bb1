//! The choice of the reference's layers to inherit.

use serde::{Deserialize, Serialize};

/// Layers to inherit: `"half"`, `"auto"`, `n` (the first n), a range `"a..b"` (without b), a list of indices from 0,
/// `"spread:n"`, or n layers that a [measure](Measure) chooses: `"influence:n"`, `"angular:n"`, `"loss:n"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum LayerChoice {
    First(usize),
    List(Vec<usize>),
    /// The first half.
    Half,
    /// Half, but none from the first collapsing layer on.
    Auto,
    Range(LayerRange),
    /// This many layers, evenly over the depth, including the first and the last.
    Spread(usize),
    /// This many layers, chosen by a measure of the reference.
    Measured(Measure, usize),
}

/// A measure by which the layers of a reference are compared. [`crate::inherit::measure`] computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Block influence (Men et al., "ShortGPT", arXiv 2403.03853): the layers that change their input most are kept.
    Influence,
    /// Angular distance (Gromov et al., "The unreasonable ineffectiveness of the deeper layers", arXiv 2403.17887): the
    /// contiguous block that rotates its input least is dropped.
    Angular,
    /// The loss: layers are dropped one at a time, each time the one whose removal gives the lowest validation loss (Song et al.,
    /// "SLEB", arXiv 2402.09025).
    Loss,
}

impl Measure {
    /// All measures.
    pub const ALL: [Self; 3] = [Self::Influence, Self::Angular, Self::Loss];

    /// Returns its name in a choice of layers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Influence => "influence",
            Self::Angular => "angular",
            Self::Loss => "loss",
        }
    }

    /// Returns its paper.
    pub fn paper(self) -> &'static str {
        match self {
            Self::Influence => "arXiv 2403.03853",
            Self::Angular => "arXiv 2403.17887",
            Self::Loss => "arXiv 2402.09025",
        }
    }
}

/// The word before the colon of layers spread over the depth.
pub(in crate::config) const SPREAD: &str = "spread";

/// A range of layers, which holds at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRange {
    from: usize,
    /// The layer after the last one.
    to: usize,
    /// The range as given, with its spaces, so that a config is written as it was read.
    text: String,
}

/// A choice in TOML.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    First(usize),
    List(Vec<usize>),
    Named(String),
}

impl TryFrom<Written> for LayerChoice {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::First(n) => Ok(Self::First(n)),
            Written::List(list) => Ok(Self::List(list)),
            Written::Named(word) => {
                Self::named(&word).ok_or_else(|| format!("unknown choice of layers {word:?}"))
            }
        }
    }
}

impl From<LayerChoice> for Written {
    fn from(choice: LayerChoice) -> Self {
        match choice {
            LayerChoice::First(n) => Self::First(n),
            LayerChoice::List(list) => Self::List(list),
            LayerChoice::Half => Self::Named("half".into()),
            LayerChoice::Auto => Self::Named("auto".into()),
            LayerChoice::Range(range) => Self::Named(range.text),
            LayerChoice::Spread(n) => Self::Named(format!("{SPREAD}:{n}")),
            LayerChoice::Measured(measure, n) => Self::Named(format!("{}:{n}", measure.name())),
        }
    }
}

impl LayerRange {
    /// Reads `a..b`; `None` if it is malformed, or too wide for any model.
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        let text = text.into();
        (from < to && to <= 1_000_000).then_some(Self { from, to, text })
    }

    /// Returns the layers.
    pub fn layers(&self) -> std::ops::Range<usize> {
        self.from..self.to
    }

    /// Returns the range as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl LayerChoice {
    /// Parses a word, a range or a rule with its number: `half`, `auto`, `8..16`, `loss:6`.
    pub(in crate::config) fn named(word: &str) -> Option<Self> {
        match word {
            "half" => Some(Self::Half),
            "auto" => Some(Self::Auto),
            other => match other.split_once(':') {
                Some((rule, n)) => Self::ruled(rule, n),
                None => LayerRange::parse(other).map(Self::Range),
            },
        }
    }

    /// Splits a rule from the number of layers that it keeps, in digits.
    fn ruled(rule: &str, n: &str) -> Option<Self> {
        // Only in the form in which it is printed, without sign and leading zeros.
        let n = n
            .parse()
            .ok()
            .filter(|number: &usize| number.to_string() == n)?;
        let measure = Measure::ALL.into_iter().find(|m| m.name() == rule);
        match measure {
            Some(measure) => Some(Self::Measured(measure, n)),
            None => (rule == SPREAD).then_some(Self::Spread(n)),
        }
    }

    /// Returns the chosen indices for a reference of `n_layer` layers, in order. Before the reference is measured, only their
    /// number is right: `auto` is half of the layers while ranks are unknown, and a measured choice is the last layers
    /// ([`crate::inherit::resolve`] measures). If more layers are asked for than exist, the list ends with the index of a
    /// missing layer.
    pub fn of(&self, n_layer: usize) -> Vec<usize> {
        let at_most = |n: usize| n.min(n_layer.saturating_add(1));
        match self {
            Self::First(n) => (0..at_most(*n)).collect(),
            Self::List(list) => list.clone(),
            Self::Half | Self::Auto => (0..(n_layer / 2).max(1)).collect(),
            // As for a list that is too long, the last index is that of a missing layer.
            Self::Range(LayerRange { from, to, .. }) => {
                (*from..at_most(*to).max(from + 1)).collect()
            }
            Self::Spread(n) if *n <= n_layer => spread(*n, n_layer),
            // Not the first layers, after which the reference's next layers could be added.
            Self::Measured(_, n) if *n <= n_layer => (n_layer - n..n_layer).collect(),
            Self::Spread(n) | Self::Measured(_, n) => (0..at_most(*n)).collect(),
        }
    }

    /// Returns the measure that the choice needs.
    pub fn measure(&self) -> Option<Measure> {
        match self {
            Self::Measured(measure, _) => Some(*measure),
            _ => None,
        }
    }

    /// Parses a choice of the command line: `15`, `8..16`, `0,2,5`, `half`, `auto`, `loss:6`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(n) = text.parse() {
            return Some(Self::First(n));
        }
        Self::named(text).or_else(|| {
            let list: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
            list.ok().map(Self::List)
        })
    }
}

/// Returns `n` of `n_layer` layers, evenly over the depth including the first and the last: i (n_layer - 1) / (n - 1),
/// rounded, halves up. A single layer is the first.
fn spread(n: usize, n_layer: usize) -> Vec<usize> {
    let (last, steps) = (n_layer.saturating_sub(1), n.saturating_sub(1));
    (0..n)
        .map(|i| match steps {
            0 => 0,
            _ => (2 * i * last + steps) / (2 * steps),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_layers_reach_from_the_first_to_the_last() {
        let of = |n, all| LayerChoice::Spread(n).of(all);
        assert_eq!(of(4, 12), [0, 4, 7, 11]);
        assert_eq!(of(6, 12), [0, 2, 4, 7, 9, 11]);
        assert_eq!(of(3, 12), [0, 6, 11], "halves up");
        assert_eq!((of(1, 12), of(2, 12)), (vec![0], vec![0, 11]));
        assert_eq!(of(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(of(9, 5).last(), Some(&5), "a missing layer");
    }

    #[test]
    fn a_measured_choice_has_as_many_layers_as_it_names() {
        for measure in Measure::ALL {
            let choice = LayerChoice::Measured(measure, 5);
            assert_eq!(choice.of(12), [7, 8, 9, 10, 11]);
            assert_eq!(choice.of(4).last(), Some(&4), "a missing layer");
        }
    }

    #[test]
    fn a_rule_is_written_as_it_was_read() {
        for word in ["influence:6", "angular:1", "loss:12", "spread:4", "loss:0"] {
            let choice = LayerChoice::named(word).unwrap();
            assert_eq!(LayerChoice::parse(word), Some(choice.clone()));
            let Written::Named(written) = choice.into() else {
                panic!("{word} is not written as a word")
            };
            assert_eq!(written, word);
        }
        for word in [
            "loss:", "loss:+6", "loss:06", "loss: 6", "los:6", "loss:-1", ":6", "half:6",
        ] {
            assert_eq!(LayerChoice::named(word), None, "{word}");
        }
    }
}
