//! Models of half the reference's width: every layer with its first heads, and the same share of the residual stream and
//! of the MLP (the half-width baseline of arXiv 2404.08634, appendix D).

use super::InheritError;
use crate::model::{Decoder, DecoderConfig, ModelError, Param, Weights, family};

/// Most elements of an embedding or a head that are copied at once into a narrower one; at least a row.
const ELEMENTS: usize = 1 << 20;

/// Returns the shape of the reference with `n_head` of its query heads, or half of them: head size, layers and their attention
/// scales stay, while `n_embd`, `n_inner` and `n_kv_head` shrink by the same factor as `n_head`.
///
/// # Errors
/// When `n_head` is not below the reference's, or one of these numbers would not be an integer: the error names a number of
/// heads that fits, if there is one.
pub fn half_width(
    reference: &DecoderConfig,
    n_head: Option<usize>,
) -> Result<DecoderConfig, InheritError> {
    let all = reference.n_head;
    let fail = |what| {
        let advice = advice(reference);
        Err(InheritError::NotHalved { what, advice })
    };
    let kept = match n_head {
        Some(n) if n == 0 || n >= all => {
            return fail(format!(
                "n_head = {n} must be at least 1 and below the reference's {all}"
            ));
        }
        Some(n) => n,
        None if !all.is_multiple_of(2) => {
            return fail(format!("the reference's {all} heads cannot be halved"));
        }
        None => all / 2,
    };
    match uneven(reference, kept) {
        None => Ok(DecoderConfig {
            n_head: kept,
            n_kv_head: reference.n_kv_head * kept / all,
            n_embd: reference.n_embd * kept / all,
            n_inner: reference.n_inner * kept / all,
            ..reference.clone()
        }),
        Some((what, size)) if 2 * kept == all => {
            fail(format!("the reference's {size} {what} cannot be halved"))
        }
        Some((what, size)) => fail(format!(
            "with {kept} of the reference's {all} heads, its {size} {what} times {kept}/{all} are not a whole number"
        )),
    }
}

/// Returns a size that is not an integer with `kept` of the reference's heads, and what it counts.
fn uneven(reference: &DecoderConfig, kept: usize) -> Option<(&'static str, usize)> {
    let sizes = [
        ("key and value heads", reference.n_kv_head),
        ("channels (n_embd)", reference.n_embd),
        ("MLP units (n_inner)", reference.n_inner),
    ];
    let whole = |size: usize| (size * kept).is_multiple_of(reference.n_head);
    sizes.into_iter().find(|(_, size)| !whole(*size))
}

/// Describes what to write instead: the fitting number of heads nearest to half of the reference's.
fn advice(reference: &DecoderConfig) -> String {
    let all = reference.n_head;
    let fitting = (1..all).filter(|&n| uneven(reference, n).is_none());
    match fitting.min_by_key(|n| (2 * n).abs_diff(all)) {
        Some(n) => format!("write start = {{half = true, n_head = {n}}}"),
        None => "no smaller number of heads divides all of them: choose another start".into(),
    }
}

/// Overwrites the weights of `model`, whose shape is [`half_width`] of the reference's, with the first part of each of the
/// reference's tensors: leading channels of embeddings, norms and the residual stream, leading heads of queries, keys and
/// values each, leading units of the MLP. One tensor of the reference is in memory at a time, and of those outside the
/// layers a few rows.
///
/// # Errors
/// When `model` has another shape, or a tensor cannot be read.
pub fn fill_half_width(model: &Decoder, reference: &dyn Weights) -> Result<(), InheritError> {
    let wide = reference.config();
    if half_width(wide, Some(model.config.n_head))? != model.config {
        return Err(InheritError::Unlike(0, 1, "the width"));
    }
    for (i, (p, whole)) in model.params.iter().zip(wide.params()).enumerate() {
        model
            .weights
            .fill(i, |out| take(reference, p, &whole, out))??;
    }
    Ok(())
}

/// Fills `out`, which is parameter `p` of the narrower model, from the reference's parameter `whole`.
fn take(
    reference: &dyn Weights,
    p: &Param,
    whole: &Param,
    out: &mut [f32],
) -> Result<(), ModelError> {
    let (row, whole_row) = (row(p), row(whole));
    let parts = family::row_parts(p);
    let narrow = |out: &mut [f32], values: &[f32]| {
        let rows = out
            .chunks_exact_mut(row)
            .zip(values.chunks_exact(whole_row));
        for (out, values) in rows {
            let values = values.chunks_exact(whole_row / parts);
            for (out, values) in out.chunks_exact_mut(row / parts).zip(values) {
                out.copy_from_slice(&values[..out.len()]);
            }
        }
    };
    if p.layer.is_some() || p.shape.len() < 2 {
        let mut values = vec![0.0; whole.len()];
        reference.parameter(p.stem, p.layer, &mut values)?;
        narrow(out, &values);
        return Ok(());
    }
    let rows = (ELEMENTS / whole_row).max(1);
    let mut values = vec![0.0; rows.min(p.shape[0]) * whole_row];
    for (n, out) in out.chunks_mut(rows * row).enumerate() {
        let values = &mut values[..out.len() / row * whole_row];
        reference.rows(p.stem, p.layer, n * rows, values)?;
        narrow(out, values);
    }
    Ok(())
}

/// Returns the number of elements of a row; a vector is one row.
fn row(p: &Param) -> usize {
    p.shape.last().copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::file::Dir;
    use crate::model::{self, Files, Sizes};

    fn sizes(n_head: usize, n_embd: usize) -> Sizes {
        Sizes {
            n_layer: 2,
            n_head,
            n_embd,
            context_length: 6,
            vocab: 11,
        }
    }

    /// Returns a random model of this shape in memory, and the same model in files.
    fn both(shape: DecoderConfig) -> (tempfile::TempDir, Decoder, Files) {
        let model = Decoder::random(shape, 3, &Device::Cpu).unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let values = model.weights.read_all().unwrap();
        model::save(&model.config, &model.params, &values, None, &dir).unwrap();
        let files = Files::open_in(&dir).unwrap();
        (tmp, model, files)
    }

    /// Returns element `at` of a parameter, in row-major order.
    fn element(model: &Decoder, name: &str, at: [usize; 2]) -> f32 {
        let i = model.params.iter().position(|p| p.name == name).unwrap();
        let row = row(&model.params[i]);
        model.weights.read(i).unwrap()[at[0] * row + at[1]]
    }

    #[test]
    fn queries_keys_and_values_keep_their_first_heads_each() {
        let shape = DecoderConfig {
            attention_scales: vec![1.0, 0.5],
            n_inner: 20,
            ..DecoderConfig::gpt2(sizes(4, 12), true)
        };
        let (_tmp, wide, files) = both(shape.clone());
        let narrow = half_width(&shape, None).unwrap();
        let expected = (2, 2, 3, 6, 10);
        let n = &narrow;
        let got = (n.n_head, n.n_kv_head, n.head_size, n.n_embd, n.n_inner);
        assert_eq!(got, expected);
        assert_eq!(narrow.attention_scales, [1.0, 0.5]);
        let model = Decoder::zeros(narrow, &Device::Cpu).unwrap();
        fill_half_width(&model, &wide).unwrap();
        let name = |stem: &str| format!("transformer.h.1.{stem}");
        for part in 0..3 {
            for head in 0..2 {
                for channel in 0..3 {
                    let at = |width: usize, row| [row, part * width + 3 * head + channel];
                    let weight = name("attn.c_attn.weight");
                    let got = element(&model, &weight, at(6, 5));
                    assert_eq!(got, element(&wide, &weight, at(12, 5)));
                    let bias = name("attn.c_attn.bias");
                    let got = element(&model, &bias, at(6, 0));
                    assert_eq!(got, element(&wide, &bias, at(12, 0)));
                }
            }
        }
        for (stem, at) in [
            (name("attn.c_proj.weight"), [5, 5]),
            (name("mlp.c_fc.weight"), [5, 9]),
            (name("mlp.c_proj.weight"), [9, 5]),
            (name("mlp.c_fc.bias"), [0, 9]),
            ("transformer.wte.weight".into(), [10, 5]),
            ("transformer.wpe.weight".into(), [5, 5]),
            ("transformer.ln_f.weight".into(), [0, 5]),
        ] {
            assert_eq!(
                element(&model, &stem, at),
                element(&wide, &stem, at),
                "{stem}"
            );
        }
        let from_files = Decoder::zeros(model.config.clone(), &Device::Cpu).unwrap();
        fill_half_width(&from_files, &files).unwrap();
        let all = |model: &Decoder| model.weights.read_all().unwrap();
        assert_eq!(all(&from_files), all(&model));
    }

    #[test]
    fn shared_keys_and_values_shrink_with_the_heads_that_share_them() {
        let shape = DecoderConfig {
            n_kv_head: 2,
            n_inner: 24,
            ..DecoderConfig::llama(sizes(6, 12))
        };
        let narrow = half_width(&shape, None).unwrap();
        assert_eq!(
            (
                narrow.n_head,
                narrow.n_kv_head,
                narrow.n_embd,
                narrow.n_inner
            ),
            (3, 1, 6, 12)
        );
        let (_tmp, wide, files) = both(shape);
        let model = Decoder::zeros(narrow, &Device::Cpu).unwrap();
        fill_half_width(&model, &files).unwrap();
        for (name, at) in [
            ("model.layers.1.self_attn.q_proj.weight", [5, 5]),
            ("model.layers.1.self_attn.v_proj.weight", [1, 5]),
            ("model.layers.0.self_attn.o_proj.weight", [5, 5]),
            ("model.layers.0.mlp.gate_proj.weight", [11, 5]),
            ("model.layers.0.mlp.down_proj.weight", [5, 11]),
            ("lm_head.weight", [10, 5]),
        ] {
            assert_eq!(
                element(&model, name, at),
                element(&wide, name, at),
                "{name}"
            );
        }
    }

    #[test]
    fn heads_that_do_not_halve_are_named_with_what_to_write() {
        // GPT-2 XL: 25 heads of 64, 6400 MLP units.
        let xl = DecoderConfig::gpt2(sizes(25, 1600), true);
        let error = |shape: &DecoderConfig, n| half_width(shape, n).unwrap_err().to_string();
        let what = error(&xl, None);
        assert!(
            what.contains("the reference's 25 heads cannot be halved"),
            "{what}"
        );
        assert!(
            what.ends_with("write start = {half = true, n_head = 12}"),
            "{what}"
        );
        let half = half_width(&xl, Some(12)).unwrap();
        assert_eq!((half.n_embd, half.n_inner, half.n_kv_head), (768, 3072, 12));
        for n in [0, 25, 26] {
            let what = error(&xl, Some(n));
            assert!(
                what.contains(&format!("n_head = {n} must be at least 1")),
                "{what}"
            );
        }
        let llama = |n_kv_head, n_inner| DecoderConfig {
            n_kv_head,
            n_inner,
            ..DecoderConfig::llama(sizes(6, 12))
        };
        let what = error(&llama(3, 24), None);
        assert!(
            what.contains("3 key and value heads cannot be halved"),
            "{what}"
        );
        assert!(what.ends_with("n_head = 2}"), "{what}");
        let what = error(&llama(2, 27), None);
        assert!(
            what.contains("27 MLP units (n_inner) cannot be halved"),
            "{what}"
        );
        assert!(what.ends_with("choose another start"), "{what}");
        let what = error(&llama(6, 25), Some(5));
        let wrong = "with 5 of the reference's 6 heads, its 25 MLP units (n_inner) times 5/6";
        assert!(what.contains(wrong), "{what}");
    }
}
