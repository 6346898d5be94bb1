//! Finds the hidden matrices, which map hidden states to hidden states, and which an optimizer for matrices may update.

use super::arena::Param;
use super::config::DecoderConfig;
use super::family;
use super::part::Part;
use crate::ops::{Block, Layout};

/// One of the matrices that a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HiddenMatrix {
    /// Its place in the tensor.
    pub block: Block,
    /// Its inputs and outputs, for either layout of the tensor.
    pub inputs: usize,
    pub outputs: usize,
}

impl Param {
    /// Whether this is a weight of a layer's attention or MLP. Embeddings, positions and the head are not, although they have
    /// two dimensions: each of their rows belongs to a token or a position. Norms and biases are vectors.
    pub fn is_hidden_matrix(&self) -> bool {
        self.shape.len() == 2
            && self.layer.is_some()
            && matches!(self.part, Part::Attention | Part::Mlp)
    }
}

impl DecoderConfig {
    /// Returns the matrices of a [hidden matrix](Param::is_hidden_matrix) tensor: the tensor itself, or the matrices of
    /// queries, keys and values if it holds all three.
    pub fn hidden_matrices(&self, p: &Param) -> Vec<HiddenMatrix> {
        let [rows, stride] = p.shape[..] else {
            return Vec::new();
        };
        let mut first = 0;
        let matrix = |columns: usize| {
            let block = Block {
                rows,
                columns,
                first,
                stride,
            };
            first += columns;
            let (inputs, outputs) = match family::layout(self) {
                Layout::InOut => (rows, columns),
                Layout::OutIn => (columns, rows),
            };
            HiddenMatrix {
                block,
                inputs,
                outputs,
            }
        };
        let columns = family::columns(self, p).unwrap_or_else(|| vec![stride]);
        columns.into_iter().map(matrix).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    fn sizes() -> Sizes {
        Sizes {
            n_layer: 2,
            n_head: 2,
            n_embd: 8,
            context_length: 6,
            vocab: 11,
        }
    }

    fn names(config: &DecoderConfig) -> Vec<String> {
        let params = config.params().into_iter();
        let names = params.filter(Param::is_hidden_matrix).map(|p| p.name);
        names.filter(|name| name.contains(".0.")).collect()
    }

    #[test]
    fn weights_of_attention_and_mlp_are_hidden_matrices_and_nothing_else() {
        assert_eq!(
            names(&DecoderConfig::gpt2(sizes(), true)),
            [
                "transformer.h.0.attn.c_attn.weight",
                "transformer.h.0.attn.c_proj.weight",
                "transformer.h.0.mlp.c_fc.weight",
                "transformer.h.0.mlp.c_proj.weight",
            ]
        );
        let llama = DecoderConfig {
            tied_head: false,
            ..DecoderConfig::llama(sizes())
        };
        assert_eq!(
            names(&llama),
            [
                "model.layers.0.self_attn.q_proj.weight",
                "model.layers.0.self_attn.k_proj.weight",
                "model.layers.0.self_attn.v_proj.weight",
                "model.layers.0.self_attn.o_proj.weight",
                "model.layers.0.mlp.gate_proj.weight",
                "model.layers.0.mlp.up_proj.weight",
                "model.layers.0.mlp.down_proj.weight",
            ]
        );
    }

    #[test]
    fn queries_keys_and_values_in_one_tensor_are_three_matrices() {
        let config = DecoderConfig::gpt2(sizes(), true);
        let params = config.params();
        let find = |stem: &str| params.iter().find(|p| p.name.ends_with(stem)).unwrap();
        let qkv = config.hidden_matrices(find("0.attn.c_attn.weight"));
        let firsts: Vec<usize> = qkv.iter().map(|m| m.block.first).collect();
        assert_eq!(firsts, [0, 8, 16]);
        for m in &qkv {
            assert_eq!((m.block.rows, m.block.columns, m.block.stride), (8, 8, 24));
        }
        let up = config.hidden_matrices(find("0.mlp.c_fc.weight"));
        assert_eq!(up.len(), 1);
        assert_eq!((up[0].inputs, up[0].outputs), (8, 32));
        let llama = DecoderConfig::llama(sizes());
        let params = llama.params();
        let down = params.iter().find(|p| p.name.ends_with("down_proj.weight"));
        let down = llama.hidden_matrices(down.unwrap());
        assert_eq!((down[0].inputs, down[0].outputs), (llama.n_inner, 8));
        assert_eq!(
            (down[0].block.rows, down[0].block.columns),
            (8, llama.n_inner)
        );
    }
}
