//! The shape of a GPT-2 model and the list of its parameters.

use serde::{Deserialize, Serialize};

use super::arena::Param;

/// Shape of a GPT-2 decoder. Linear weights are `[in, out]` as in GPT-2's Conv1D.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    pub n_layer: usize,
    pub n_head: usize,
    pub n_embd: usize,
    /// Longest context in tokens (rows of the position embedding).
    pub context_length: usize,
    /// Rows of the token embedding, padding included.
    pub vocab: usize,
    /// Biases in linear layers and norms.
    pub bias: bool,
    /// Factor on each layer's attention scores besides `1/sqrt(head size)`; a layer keeps its own when it moves.
    pub attention_scales: Vec<f32>,
    /// Epsilon of the layer norms.
    pub layer_norm_epsilon: f64,
}

/// The parts of a model that inheriting chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Attention,
    Mlp,
    Norms,
    Embeddings,
    Positions,
    FinalNorm,
}

impl Gpt2Config {
    /// Channels per head.
    pub fn head_size(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Every parameter in order, with the names of Hugging Face's GPT-2.
    pub fn params(&self) -> Vec<Param> {
        let c = self.n_embd;
        let mut all = vec![
            Param::new(
                "transformer.wte.weight",
                &[self.vocab, c],
                Part::Embeddings,
                None,
            ),
            Param::new(
                "transformer.wpe.weight",
                &[self.context_length, c],
                Part::Positions,
                None,
            ),
        ];
        for layer in 0..self.n_layer {
            let mut add = |name: &str, shape: &[usize], part| {
                // A norm's bias follows its weight: their gradients are written together.
                if self.bias || !name.ends_with("bias") {
                    let name = format!("transformer.h.{layer}.{name}");
                    all.push(Param::new(&name, shape, part, Some(layer)));
                }
            };
            add("ln_1.weight", &[c], Part::Norms);
            add("ln_1.bias", &[c], Part::Norms);
            add("attn.c_attn.weight", &[c, 3 * c], Part::Attention);
            add("attn.c_attn.bias", &[3 * c], Part::Attention);
            add("attn.c_proj.weight", &[c, c], Part::Attention);
            add("attn.c_proj.bias", &[c], Part::Attention);
            add("ln_2.weight", &[c], Part::Norms);
            add("ln_2.bias", &[c], Part::Norms);
            add("mlp.c_fc.weight", &[c, 4 * c], Part::Mlp);
            add("mlp.c_fc.bias", &[4 * c], Part::Mlp);
            add("mlp.c_proj.weight", &[4 * c, c], Part::Mlp);
            add("mlp.c_proj.bias", &[c], Part::Mlp);
        }
        all.push(Param::new(
            "transformer.ln_f.weight",
            &[c],
            Part::FinalNorm,
            None,
        ));
        if self.bias {
            all.push(Param::new(
                "transformer.ln_f.bias",
                &[c],
                Part::FinalNorm,
                None,
            ));
        }
        all
    }

    /// Number of parameters (the tied head counts once).
    pub fn parameters(&self) -> u64 {
        self.params().iter().map(|p| p.len() as u64).sum()
    }

    /// The same shape with other layers: `scales` are the attention scales they bring.
    pub fn with_layers(&self, scales: Vec<f32>) -> Self {
        Self {
            n_layer: scales.len(),
            attention_scales: scales,
            ..self.clone()
        }
    }

    /// Floating-point operations of one training step per token: 6 per parameter in a matrix product (the tied head
    /// once, the embeddings' look-ups not at all) and 12 L C T of attention (PaLM's count, arXiv 2204.02311 appendix B).
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let c = self.n_embd as f64;
        let blocks = 12.0 * c * c * self.n_layer as f64;
        let head = c * self.vocab as f64;
        6.0 * (blocks + head) + 12.0 * self.n_layer as f64 * c * context as f64
    }
}
