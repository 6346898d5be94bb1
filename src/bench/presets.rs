//! Shapes of published models, by name.

use crate::model::{DecoderConfig, Sizes};

/// Names of the shapes.
pub const NAMES: [&str; 5] = [
    "gpt2-124m",
    "gpt2-350m",
    "gpt2-774m",
    "gpt2-1558m",
    "smollm2-135m",
];

/// Returns the shape of this name for windows of `context` tokens. GPT-2's vocabulary is padded from 50257 to 50304, as in nanoGPT.
pub fn shape(name: &str, context: usize) -> Option<DecoderConfig> {
    let gpt2 = |n_layer, n_head, n_embd| {
        let sizes = Sizes {
            n_layer,
            n_head,
            n_embd,
            context_length: context,
            vocab: 50304,
        };
        Some(DecoderConfig::gpt2(sizes, true))
    };
    match name {
        "gpt2-124m" => gpt2(12, 12, 768),
        "gpt2-350m" => gpt2(24, 16, 1024),
        "gpt2-774m" => gpt2(36, 20, 1280),
        "gpt2-1558m" => gpt2(48, 25, 1600),
        "smollm2-135m" => {
            let mut config = DecoderConfig::llama(Sizes {
                n_layer: 30,
                n_head: 9,
                n_embd: 576,
                context_length: context,
                vocab: 49152,
            });
            config.n_kv_head = 3;
            config.n_inner = 1536;
            config.tied_head = true;
            Some(config)
        }
        _ => None,
    }
}
