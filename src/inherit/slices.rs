//! Reads mergekit's passthrough recipes: sequences of layers of models, and factors of their tensors.
//!
//! ```yaml
//! slices:
//!   - sources: [{ model: gpt2, layer_range: [0, 8] }]
//!   - sources: [{ model: gpt2, layer_range: [4, 12], parameters: { scale: 0.5 } }]
//! merge_method: passthrough
//! dtype: bfloat16
//! ```
//!
//! As in mergekit 0.1, embeddings come from the first slice's model, and the final norm and the head from the last one's, even if
//! these slices are empty.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::origin::{Ends, Origin, Taken};
use super::scale::Setting;
use crate::model::{Param, Part};
use crate::tensors::DType;
use crate::text;

/// Most layers of a model that a file may describe.
const MOST_LAYERS: usize = 10_000;

/// Errors of a slices file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SlicesError(String);

impl SlicesError {
    fn new(what: &str) -> Self {
        Self(text::clean(what).into_owned())
    }
}

/// A parsed recipe: models by name, the layers to take from them in order, and the changes of their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Slices {
    /// Every model in the recipe, including those of empty slices and the base.
    pub models: Vec<String>,
    pub layers: Vec<Taken>,
    pub ends: Ends,
    /// The `base_model`, whose tokenizer is copied: an index into `models`.
    pub base: Option<usize>,
    /// The type to which tensors are rounded when they are read (`dtype`).
    pub dtype: Option<DType>,
    /// The type in which tensors are written (`out_dtype`).
    pub out_dtype: Option<DType>,
    /// A key that mergekit uses for the tokenizer's files, which this program does not write.
    pub chat_template: bool,
    scales: Scales,
}

/// The settings of `parameters: scale`, and the position of each layer in its slice.
#[derive(Debug, Clone, PartialEq)]
struct Scales {
    /// The setting for all slices.
    top: Option<Setting>,
    /// For each slice, the settings of the source and of the slice.
    slices: Vec<[Option<Setting>; 2]>,
    /// For each layer its slice, and its relative position in the slice, from 0 to 1.
    at: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct File {
    slices: Option<Vec<Slice>>,
    merge_method: Option<String>,
    base_model: Option<String>,
    dtype: Option<String>,
    out_dtype: Option<String>,
    parameters: Option<Map<String, Value>>,
    models: Option<IgnoredAny>,
    modules: Option<IgnoredAny>,
    tokenizer_source: Option<IgnoredAny>,
    tokenizer: Option<IgnoredAny>,
    chat_template: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Slice {
    sources: Vec<Source>,
    /// Accepted, but passthrough does not use it.
    base_model: Option<String>,
    /// mergekit reads the method only at the top level.
    merge_method: Option<String>,
    parameters: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Source {
    model: String,
    layer_range: (usize, usize),
    parameters: Option<Map<String, Value>>,
}

impl File {
    /// Refuses features of mergekit that this program does not have.
    fn check(&self) -> Result<(), SlicesError> {
        let refused = [
            (self.models.is_some(), "models", "name them in slices"),
            (
                self.modules.is_some(),
                "modules",
                "name its slices at the top",
            ),
            (
                self.tokenizer_source.is_some(),
                "tokenizer_source",
                "the tokenizer of base_model, or else of the first model, is copied unchanged; leave the key out",
            ),
            (
                self.tokenizer.is_some(),
                "tokenizer",
                "the tokenizer of base_model, or else of the first model, is copied unchanged; leave the key out",
            ),
        ];
        if let Some((_, key, advice)) = refused.iter().find(|(there, ..)| *there) {
            return Err(SlicesError::new(&format!(
                "{key} is not supported: {advice}"
            )));
        }
        let slices = self.slices.iter().flatten();
        let methods = slices.map(|slice| &slice.merge_method);
        match methods
            .chain([&self.merge_method])
            .flatten()
            .find(|m| *m != "passthrough")
        {
            None => Ok(()),
            Some(method) => Err(SlicesError::new(&format!(
                "merge_method is {method:?}; only passthrough takes layers as they are"
            ))),
        }
    }
}

impl Slices {
    /// Parses a recipe. Like mergekit, ignores unknown keys.
    ///
    /// # Errors
    /// When the text is not a recipe, has another merge method than passthrough, takes no layer, or uses a feature of mergekit that
    /// this program does not have.
    pub fn parse(yaml: &str) -> Result<Self, SlicesError> {
        let fail = |what: String| SlicesError::new(&what);
        let file: File =
            serde_saphyr::from_str(yaml).map_err(|e| fail(format!("no slices: {e}")))?;
        file.check()?;
        let Some(slices) = file.slices.filter(|all| !all.is_empty()) else {
            return Err(fail("slices is missing or empty".into()));
        };
        let mut models: Vec<String> = Vec::new();
        let mut place = |model: &String| {
            let known = models.iter().position(|m| m == model);
            known.unwrap_or_else(|| {
                models.push(model.clone());
                models.len() - 1
            })
        };
        let mut layers = Vec::new();
        let mut scales = Scales {
            top: scale_of(file.parameters.as_ref(), "parameters")?,
            slices: Vec::new(),
            at: Vec::new(),
        };
        let (mut from_models, mut others) = (Vec::new(), Vec::new());
        for (i, slice) in slices.iter().enumerate() {
            let [source] = &slice.sources[..] else {
                return Err(fail(format!(
                    "slice {i} has {} sources; passthrough takes each slice from one",
                    slice.sources.len()
                )));
            };
            let (from, to) = source.layer_range;
            if from > to || layers.len() + (to - from) > MOST_LAYERS {
                return Err(fail(format!(
                    "slice {i}: layer_range [{from}, {to}] ends before it begins, or holds too many layers; it counts from 0 and leaves the end out"
                )));
            }
            let index = place(&source.model);
            from_models.push(index);
            others.extend(slice.base_model.clone());
            layers.extend((from..to).map(|layer| Taken {
                source: index,
                layer,
            }));
            let last = to.saturating_sub(from + 1);
            let t = |n: usize| {
                if last == 0 {
                    1.0
                } else {
                    n as f64 / last as f64
                }
            };
            scales.at.extend((0..to - from).map(|n| (i, t(n))));
            scales.slices.push([
                scale_of(
                    source.parameters.as_ref(),
                    &format!("slice {i}, its source"),
                )?,
                scale_of(slice.parameters.as_ref(), &format!("slice {i}"))?,
            ]);
        }
        let base = file.base_model.as_ref().map(&mut place);
        for other in &others {
            place(other);
        }
        let (Some(&first), Some(&last)) = (from_models.first(), from_models.last()) else {
            return Err(fail("slices is missing or empty".into()));
        };
        if layers.is_empty() {
            return Err(fail("slices take no layer".into()));
        }
        Ok(Self {
            models,
            layers,
            ends: Ends { first, last },
            base,
            dtype: dtype("dtype", file.dtype.as_deref())?,
            out_dtype: dtype("out_dtype", file.out_dtype.as_deref())?,
            chat_template: file.chat_template.is_some(),
            scales,
        })
    }

    /// Returns the origin of a parameter of the new model.
    pub fn origin<'p>(&self, p: &'p Param) -> Origin<'p> {
        Origin::of(p, &self.layers, self.ends)
    }

    /// Returns the factor of a tensor: by the source's setting, else the slice's, else the one for all slices.
    pub fn scale(&self, from: &Origin) -> Option<f64> {
        let p = from.becomes;
        self.scale_at(p.part, p.layer, &from.name())
    }

    /// Returns the scale of a tensor of layer `layer` of the new model. `name` is its name in its source.
    fn scale_at(&self, part: Part, layer: Option<usize>, name: &str) -> Option<f64> {
        let (slice, t) = match layer {
            Some(layer) => *self.scales.at.get(layer)?,
            None if Ends::is_last(part) => (self.scales.slices.len() - 1, 0.0),
            None => (0, 0.0),
        };
        let own = self.scales.slices.get(slice)?.iter().flatten();
        let mut settings = own.chain(&self.scales.top);
        settings.find_map(|setting| setting.value(name, t))
    }
}

/// Returns the scale of some `parameters`. Passthrough has no other parameter, so any other is refused.
fn scale_of(
    parameters: Option<&Map<String, Value>>,
    place: &str,
) -> Result<Option<Setting>, SlicesError> {
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    if let Some(other) = parameters.keys().find(|key| *key != "scale") {
        return Err(SlicesError::new(&format!(
            "{place}: parameter {other:?} is not one of passthrough, which has scale alone"
        )));
    }
    let setting =
        |value| Setting::read(value).map_err(|what| SlicesError::new(&format!("{place}: {what}")));
    parameters.get("scale").map(setting).transpose()
}

/// Parses PyTorch's name of a type.
fn dtype(key: &str, name: Option<&str>) -> Result<Option<DType>, SlicesError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float32" => Ok(Some(DType::F32)),
        "float16" => Ok(Some(DType::F16)),
        "bfloat16" => Ok(Some(DType::Bf16)),
        _ => Err(SlicesError::new(&format!(
            "{key} is {name:?}; float32, float16 and bfloat16 are supported"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(slices: &Slices) -> Vec<(usize, usize)> {
        slices.layers.iter().map(|t| (t.source, t.layer)).collect()
    }

    #[test]
    fn mergekits_passthrough_is_read() {
        // The form of the examples in mergekit's README.
        let yaml = "slices:\n- sources:\n  - model: psmathur/orca_mini_v3_13b\n    layer_range: [0, 3]\n- sources:\n  - model: garage-bAInd/Platypus2-13B\n    layer_range: [2, 4]\n- sources:\n  - model: psmathur/orca_mini_v3_13b\n    layer_range: [1, 2]\nmerge_method: passthrough\ndtype: float16\n";
        let slices = Slices::parse(yaml).unwrap();
        assert_eq!(
            slices.models,
            ["psmathur/orca_mini_v3_13b", "garage-bAInd/Platypus2-13B"]
        );
        assert_eq!(
            layers(&slices),
            [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (0, 1)]
        );
        assert_eq!(slices.dtype, Some(DType::F16));
        assert_eq!(slices.out_dtype, None);
    }

    #[test]
    fn empty_slices_choose_the_ends() {
        let yaml = "slices:\n- sources: [{model: c, layer_range: [3, 3]}]\n- sources: [{model: a, layer_range: [0, 2]}]\n- sources: [{model: b, layer_range: [1, 1]}]\nbase_model: d\n";
        let slices = Slices::parse(yaml).unwrap();
        assert_eq!(slices.models, ["c", "a", "b", "d"]);
        assert_eq!(layers(&slices), [(1, 0), (1, 1)]);
        assert_eq!(slices.ends, Ends { first: 0, last: 2 });
        assert_eq!(slices.base, Some(3));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = |yaml: &str| Slices::parse(yaml).unwrap_err().to_string();
        let one = "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]\n";
        assert!(Slices::parse(one).is_ok());
        // mergekit ignores unknown keys.
        assert!(Slices::parse(&format!("{one}name: x\n")).is_ok());
        assert!(Slices::parse(&format!("{one}chat_template: chatml\n")).is_ok());
        for (more, words) in [
            ("merge_method: slerp", "\"slerp\""),
            (
                "tokenizer_source: union",
                "tokenizer_source is not supported",
            ),
            ("tokenizer: {source: base}", "tokenizer is not supported"),
            ("models: [{model: a}]", "models is not supported"),
            ("modules: {}", "modules is not supported"),
            ("dtype: float64", "dtype is \"float64\"; float32"),
            ("out_dtype: fp16", "out_dtype is \"fp16\"; float32"),
            (
                "parameters: {weight: 0.5}",
                "parameters: parameter \"weight\"",
            ),
            ("parameters: {scale: big}", "parameters: scale is \"big\""),
            ("parameters: {scale: null}", "parameters: scale is null"),
            ("parameters: {scale: .inf}", "non-finite float"),
            ("parameters: {scale: [{filter: q}]}", "value is missing"),
            (
                "parameters: {scale: [{value: 1, filter: 3}]}",
                "filter is 3",
            ),
            (
                "parameters: {scale: [{value: 1}, 2]}",
                "parameters: scale is",
            ),
        ] {
            let told = error(&format!("{one}{more}\n"));
            assert!(told.contains(words), "{more}: {told}");
        }
        let slice = |more: &str| error(&one.replacen("]}]}", &format!("]{more}}}]}}"), 1));
        assert!(slice(", parameters: {density: 1}").contains("slice 0, its source: parameter"));
        let slice = |more: &str| error(&one.replacen("]}]", &format!("]}}]{more}"), 1));
        assert!(slice(", parameters: {density: 1}").contains("slice 0: parameter \"density\""));
        assert!(slice(", merge_method: slerp").contains("merge_method is \"slerp\""));
        assert!(error("slices: []").contains("empty"));
        assert!(error("merge_method: passthrough").contains("slices is missing"));
        assert!(error("slices: 3").contains("no slices"));
        assert!(error("- [").contains("no slices"));
        let two = "slices: [{sources: [{model: a, layer_range: [2, 2]}]}]";
        assert!(error(two).contains("no layer"));
        let back = "slices: [{sources: [{model: a, layer_range: [2, 1]}]}]";
        assert!(error(back).contains("[2, 1] ends before it begins"));
        let huge = "slices: [{sources: [{model: a, layer_range: [0, 99999999999]}]}]";
        assert!(error(huge).contains("too many"));
    }

    #[test]
    fn the_nearest_scale_counts() {
        let yaml = "slices:\n- sources: [{model: a, layer_range: [0, 3], parameters: {scale: [{filter: q_proj, value: [1, 2]}]}}]\n  parameters: {scale: {filter: norm, value: 3}}\n- sources: [{model: b, layer_range: [0, 1]}]\nparameters: {scale: [4, 5]}\n";
        let slices = Slices::parse(yaml).unwrap();
        let of = |part, layer, name| slices.scale_at(part, layer, name);
        for (layer, q, up) in [(0, 1.0, 4.0), (1, 1.5, 4.5), (2, 2.0, 5.0), (3, 5.0, 5.0)] {
            let layer = Some(layer);
            assert_eq!(
                of(Part::Attention, layer, "layers.0.q_proj.weight"),
                Some(q)
            );
            assert_eq!(of(Part::Mlp, layer, "layers.0.up_proj.weight"), Some(up));
        }
        assert_eq!(of(Part::Norms, Some(0), "layers.0.norm.weight"), Some(3.0));
        assert_eq!(of(Part::Embeddings, None, "embed"), Some(4.0));
        assert_eq!(
            of(Part::FinalNorm, None, "norm"),
            Some(4.0),
            "the last slice has none"
        );
        let plain = "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]";
        assert_eq!(
            Slices::parse(plain)
                .unwrap()
                .scale_at(Part::Mlp, Some(1), "x"),
            None
        );
    }
}
