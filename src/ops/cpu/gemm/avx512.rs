//! Packing and dot products with AVX-512.
#![cfg_attr(not(target_arch = "x86_64"), allow(unused))]

#[cfg(target_arch = "x86_64")]
pub use x86::{block, pack};

/// Whether this machine has AVX-512 with its bf16 instructions.
pub fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use crate::ops::cpu::gemm::mat::Mat;
    use crate::ops::cpu::gemm::tile::{Line, Side, Tile};

    pub unsafe fn pack(_: Side, _: &mut [Line], _: &Tile) {
        unreachable!("this unit is never chosen here")
    }

    pub unsafe fn block(_: *const Line, _: *const Line, _: usize, _: Mat, _: Option<Mat>) {
        unreachable!("this unit is never chosen here")
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub use elsewhere::{block, pack};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use crate::ops::cpu::gemm::mat::Mat;
    use crate::ops::cpu::gemm::tile::{Line, PANEL, Side, TILE, Tile};

    /// Packs a tile.
    ///
    /// # Safety
    /// The machine must have the unit; the tile's pointer must be valid for its rows and `k`.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub unsafe fn pack(side: Side, into: &mut [Line], tile: &Tile) {
        // Lines of 32 neighbouring k each (from rows), or of 16 rows' pairs of k (from columns).
        let by_rows = tile.col == 1;
        let mut lines = [_mm512_setzero_si512(); TILE];
        for (i, line) in lines.iter_mut().enumerate() {
            // SAFETY: masked to the rows and k that there are; both types are 512 bits of plain data.
            unsafe {
                let (low, high) = if by_rows {
                    let from = tile.ptr.wrapping_add(i * tile.row);
                    let ks = if i < tile.rows { tile.ks } else { 0 };
                    let rest = ks.saturating_sub(16);
                    (load(from, ks), load(from.wrapping_add(16), rest))
                } else {
                    let from = tile.ptr.wrapping_add(2 * i * tile.col);
                    let rows = |k: usize| if k < tile.ks { tile.rows } else { 0 };
                    let next = from.wrapping_add(tile.col);
                    (load(from, rows(2 * i)), load(next, rows(2 * i + 1)))
                };
                let rounded =
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                *line = match by_rows {
                    true => rounded,
                    false => _mm512_permutexvar_epi16(interleave(), rounded),
                };
            }
        }
        finish(side, by_rows, lines, into);
    }

    /// Writes the lines as they are, or turned: a left tile has its rows in lines, a right one has them in columns.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn finish(side: Side, by_rows: bool, mut lines: [__m512i; TILE], into: &mut [Line]) {
        if by_rows != (side == Side::Left) {
            transpose(&mut lines);
        }
        for (line, value) in into.iter_mut().zip(lines) {
            // SAFETY: a line is 64 aligned bytes.
            unsafe { _mm512_store_si512(std::ptr::from_mut(line).cast(), value) };
        }
    }

    /// The first `n` (at most 16) values from `from`; zeros beyond.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const f32, n: usize) -> __m512 {
        let mask = if n >= 16 { 0xffff } else { (1u16 << n) - 1 };
        // SAFETY: masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }

    /// Takes `[a0 .. a15, b0 .. b15]` to `[a0, b0, a1, b1, ..]`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn interleave() -> __m512i {
        const ORDER: [u16; 32] = {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 16 {
                order[2 * i] = i as u16;
                order[2 * i + 1] = 16 + i as u16;
                i += 1;
            }
            order
        };
        // SAFETY: 64 bytes of plain data.
        unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) }
    }

    /// Transposes 16 x 16 values of 32 bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose(r: &mut [__m512i; TILE]) {
        let mut t = [_mm512_setzero_si512(); TILE];
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            let j = 4 * i;
            r[j] = _mm512_unpacklo_epi64(t[j], t[j + 2]);
            r[j + 1] = _mm512_unpackhi_epi64(t[j], t[j + 2]);
            r[j + 2] = _mm512_unpacklo_epi64(t[j + 1], t[j + 3]);
            r[j + 3] = _mm512_unpackhi_epi64(t[j + 1], t[j + 3]);
        }
        // r[4 i + c] holds, in its quarters q, column 4 q + c of rows 4 i .. 4 i + 3.
        for c in 0..4 {
            let (a, b, d, e) = (r[c], r[4 + c], r[8 + c], r[12 + c]);
            let ab_low = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
            let ab_high = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
            let de_low = _mm512_shuffle_i32x4::<0b10_00_10_00>(d, e);
            let de_high = _mm512_shuffle_i32x4::<0b11_01_11_01>(d, e);
            t[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_low, de_low);
            t[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_low, de_low);
            t[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_high, de_high);
            t[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_high, de_high);
        }
        *r = t;
    }

    /// Rows whose sums are in registers at once, two registers a row.
    const ROWS: usize = 8;

    /// `out[32, 32] = onto + a b` of packed panels.
    ///
    /// # Safety
    /// The machine must have the unit; `a` and `b` must hold `steps` steps, `out` and `onto` 32 rows of 32, `out` for writing.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub unsafe fn block(a: *const Line, b: *const Line, steps: usize, out: Mat, onto: Option<Mat>) {
        for first in (0..PANEL).step_by(ROWS) {
            // SAFETY: forwarded to the caller: eight of the 32 rows.
            unsafe {
                let a = a.add(first).cast::<i32>();
                let mut sums = begin(onto.map(|onto| onto.at(first, 0)));
                for line in (0..steps * PANEL).step_by(PANEL) {
                    for pair in 0..TILE {
                        let b0 = dots(_mm512_load_si512(b.add(line + pair).cast()));
                        let b1 = dots(_mm512_load_si512(b.add(line + TILE + pair).cast()));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let a = *a.add((line + row) * TILE + pair);
                            let a = dots(_mm512_set1_epi32(a));
                            sums[0] = _mm512_dpbf16_ps(sums[0], a, b0);
                            sums[1] = _mm512_dpbf16_ps(sums[1], a, b1);
                        }
                    }
                }
                end(&sums, out.at(first, 0));
            }
        }
    }

    /// The sums to add to.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn begin(onto: Option<Mat>) -> [[__m512; 2]; ROWS] {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        if let Some(onto) = onto {
            for (row, sums) in sums.iter_mut().enumerate() {
                let from = onto.at(row, 0).ptr;
                // SAFETY: forwarded to the caller.
                *sums = unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(TILE))] };
            }
        }
        sums
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn end(sums: &[[__m512; 2]; ROWS], out: Mat) {
        for (row, sums) in sums.iter().enumerate() {
            let to = out.at(row, 0).ptr.cast_mut();
            // SAFETY: forwarded to the caller.
            unsafe {
                _mm512_storeu_ps(to, sums[0]);
                _mm512_storeu_ps(to.add(TILE), sums[1]);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn dots(x: __m512i) -> __m512bh {
        // SAFETY: both are 512 bits of plain data.
        unsafe { std::mem::transmute(x) }
    }
}
