//! Layers that a model inherits, and the measure that chose them.

use serde::{Deserialize, Serialize};

use super::foreign::{LONGEST_NAME, cut, layers};
use super::kind::Kind;

/// A model inherits layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inheritance {
    /// Reference layers taken, in order.
    pub layers: Vec<usize>,
    pub what: Vec<String>,
    pub from: String,
    /// The measure that chose the layers, if the reference was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<LayerMeasure>,
}

/// A measure of a reference's layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerMeasure {
    /// `influence`, `angular` or `loss`.
    pub name: String,
    /// Number of windows of the validation text that it was taken on.
    pub windows: u64,
    /// Layers that were not taken, in the order in which they were dropped.
    pub dropped: Vec<usize>,
    /// Influence: a value for each layer. Angular: the distance of the block that begins with each layer, from layer 0 on. Loss:
    /// the loss after each drop, in nats.
    pub values: Vec<f64>,
    /// The loss of the whole reference on these windows, for the measure by loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<f64>,
}

/// Most layers that a sentence lists.
const MOST_LISTED: usize = 12;

impl LayerMeasure {
    /// Describes the dropped layers and why they were dropped: `by loss: dropped 5 3.2104, 4 3.2519; 3.1998 with all`.
    pub fn words(&self) -> String {
        let at = |i: usize| self.values.get(i).copied().unwrap_or(f64::NAN);
        let list = |items: Vec<String>| match items.len().saturating_sub(MOST_LISTED) {
            _ if items.is_empty() => "none".into(),
            0 => items.join(", "),
            more => format!("{} and {more} more", items[..MOST_LISTED].join(", ")),
        };
        match (self.name.as_str(), self.dropped.first()) {
            ("influence", _) => {
                let each = self.dropped.iter().map(|&l| format!("{l} {:.4}", at(l)));
                format!("by influence: dropped {}", list(each.collect()))
            }
            ("angular", Some(&first)) => format!(
                "by angular distance: dropped layers {first} to {}, distance {:.4}",
                first.saturating_add(self.dropped.len() - 1),
                at(first)
            ),
            ("loss", _) => {
                let each = self.dropped.iter().enumerate();
                let each = each.map(|(i, l)| format!("{l} {:.4}", at(i)));
                let whole = self.whole.unwrap_or(f64::NAN);
                format!(
                    "by loss: dropped {}; {whole:.4} with all",
                    list(each.collect())
                )
            }
            (name, _) => {
                let each = self.dropped.iter().map(usize::to_string);
                format!("by {name}: dropped {}", list(each.collect()))
            }
        }
    }
}

impl Kind for Inheritance {
    fn shorten(&mut self) {
        if let Some(measured) = &mut self.measured {
            cut(&mut measured.name, LONGEST_NAME);
        }
    }

    fn check(&self) -> Result<(), String> {
        layers("layers", self.layers.len())?;
        layers("what", self.what.len())?;
        match &self.measured {
            Some(measured) => {
                layers("measured.dropped", measured.dropped.len())?;
                layers("measured.values", measured.values.len())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &str, dropped: &[usize], values: &[f64]) -> LayerMeasure {
        LayerMeasure {
            name: name.into(),
            windows: 8,
            dropped: dropped.to_vec(),
            values: values.to_vec(),
            whole: (name == "loss").then_some(3.0),
        }
    }

    #[test]
    fn what_was_dropped_is_named_with_its_measure() {
        let words =
            |name, dropped: &[usize], values: &[f64]| measure(name, dropped, values).words();
        assert_eq!(
            words("loss", &[2, 0], &[3.1, 3.25]),
            "by loss: dropped 2 3.1000, 0 3.2500; 3.0000 with all"
        );
        assert_eq!(
            words("influence", &[1], &[0.5, 0.1, 0.2]),
            "by influence: dropped 1 0.1000"
        );
        assert_eq!(
            words("angular", &[1, 2], &[0.5, 0.1]),
            "by angular distance: dropped layers 1 to 2, distance 0.1000"
        );
        assert_eq!(words("newer", &[1], &[]), "by newer: dropped 1");
        let many: Vec<usize> = (0..20).collect();
        let many = words("newer", &many, &[]);
        assert!(many.ends_with("10, 11 and 8 more"), "{many}");
        assert_eq!(words("influence", &[9], &[]), "by influence: dropped 9 NaN");
    }

    #[test]
    fn events_of_earlier_versions_are_read_and_written_as_they_were() {
        let line = r#"{"layers":[0,1],"what":["mlp"],"from":"the reference"}"#;
        let read: Inheritance = serde_json::from_str(line).unwrap();
        assert_eq!(read.measured, None);
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }

    #[test]
    fn more_values_than_models_have_layers_are_refused() {
        let mut event = Inheritance {
            layers: vec![0],
            what: Vec::new(),
            from: String::new(),
            measured: Some(measure("loss", &[1], &vec![0.0; 2000])),
        };
        assert!(event.check().unwrap_err().contains("measured.values"));
        event.measured = Some(measure("loss", &[1], &[3.1]));
        assert_eq!(event.check(), Ok(()));
    }
}
