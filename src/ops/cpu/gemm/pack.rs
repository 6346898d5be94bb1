//! Operands as panels of bf16 tiles.
//!
//! A panel holds 32 rows of the left operand (or 32 columns of the right one), cut along `k` into steps of 32. A step
//! holds each part's two tiles of 16 rows. A tile of the left operand is 16 lines, one for each row, of 32 neighbouring
//! `k`; of the right operand 16 lines, one for each pair of `k`, of 16 columns' pairs, as tile and dot-product
//! instructions want them. What is missing to whole tiles is zero.

use half::bf16;
use rayon::prelude::*;

use super::{How, Mat, Threads, Unit, avx512};

/// Values in a line of 64 bytes.
pub const LINE: usize = 32;
/// Lines in a tile.
pub const TILE: usize = 16;
/// Rows of a panel.
pub const PANEL: usize = 2 * TILE;

/// A line of a tile: 64 bytes, a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [u16; LINE]);

/// Which operand is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A packed operand; its memory grows and is kept between uses.
#[derive(Default)]
pub struct Packed {
    lines: Vec<Line>,
    rows: usize,
    steps: usize,
    step_lines: usize,
}

/// A packed operand, or some of its panels.
#[derive(Clone, Copy)]
pub struct Panels<'p> {
    lines: &'p [Line],
    pub(super) rows: usize,
    pub(super) steps: usize,
    step_lines: usize,
}

impl Packed {
    pub const fn new() -> Self {
        Self {
            lines: Vec::new(),
            rows: 0,
            steps: 0,
            step_lines: 0,
        }
    }

    /// Makes room for `rows` rows (columns of a right operand) of depth `k`, of unspecified content.
    pub fn shape(&mut self, how: How, rows: usize, k: usize) {
        (self.rows, self.steps) = (rows, k.div_ceil(LINE));
        self.step_lines = how.step_lines();
        let n = rows.div_ceil(PANEL) * self.steps * self.step_lines;
        if self.lines.len() < n {
            self.lines.resize(n, Line([0; LINE]));
        }
    }

    /// Packs `from[rows, k]`.
    ///
    /// # Safety
    /// `from` must be valid for its sizes.
    pub unsafe fn fill(
        &mut self,
        how: How,
        side: Side,
        from: Mat,
        rows: usize,
        k: usize,
        threads: Threads,
    ) {
        self.shape(how, rows, k);
        let panel_lines = self.steps * self.step_lines;
        let lines = &mut self.lines[..rows.div_ceil(PANEL) * panel_lines];
        let one = |(panel, lines): (usize, &mut [Line])| {
            let first = panel * PANEL;
            // SAFETY: the panel's rows are rows of `from`.
            unsafe {
                pack(
                    how,
                    side,
                    lines,
                    from.skip(first),
                    PANEL.min(rows - first),
                    k,
                )
            };
        };
        match threads {
            Threads::One => lines.chunks_mut(panel_lines).enumerate().for_each(one),
            Threads::All => lines.par_chunks_mut(panel_lines).enumerate().for_each(one),
        }
    }

    /// The whole operand.
    pub fn all(&self) -> Panels<'_> {
        Panels {
            lines: &self.lines[..self.rows.div_ceil(PANEL) * self.steps * self.step_lines],
            rows: self.rows,
            steps: self.steps,
            step_lines: self.step_lines,
        }
    }

    /// Lets tasks pack different depths of the operand.
    pub fn by_depth(&mut self, how: How) -> ByDepth {
        ByDepth {
            how,
            lines: self.lines.as_mut_ptr(),
            rows: self.rows,
            steps: self.steps,
        }
    }
}

impl<'p> Panels<'p> {
    /// Rows `from..to`; `from` must be the first of a panel.
    pub fn rows(self, from: usize, to: usize) -> Self {
        assert!(
            from.is_multiple_of(PANEL) && to <= self.rows,
            "rows {from}..{to}"
        );
        Self {
            lines: &self.lines[from / PANEL * self.steps * self.step_lines..],
            rows: to - from,
            ..self
        }
    }

    /// The lines of a panel from a step on.
    pub(super) fn step(&self, panel: usize, step: usize) -> &'p [Line] {
        &self.lines[(panel * self.steps + step) * self.step_lines..]
    }
}

/// An operand that is packed depth by depth.
pub struct ByDepth {
    how: How,
    lines: *mut Line,
    rows: usize,
    steps: usize,
}

// SAFETY: the pointer is used by `fill` only, whose callers keep the places written apart.
unsafe impl Sync for ByDepth {}

impl ByDepth {
    /// Packs `from[rows, k]` as depths `first..first + k`; `first` must be a multiple of 32.
    ///
    /// # Safety
    /// `from` must be valid for its sizes, the operand must be alive and borrowed by nobody, and no other task may pack
    /// these depths.
    pub unsafe fn fill(&self, side: Side, from: Mat, first: usize, k: usize) {
        let steps = k.div_ceil(LINE);
        assert!(first.is_multiple_of(LINE) && first / LINE + steps <= self.steps);
        for row in (0..self.rows).step_by(PANEL) {
            let at = (row / PANEL * self.steps + first / LINE) * self.how.step_lines();
            let n = steps * self.how.step_lines();
            // SAFETY: within the operand by the assertion; forwarded to the caller otherwise.
            unsafe {
                let lines = std::slice::from_raw_parts_mut(self.lines.add(at), n);
                let rows = PANEL.min(self.rows - row);
                pack(self.how, side, lines, from.skip(row), rows, k);
            }
        }
    }
}

/// Packs `from[rows, k]` as one panel.
///
/// # Safety
/// `from` must be valid for its sizes.
unsafe fn pack(how: How, side: Side, into: &mut [Line], from: Mat, rows: usize, k: usize) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match how.parts {
            1 => panel::<1>(how.unit, side, into, from, rows, k),
            _ => panel::<3>(how.unit, side, into, from, rows, k),
        }
    }
}

unsafe fn panel<const P: usize>(
    unit: Unit,
    side: Side,
    into: &mut [Line],
    from: Mat,
    rows: usize,
    k: usize,
) {
    let steps = into.chunks_exact_mut(P * PANEL);
    for (at, step) in (0..k).step_by(LINE).zip(steps) {
        for tile in 0..2 {
            let skipped = tile * TILE;
            let tile_of = Tile {
                // Nothing is read where no rows are left.
                ptr: from.ptr.wrapping_add(skipped * from.row + at * from.col),
                row: from.row,
                col: from.col,
                rows: rows.saturating_sub(skipped).min(TILE),
                ks: LINE.min(k - at),
            };
            let step = &mut step[skipped..];
            // SAFETY: forwarded to the caller; the unit was found at start.
            unsafe {
                match unit {
                    Unit::Amx | Unit::Avx512 => avx512::pack::<P>(side, step, &tile_of),
                    Unit::Portable => tile_of.pack::<P>(side, step),
                }
            }
        }
    }
}

/// Up to 16 rows and 32 `k` of an operand.
pub struct Tile {
    pub ptr: *const f32,
    pub row: usize,
    pub col: usize,
    pub rows: usize,
    pub ks: usize,
}

impl Tile {
    /// # Safety
    /// The pointer must be valid for the rows and `k`.
    unsafe fn pack<const P: usize>(&self, side: Side, into: &mut [Line]) {
        for part in 0..P {
            into[part * PANEL..][..TILE].fill(Line([0; LINE]));
        }
        for row in 0..self.rows {
            for k in 0..self.ks {
                // SAFETY: within the rows and `k`.
                let mut rest = unsafe { *self.ptr.add(row * self.row + k * self.col) };
                let (line, at) = match side {
                    Side::Left => (row, k),
                    Side::Right => (k / 2, 2 * row + k % 2),
                };
                for part in 0..P {
                    let rounded = bf16::from_f32(rest);
                    into[part * PANEL + line].0[at] = rounded.to_bits();
                    rest -= rounded.to_f32();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every unit packs the same bits, whole and ragged, from rows and from columns.
    #[test]
    fn units_pack_alike() {
        let data: Vec<f32> = (0..70 * 90)
            .map(|i| ((i * 7919 % 10007) as f32 - 5000.0) * 1.37e-3)
            .collect();
        for (rows, k) in [(32, 32usize), (32, 64), (5, 7), (17, 33), (31, 65), (16, 1)] {
            for (row, col) in [(90, 1), (1, 70)] {
                let from = Mat {
                    ptr: data.as_ptr(),
                    row,
                    col,
                };
                for side in [Side::Left, Side::Right] {
                    let mut packed = Vec::new();
                    for unit in Unit::available() {
                        let steps = k.div_ceil(LINE);
                        let mut one = vec![Line([7; LINE]); steps * PANEL];
                        let mut three = vec![Line([7; LINE]); steps * 3 * PANEL];
                        // SAFETY: the data holds 32 rows of 65 either way.
                        unsafe {
                            panel::<1>(unit, side, &mut one, from, rows, k);
                            panel::<3>(unit, side, &mut three, from, rows, k);
                        }
                        let bits =
                            |lines: &[Line]| lines.iter().flat_map(|l| l.0).collect::<Vec<_>>();
                        packed.push((unit, bits(&one), bits(&three)));
                    }
                    let (_, one, three) = packed.pop().expect("portable");
                    for (unit, o, t) in packed {
                        assert!(
                            o == one && t == three,
                            "{unit:?}, {rows}x{k}, rows {row} apart"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn three_parts_lose_nothing() {
        for x in [1.0f32, -0.1, 3.141_592_7, 1e-20, -7.123_456e18, 0.0] {
            let part = Tile {
                ptr: &raw const x,
                row: 1,
                col: 1,
                rows: 1,
                ks: 1,
            };
            let mut lines = vec![Line([0; LINE]); 3 * PANEL];
            // SAFETY: one value.
            unsafe { part.pack::<3>(Side::Left, &mut lines) };
            let sum: f64 = [0, PANEL, 2 * PANEL]
                .map(|part| f64::from(bf16::from_bits(lines[part].0[0]).to_f32()))
                .iter()
                .sum();
            assert_eq!(sum, f64::from(x));
        }
    }
}
