//! Encodes f32 values as stored bytes, in parallel.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::DType;

/// Values of a piece of work: whole blocks of every type.
const PIECE: usize = 1 << 15;
/// Values that are converted at once on the stack.
const RUN: usize = 1 << 10;
/// Values and bytes of a Q8_0 block.
const Q8_0: (usize, usize) = (32, 34);

/// The first value that cannot be stored.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    pub index: usize,
    pub value: f32,
}

/// Whether tensors can be written as this type.
pub fn is_written(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::Bf16) || dtype == DType::Q8_0
}

/// Fills `out` with the bytes of `values`, which must be complete blocks of a type that [can be written](is_written).
///
/// # Errors
/// With the first value that is not finite, or that the type cannot hold.
pub fn encode(dtype: DType, values: &[f32], out: &mut Vec<u8>) -> Result<(), Misfit> {
    out.resize(values.len() / dtype.block() * dtype.block_bytes(), 0);
    let piece_bytes = PIECE / dtype.block() * dtype.block_bytes();
    let pieces = values
        .par_chunks(PIECE)
        .zip(out.par_chunks_mut(piece_bytes))
        .enumerate();
    let misfit = pieces.find_map_first(|(piece, (values, out))| {
        let at = values
            .iter()
            .position(|v| !v.is_finite())
            .or_else(|| match dtype {
                DType::F16 => halves(values, out, f16::to_bits, f16::is_finite),
                DType::Bf16 => halves(values, out, bf16::to_bits, bf16::is_finite),
                DType::F32 => {
                    let (words, _) = out.as_chunks_mut::<4>();
                    for (word, v) in words.iter_mut().zip(values) {
                        *word = v.to_le_bytes();
                    }
                    None
                }
                _ => q8_0(values, out),
            })?;
        Some(Misfit {
            index: piece * PIECE + at,
            value: values[at],
        })
    });
    misfit.map_or(Ok(()), Err)
}

/// Encodes values as two bytes each. Returns the place of the first value that became infinite.
fn halves<H: Copy + Default>(
    values: &[f32],
    out: &mut [u8],
    to_bits: impl Fn(H) -> u16,
    is_finite: impl Fn(H) -> bool,
) -> Option<usize>
where
    [H]: HalfFloatSliceExt,
{
    let (words, _) = out.as_chunks_mut::<2>();
    let mut run = [H::default(); RUN];
    let runs = values.chunks(RUN).zip(words.chunks_mut(RUN));
    for (i, (values, words)) in runs.enumerate() {
        let run = &mut run[..values.len()];
        run.convert_from_f32_slice(values);
        if let Some(at) = run.iter().position(|&h| !is_finite(h)) {
            return Some(i * RUN + at);
        }
        for (word, &half) in words.iter_mut().zip(run.iter()) {
            *word = to_bits(half).to_le_bytes();
        }
    }
    None
}

/// Encodes Q8_0 as ggml's `quantize_row_q8_0_ref` does: the scale is the largest magnitude over 127. Returns the place of a
/// value that makes a scale too large for f16.
fn q8_0(values: &[f32], out: &mut [u8]) -> Option<usize> {
    let blocks = values
        .chunks_exact(Q8_0.0)
        .zip(out.chunks_exact_mut(Q8_0.1));
    for (i, (values, out)) in blocks.enumerate() {
        let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let scale = largest / 127.0;
        let stored = f16::from_f32(scale);
        if !stored.is_finite() {
            let at = values.iter().position(|v| v.abs() == largest);
            return Some(i * Q8_0.0 + at.unwrap_or(0));
        }
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let (head, quants) = out.split_at_mut(2);
        head.copy_from_slice(&stored.to_bits().to_le_bytes());
        for (quant, v) in quants.iter_mut().zip(values) {
            *quant = (v * inverse).round() as i8 as u8;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_cannot_hold_is_named() {
        let mut values = vec![0.5f32; PIECE + 64];
        for (dtype, value) in [
            (DType::F16, 70_000.0),
            (DType::Bf16, f32::MAX),
            (DType::Q8_0, -1e9),
            (DType::F32, f32::NEG_INFINITY),
        ] {
            values[PIECE + 40] = value;
            let index = PIECE + 40;
            let told = encode(dtype, &values, &mut Vec::new());
            assert_eq!(told, Err(Misfit { index, value }), "{dtype}");
        }
        values[PIECE + 40] = 65_504.0;
        assert_eq!(encode(DType::F16, &values, &mut Vec::new()), Ok(()));
    }
}
