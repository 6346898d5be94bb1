//! Rewrites a model for readers of the standard formats: a model without anything that only this program knows of.

use super::ExportError;
use crate::model::family::{self, gpt2};
use crate::model::{
    Biases, DecoderConfig, Family, Files, Norms, Param, Part, Positions, Rope, RopeScaling,
};
use crate::tensors::TensorError;

/// The two forms that models are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    HuggingFace,
    Gguf,
}

/// Largest relative difference between a table of rotary divisors and the scaling that it is replaced by.
const SAME_FREQUENCY: f64 = 1e-5;

/// A model in the form that plain readers read: its shape, and the origin of each of its tensors in the original.
#[derive(Debug)]
pub struct Plain {
    pub config: DecoderConfig,
    pub params: Vec<Param>,
    /// The differences from the original, a sentence each.
    pub changes: Vec<String>,
    /// The parameter of the original that each comes from; `None` for zeros.
    origins: Vec<Option<usize>>,
    /// The factor of each layer's queries.
    folded: Vec<f32>,
}

/// The plain form of a model whose tokenizer has `ids` token ids, where the rest of its vocabulary is padding.
///
/// # Errors
/// When it has rotary positions that no plain reader knows.
pub fn plain(
    original: &DecoderConfig,
    ids: Option<usize>,
    form: Form,
) -> Result<Plain, ExportError> {
    let mut changes = Vec::new();
    let mut config = original.clone();
    if let Some(ids) = ids.filter(|&ids| ids < config.vocab) {
        changes.push(format!(
            "The vocabulary's padding is cut off: {} rows became the tokenizer's {ids}.",
            config.vocab
        ));
        config.vocab = ids;
    }
    let folded = fold_scales(&mut config, form, &mut changes);
    add_biases(&mut config, &mut changes);
    if form == Form::HuggingFace
        && let Positions::Rotary(rope) = &mut config.positions
        && let RopeScaling::Factors(factors) = &rope.scaling
    {
        let named = named_scaling(rope, factors, original.head_size).ok_or_else(|| {
            ExportError::Form(
                "its rotary positions use a table of divisors that config.json cannot describe; write it with \
                 --format gguf".into(),
            )
        })?;
        changes.push(match named {
            RopeScaling::Llama3 {
                factor, original, ..
            } => format!(
                "The table of rotary divisors is written as Llama 3's scaling: factor {factor}, original context {original}."
            ),
            _ => "The table of rotary divisors is written as the scaling that it amounts to.".into(),
        });
        rope.scaling = named;
    }
    let before = original.params();
    let params = config.params();
    let origin = |p: &Param| before.iter().position(|b| b.name == p.name);
    Ok(Plain {
        origins: params.iter().map(origin).collect(),
        config,
        params,
        changes,
        folded,
    })
}

impl Plain {
    /// Fills `out` with the values of parameter `index`.
    ///
    /// # Errors
    /// When the original cannot be read.
    pub fn fill(&self, files: &Files, index: usize, out: &mut [f32]) -> Result<(), TensorError> {
        let Some(origin) = self.origins[index] else {
            out.fill(0.0);
            return Ok(());
        };
        files.read(origin, out)?;
        let p = &self.params[index];
        if p.part == Part::Attention
            && let Some(&by) = p.layer.and_then(|layer| self.folded.get(layer))
            && by != 1.0
        {
            family::scale_queries(&self.config, p, out, by);
        }
        Ok(())
    }
}

/// Returns the factors of the queries; the config's scales become one, or stay where the family has a word for them.
fn fold_scales(config: &mut DecoderConfig, form: Form, changes: &mut Vec<String>) -> Vec<f32> {
    let ones = vec![1.0; config.n_layer];
    let says_it_itself = form == Form::HuggingFace
        && config.family == Family::Gpt2
        && config.attention_scales == gpt2::inverse_layer_scales(config.n_layer);
    if says_it_itself || config.attention_scales == ones {
        return ones;
    }
    let layers: Vec<String> = (0..config.n_layer)
        .filter(|&layer| config.attention_scales[layer] != 1.0)
        .map(|layer| layer.to_string())
        .collect();
    changes.push(format!(
        "The attention scale of {} is multiplied into the weights and biases of the queries.",
        match &layers[..] {
            [one] => format!("layer {one}"),
            more => format!("layers {}", more.join(", ")),
        }
    ));
    std::mem::replace(&mut config.attention_scales, ones)
}

fn add_biases(config: &mut DecoderConfig, changes: &mut Vec<String>) {
    let Biases {
        norms,
        qkv,
        attention_out,
        mlp,
    } = family::plain_biases(config);
    let has = config.biases;
    let added = [
        (norms && !has.norms, "norms"),
        (qkv && !has.qkv, "queries, keys and values"),
        (attention_out && !has.attention_out, "attention outputs"),
        (mlp && !has.mlp, "MLPs"),
    ];
    let added: Vec<&str> = added
        .iter()
        .filter(|(added, _)| *added)
        .map(|(_, name)| *name)
        .collect();
    if !added.is_empty() {
        changes.push(format!(
            "Biases of zero are added to {}, where its readers expect some.",
            added.join("; ")
        ));
    }
    config.biases = family::plain_biases(config);
}

/// Returns the scaling of the rotary frequencies that a table of divisors is equivalent to, if it has a name.
fn named_scaling(rope: &Rope, factors: &[f32], head_size: usize) -> Option<RopeScaling> {
    let largest = f64::from(factors.iter().copied().fold(0.0, f32::max));
    let whole = largest.round();
    let factor = match (largest - whole).abs() < SAME_FREQUENCY * whole {
        true => whole,
        false => largest,
    };
    let llama3 = |original: f64| RopeScaling::Llama3 {
        factor,
        low: 1.0,
        high: 4.0,
        original,
    };
    // The published models' context comes first, since several contexts may fit where heads are small.
    let contexts = std::iter::once(8192.0).chain((4..=20).map(|power| f64::from(1 << power)));
    let plain = [RopeScaling::None, RopeScaling::Linear(factor)].into_iter();
    let wanted = rope.frequencies(head_size);
    plain.chain(contexts.map(llama3)).find(|scaling| {
        let scaling = scaling.clone();
        let theta = rope.theta;
        let got = Rope { theta, scaling }.frequencies(head_size);
        let near =
            |(a, b): (&f32, &f32)| f64::from((a - b).abs()) <= SAME_FREQUENCY * f64::from(b.abs());
        got.iter().zip(&wanted).all(near)
    })
}

/// Explains why no `config.json` that plain readers know describes this shape; `None` when one does.
pub(super) fn misread(config: &DecoderConfig) -> Option<&'static str> {
    match config.norm {
        Norms::Plain if config.biases.mlp => {
            Some("OLMo has no biases in its MLPs, this model has some")
        }
        Norms::Plain if config.attention_width() != config.n_embd => {
            Some("OLMo's heads are as wide as the model together, this model's are not")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    fn sizes() -> Sizes {
        Sizes {
            n_layer: 3,
            n_head: 2,
            n_embd: 128,
            context_length: 16,
            vocab: 64,
        }
    }

    fn rotary(scaling: RopeScaling) -> DecoderConfig {
        let theta = 500_000.0;
        DecoderConfig {
            positions: Positions::Rotary(Rope { theta, scaling }),
            ..DecoderConfig::llama(sizes())
        }
    }

    #[test]
    fn scales_that_the_family_knows_stay_in_config_json_and_are_folded_for_gguf() {
        let config = DecoderConfig {
            attention_scales: gpt2::inverse_layer_scales(3),
            ..DecoderConfig::gpt2(sizes(), true)
        };
        let kept = plain(&config, None, Form::HuggingFace).unwrap();
        assert_eq!(kept.config, config);
        assert!(kept.changes.is_empty(), "{:?}", kept.changes);
        let folded = plain(&config, None, Form::Gguf).unwrap();
        assert_eq!(folded.config.attention_scales, [1.0; 3]);
        assert_eq!(folded.folded, config.attention_scales);
        assert!(
            folded.changes[0].contains("layers 1, 2"),
            "{:?}",
            folded.changes
        );
    }

    #[test]
    fn a_table_of_divisors_becomes_the_scaling_it_was_made_from() {
        let llama3 = |original| RopeScaling::Llama3 {
            factor: 32.0,
            low: 1.0,
            high: 4.0,
            original,
        };
        for wanted in [
            llama3(8192.0),
            llama3(32.0),
            RopeScaling::Linear(2.0),
            RopeScaling::None,
        ] {
            let config = rotary(wanted.clone());
            let Positions::Rotary(rope) = &config.positions else {
                panic!()
            };
            let made = rotary(RopeScaling::Factors(rope.divisors(64)));
            let got = plain(&made, None, Form::HuggingFace).unwrap();
            let Positions::Rotary(Rope { scaling, .. }) = got.config.positions else {
                panic!()
            };
            assert_eq!(scaling, wanted);
        }
        let odd = (0..32).map(|i| 1.0 + i as f32).collect();
        let told = plain(&rotary(RopeScaling::Factors(odd)), None, Form::HuggingFace).unwrap_err();
        assert!(told.to_string().contains("--format gguf"), "{told}");
    }

    #[test]
    fn biases_come_along_where_readers_expect_them() {
        let with = |qkv, attention_out, mlp| DecoderConfig {
            biases: Biases {
                norms: false,
                qkv,
                attention_out,
                mlp,
            },
            ..DecoderConfig::llama(sizes())
        };
        let biases = |config: &DecoderConfig| {
            let plain = plain(config, None, Form::HuggingFace).unwrap();
            (
                plain.config.biases.qkv,
                plain.config.biases.attention_out,
                plain.config.biases.mlp,
            )
        };
        for (has, wanted) in [
            ((false, false, false), (false, false, false)),
            ((true, false, false), (true, false, false)),
            ((true, false, true), (true, true, true)),
            ((false, true, false), (true, true, false)),
            ((false, false, true), (false, false, true)),
        ] {
            assert_eq!(biases(&with(has.0, has.1, has.2)), wanted, "{has:?}");
        }
        let gpt2 = DecoderConfig::gpt2(sizes(), false);
        assert_eq!(biases(&gpt2), (true, true, true));
    }
}
