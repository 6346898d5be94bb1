//! Tiles of bf16 multiplied by plain loops.

use super::pack::{Line, PANEL, TILE};

/// `out[32, 32] (+)= a b` of packed panels.
///
/// # Safety
/// `a` and `b` must hold `steps` steps, `out` 32 rows of 32.
pub unsafe fn block(
    a: *const Line,
    b: *const Line,
    steps: usize,
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
) {
    let lines = steps * PANEL;
    // SAFETY: forwarded to the caller.
    let (a, b) = unsafe {
        (
            std::slice::from_raw_parts(a, lines),
            std::slice::from_raw_parts(b, lines),
        )
    };
    for row in 0..PANEL {
        // SAFETY: forwarded to the caller.
        let out = unsafe { std::slice::from_raw_parts_mut(out.add(row * out_row), PANEL) };
        if !accumulate {
            out.fill(0.0);
        }
        simd!(one_row(a, b, row, out));
    }
}

#[inline(always)]
fn one_row(a: &[Line], b: &[Line], row: usize, out: &mut [f32]) {
    let steps = a.chunks_exact(PANEL).zip(b.chunks_exact(PANEL));
    for (a, b) in steps {
        let left = &a[row].0;
        let (first, second) = b.split_at(TILE);
        let (low, high) = out.split_at_mut(TILE);
        for (out, b) in [(low, first), (high, second)] {
            for (pair, line) in b.iter().enumerate() {
                let (x, y) = (wide(left[2 * pair]), wide(left[2 * pair + 1]));
                for (i, out) in out.iter_mut().enumerate() {
                    *out += x * wide(line.0[2 * i]) + y * wide(line.0[2 * i + 1]);
                }
            }
        }
    }
}

#[inline(always)]
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
