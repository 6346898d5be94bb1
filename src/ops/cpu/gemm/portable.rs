//! Tiles of bf16 multiplied by plain loops.

use super::mat::Mat;
use super::tile::{Line, PANEL, TILE};

/// Rows whose sums are kept at once.
const ROWS: usize = 4;

/// `out[32, 32] = onto + a b` of packed panels.
///
/// # Safety
/// `a` and `b` must hold `steps` steps, `out` and `onto` 32 rows of 32, `out` for writing.
pub unsafe fn block(a: *const Line, b: *const Line, steps: usize, out: Mat, onto: Option<Mat>) {
    let lines = steps * PANEL;
    // SAFETY: forwarded to the caller.
    let (a, b) = unsafe {
        (
            std::slice::from_raw_parts(a, lines),
            std::slice::from_raw_parts(b, lines),
        )
    };
    for first in (0..PANEL).step_by(ROWS) {
        for column in (0..PANEL).step_by(TILE) {
            let mut rows = [[0f32; TILE]; ROWS];
            if let Some(onto) = onto {
                for (i, row) in rows.iter_mut().enumerate() {
                    // SAFETY: forwarded to the caller: four rows of one tile.
                    *row = unsafe { *onto.at(first + i, column).ptr.cast() };
                }
            }
            simd!(sums(&a[first..], &b[column..], &mut rows));
            for (i, row) in rows.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { *out.at(first + i, column).ptr.cast_mut().cast() = row };
            }
        }
    }
}

#[inline(always)]
fn sums(a: &[Line], b: &[Line], out: &mut [[f32; TILE]; ROWS]) {
    let mut sums = [[0f32; TILE]; ROWS];
    for (a, b) in a.chunks(PANEL).zip(b.chunks(PANEL)) {
        for (pair, b) in b[..TILE].iter().enumerate() {
            let (low, high) = halves(b);
            for (row, sums) in sums.iter_mut().enumerate() {
                let (x, y) = (wide(a[row].0[2 * pair]), wide(a[row].0[2 * pair + 1]));
                for i in 0..TILE {
                    sums[i] += x * low[i] + y * high[i];
                }
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += sum;
        }
    }
}

/// The first and the second value of each pair.
#[inline(always)]
fn halves(line: &Line) -> ([f32; TILE], [f32; TILE]) {
    let pairs: &[[u16; 2]] = bytemuck::cast_slice(&line.0);
    let mut halves = ([0f32; TILE], [0f32; TILE]);
    for (i, [low, high]) in pairs.iter().enumerate() {
        (halves.0[i], halves.1[i]) = (wide(*low), wide(*high));
    }
    halves
}

#[inline(always)]
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
