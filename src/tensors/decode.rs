//! Decodes stored bytes to f32 values, in parallel.

use std::borrow::Cow;

use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::DType;

/// Values of a piece of work: whole blocks of every type, small enough for the caches.
const PIECE: usize = 1 << 15;
/// Values that are converted at once from a copy on the stack.
const RUN: usize = 1 << 10;

/// Why values could not be decoded.
#[derive(Debug, PartialEq)]
pub enum Failure {
    NotFinite { index: usize, value: f32 },
    NotRead,
}

/// Fills `out` from `bytes`, which must hold exactly that number of values.
///
/// # Errors
/// With the first value that is not finite, or when the type cannot be read.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), Failure> {
    debug_assert_eq!(dtype.bytes(out.len()), Some(bytes.len()));
    let piece_bytes = PIECE / dtype.block() * dtype.block_bytes();
    let pieces = out
        .par_chunks_mut(PIECE)
        .zip(bytes.par_chunks(piece_bytes))
        .enumerate();
    let failure = pieces.find_map_first(|(piece, (out, bytes))| {
        if !fill(dtype, bytes, out) {
            return Some(Failure::NotRead);
        }
        let at = out.iter().position(|v| !v.is_finite())?;
        Some(Failure::NotFinite {
            index: piece * PIECE + at,
            value: out[at],
        })
    });
    failure.map_or(Ok(()), Err)
}

/// Fills `out`. Returns false if the type cannot be read.
fn fill(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    match dtype {
        DType::F64 => {
            let (words, _) = bytes.as_chunks::<8>();
            for (out, &word) in out.iter_mut().zip(words) {
                *out = f64::from_le_bytes(word) as f32;
            }
        }
        DType::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            for (out, &word) in out.iter_mut().zip(words) {
                *out = f32::from_le_bytes(word);
            }
        }
        DType::F16 => halves(bytes, out, f16::from_bits),
        DType::Bf16 => halves(bytes, out, bf16::from_bits),
        DType::Quantized(blocks) => return dequantize(blocks, bytes, out),
        DType::Other(_) => return false,
    }
    true
}

/// Decodes values of two bytes, from an address that need not be even.
fn halves<H: Copy + Default>(bytes: &[u8], out: &mut [f32], from_bits: impl Fn(u16) -> H)
where
    [H]: HalfFloatSliceExt,
{
    let (words, _) = bytes.as_chunks::<2>();
    let mut run = [H::default(); RUN];
    for (out, words) in out.chunks_mut(RUN).zip(words.chunks(RUN)) {
        let run = &mut run[..words.len()];
        for (half, &word) in run.iter_mut().zip(words) {
            *half = from_bits(u16::from_le_bytes(word));
        }
        run.convert_to_f32_slice(out);
    }
}

fn dequantize(blocks: GgmlDType, bytes: &[u8], out: &mut [f32]) -> bool {
    let mut aligned = Vec::new();
    let stored = blocks.from_data(Cow::Borrowed(align(bytes, &mut aligned)));
    match stored.dequantize(out.len()) {
        Ok(CpuStorage::F32(values)) => {
            out.copy_from_slice(&values);
            true
        }
        _ => false,
    }
}

/// Returns the bytes at an address that is aligned for any block, as candle requires; a file may have its data at any address.
fn align<'b>(bytes: &'b [u8], room: &'b mut Vec<u64>) -> &'b [u8] {
    if bytes.as_ptr().addr().is_multiple_of(align_of::<u64>()) {
        return bytes;
    }
    room.resize(bytes.len().div_ceil(8), 0);
    let room = &mut bytemuck::cast_slice_mut(room)[..bytes.len()];
    room.copy_from_slice(bytes);
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut values = vec![1.0f32; 3 * PIECE];
        values[2 * PIECE + 5] = f32::NAN;
        values[PIECE + 7] = f32::INFINITY;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut out = vec![0.0; values.len()];
        let index = PIECE + 7;
        let value = f32::INFINITY;
        let wanted = Err(Failure::NotFinite { index, value });
        assert_eq!(decode(DType::F32, &bytes, &mut out), wanted);
        // A value that f32 cannot hold is also an error.
        let wanted = Err(Failure::NotFinite { index: 0, value });
        let bytes = 1e300f64.to_le_bytes();
        assert_eq!(decode(DType::F64, &bytes, &mut out[..1]), wanted);
    }

    #[test]
    fn data_may_begin_at_any_address() {
        let mut blocks = [0u8; 3 * 34 + 8];
        for at in 0..8 {
            let stored = &mut blocks[at..at + 3 * 34];
            for (i, block) in stored.chunks_mut(34).enumerate() {
                block[..2].copy_from_slice(&f16::from_f32(0.5).to_bits().to_le_bytes());
                block[2..].fill(2 + 2 * i as u8);
            }
            let mut out = [0.0; 96];
            assert_eq!(decode(DType::Q8_0, stored, &mut out), Ok(()));
            assert!((0..96).all(|i| out[i] == (1 + i / 32) as f32), "at {at}");
            let mut out = [0.0; 2];
            stored[..4].copy_from_slice(&[0x00, 0x3c, 0x00, 0xc0]);
            assert_eq!(decode(DType::F16, &stored[..4], &mut out), Ok(()));
            assert_eq!(out, [1.0, -2.0]);
            stored[..4].copy_from_slice(&[0x80, 0x3f, 0x00, 0xc0]);
            assert_eq!(decode(DType::Bf16, &stored[..4], &mut out), Ok(()));
            assert_eq!(out, [1.0, -2.0]);
        }
    }
}
