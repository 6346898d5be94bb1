//! mergekit's passthrough recipes: which layers of which models follow each other.
//!
//! ```yaml
//! slices:
//!   - sources: [{ model: gpt2, layer_range: [0, 8] }]
//!   - sources: [{ model: gpt2, layer_range: [4, 12] }]
//! merge_method: passthrough
//! ```

use serde::Deserialize;

use super::Taken;
use crate::text;

/// Most layers of a model that a file may describe.
const MOST_LAYERS: usize = 10_000;

/// What is wrong with a slices file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SlicesError(String);

/// Models by name, and the layers taken from them in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slices {
    pub models: Vec<String>,
    pub layers: Vec<Taken>,
}

#[derive(Deserialize)]
struct File {
    slices: Vec<Slice>,
    merge_method: Option<String>,
}

#[derive(Deserialize)]
struct Slice {
    sources: Vec<Source>,
    parameters: Option<Ignored>,
}

#[derive(Deserialize)]
struct Source {
    model: String,
    layer_range: (usize, usize),
    parameters: Option<Ignored>,
}

/// Something that is there, whatever it is.
#[derive(Deserialize)]
struct Ignored {}

impl Slices {
    /// Reads a recipe. Of its keys, `dtype`, `tokenizer_source` and the like do not concern layers and are passed over.
    ///
    /// # Errors
    /// When it is no such YAML, merges rather than passes through, or takes no layer.
    pub fn parse(yaml: &str) -> Result<Self, SlicesError> {
        let fail = |what: String| SlicesError(text::clean(&what).into_owned());
        let file: File =
            serde_saphyr::from_str(yaml).map_err(|e| fail(format!("no slices: {e}")))?;
        if let Some(method) = file.merge_method.filter(|m| m != "passthrough") {
            return Err(fail(format!(
                "merge_method is {method:?}; only passthrough takes layers as they are"
            )));
        }
        let mut all = Self {
            models: Vec::new(),
            layers: Vec::new(),
        };
        for (i, slice) in file.slices.iter().enumerate() {
            let [source] = &slice.sources[..] else {
                return Err(fail(format!(
                    "slice {i} has {} sources; passthrough takes each slice from one",
                    slice.sources.len()
                )));
            };
            if slice.parameters.is_some() || source.parameters.is_some() {
                return Err(fail(format!(
                    "slice {i} has parameters; layers are taken as they are"
                )));
            }
            let (from, to) = source.layer_range;
            if from >= to || all.layers.len() + (to - from) > MOST_LAYERS {
                return Err(fail(format!(
                    "slice {i}: layer_range [{from}, {to}] holds no layer, or too many; it counts from 0 and leaves the end out"
                )));
            }
            let known = all.models.iter().position(|m| *m == source.model);
            let index = known.unwrap_or_else(|| {
                all.models.push(source.model.clone());
                all.models.len() - 1
            });
            all.layers.extend((from..to).map(|layer| Taken {
                source: index,
                layer,
            }));
        }
        match all.layers.is_empty() {
            true => Err(fail("slices is empty".into())),
            false => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mergekits_passthrough_is_read() {
        // The form of the examples in mergekit's README.
        let yaml = "slices:\n- sources:\n  - model: psmathur/orca_mini_v3_13b\n    layer_range: [0, 3]\n- sources:\n  - model: garage-bAInd/Platypus2-13B\n    layer_range: [2, 4]\n- sources:\n  - model: psmathur/orca_mini_v3_13b\n    layer_range: [1, 2]\nmerge_method: passthrough\ndtype: float16\n";
        let slices = Slices::parse(yaml).unwrap();
        assert_eq!(
            slices.models,
            ["psmathur/orca_mini_v3_13b", "garage-bAInd/Platypus2-13B"]
        );
        let layers: Vec<_> = slices.layers.iter().map(|t| (t.source, t.layer)).collect();
        assert_eq!(layers, [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (0, 1)]);
    }

    #[test]
    fn what_is_no_passthrough_is_told() {
        let error = |yaml: &str| Slices::parse(yaml).unwrap_err().to_string();
        let one = "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]\n";
        assert!(Slices::parse(one).is_ok());
        assert!(error(&format!("{one}merge_method: slerp\n")).contains("\"slerp\""));
        assert!(error("slices: []").contains("empty"));
        assert!(error("slices: 3").contains("no slices"));
        assert!(error("- [").contains("no slices"));
        let two = "slices: [{sources: [{model: a, layer_range: [2, 2]}]}]";
        assert!(error(two).contains("[2, 2] holds no layer"));
        let huge = "slices: [{sources: [{model: a, layer_range: [0, 99999999999]}]}]";
        assert!(error(huge).contains("too many"));
    }
}
