//! Operands as panels of bf16 tiles.
//!
//! A panel holds 32 rows of the left operand (or 32 columns of the right one), cut along `k` into steps of 32. A step is two tiles of 16
//! lines of 64 bytes. A tile of the left operand has a line for each of 16 rows, of neighbouring `k`. A tile of the right operand has a
//! line for each pair of `k`, of 16 columns' pairs, as tile and dot-product instructions want it. Incomplete tiles are filled with zeros.

use rayon::prelude::*;

use super::avx512;
use super::isa::Isa;
use super::mat::Mat;
use super::threads::Threads;
use super::tile::{LINE, Line, PANEL, Side, TILE, Tile};
use crate::ops::Precision;

/// A packed operand; its memory grows and is kept between uses.
#[derive(Default)]
pub struct Packed {
    lines: Vec<Line>,
    rows: usize,
    steps: usize,
}

/// A packed operand, or some of its panels.
#[derive(Clone, Copy)]
pub struct Panels<'p> {
    lines: &'p [Line],
    pub(super) rows: usize,
    pub(super) steps: usize,
    /// Steps from one panel to the next.
    stride: usize,
}

impl Packed {
    /// Makes room for `rows` rows (columns of a right operand) of depth `k`, of unspecified content.
    pub fn shape(&mut self, rows: usize, k: usize) {
        (self.rows, self.steps) = (rows, k.div_ceil(LINE));
        let n = rows.div_ceil(PANEL) * self.steps * PANEL;
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
        unit: Isa,
        side: Side,
        from: Mat,
        rows: usize,
        k: usize,
        threads: Threads,
    ) {
        let pieces = self.pieces(unit, side, from, rows, k);
        // SAFETY: forwarded to the caller; every piece is packed once, and the borrow of `self` lasts.
        let one = |piece: usize| unsafe { pieces.fill(piece) };
        match threads {
            Threads::One => (0..pieces.count()).for_each(one),
            Threads::All => (0..pieces.count()).into_par_iter().for_each(one),
        }
    }

    /// Makes room for `from[rows, k]`, and divides the packing into pieces.
    pub fn pieces(&mut self, unit: Isa, side: Side, from: Mat, rows: usize, k: usize) -> Pieces {
        self.shape(rows, k);
        Pieces {
            into: self.by_depth(unit),
            side,
            from,
            k,
            // Neighbours in memory are in different panels then: a step of all panels after the other reads it in order.
            by_step: from.row == 1 && from.col > 1,
        }
    }

    /// The whole operand.
    pub fn all(&self) -> Panels<'_> {
        Panels {
            lines: &self.lines[..self.rows.div_ceil(PANEL) * self.steps * PANEL],
            rows: self.rows,
            steps: self.steps,
            stride: self.steps,
        }
    }

    /// The first `n` columns of a right operand, and the first `k` of its depth: all of it, or a multiple of 32.
    pub(super) fn part(&self, k: usize, n: usize) -> Panels<'_> {
        self.all().rows(0, n).depth(k)
    }

    /// Lets tasks pack different depths of the operand.
    pub fn by_depth(&mut self, unit: Isa) -> ByDepth {
        ByDepth {
            unit,
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
            lines: &self.lines[from * self.stride..],
            rows: to - from,
            ..self
        }
    }

    /// The first `k` of the depth: all of it, or whole steps.
    fn depth(self, k: usize) -> Self {
        let steps = k.div_ceil(LINE);
        assert!(steps == self.steps || k.is_multiple_of(LINE) && steps < self.steps);
        Self { steps, ..self }
    }

    /// The lines of a panel from a step on.
    pub(super) fn step(&self, panel: usize, step: usize) -> &'p [Line] {
        &self.lines[(panel * self.stride + step) * PANEL..]
    }
}

/// A right operand of several products; in bf16 it is packed once for all of them.
pub struct Right<'m> {
    pub(super) mat: Mat,
    pub(super) packed: Option<&'m Packed>,
}

impl<'m> Right<'m> {
    /// `mat[k, n]`, packed into `memory` by this thread.
    ///
    /// # Safety
    /// `mat` must be valid for its sizes while this is used.
    pub unsafe fn new(
        compute: Precision,
        mat: Mat,
        (k, n): (usize, usize),
        memory: &'m mut Packed,
    ) -> Self {
        let packed = match compute {
            Precision::F32 => None,
            Precision::Bf16 => {
                // SAFETY: forwarded to the caller.
                unsafe { memory.fill(Isa::chosen(), Side::Right, mat.t(), n, k, Threads::One) };
                Some(&*memory)
            }
        };
        Self { mat, packed }
    }
}

/// The pieces in which an operand is packed: its panels, or its steps along `k`.
pub struct Pieces {
    into: ByDepth,
    side: Side,
    from: Mat,
    k: usize,
    by_step: bool,
}

impl Pieces {
    /// Number of pieces.
    pub fn count(&self) -> usize {
        match self.by_step {
            true => self.into.steps,
            false => self.into.rows.div_ceil(PANEL),
        }
    }

    /// Packs one piece.
    ///
    /// # Safety
    /// The matrix must be valid for its sizes, the operand must be alive and otherwise unused, and no other task may pack this piece.
    pub unsafe fn fill(&self, piece: usize) {
        assert!(piece < self.count());
        if self.by_step {
            let first = piece * LINE;
            let (from, k) = (self.from.at(0, first), LINE.min(self.k - first));
            // SAFETY: forwarded to the caller; every piece is another depth.
            return unsafe { self.into.fill(self.side, from, first, k) };
        }
        let (first, lines) = (piece * PANEL, self.into.steps * PANEL);
        let rows = PANEL.min(self.into.rows - first);
        // SAFETY: the operand has room for all its panels, of which every piece is another; the panel's rows are rows of `from`.
        unsafe {
            let into = std::slice::from_raw_parts_mut(self.into.lines.add(piece * lines), lines);
            let from = self.from.at(first, 0);
            pack(self.into.unit, self.side, into, from, rows, self.k);
        }
    }
}

/// Packs two operands at once.
///
/// # Safety
/// As [`Pieces::fill`] for all pieces of both.
pub unsafe fn fill_both(a: &Pieces, b: &Pieces, threads: Threads) {
    let count = a.count();
    let one = |piece: usize| {
        // SAFETY: forwarded to the caller; every piece is packed once.
        unsafe {
            match piece.checked_sub(count) {
                None => a.fill(piece),
                Some(piece) => b.fill(piece),
            }
        }
    };
    let all = 0..count + b.count();
    match threads {
        Threads::One => all.for_each(one),
        Threads::All => all.into_par_iter().for_each(one),
    }
}

/// An operand that is packed depth by depth.
pub struct ByDepth {
    unit: Isa,
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
    /// `from` must be valid for its sizes, the operand must be alive and not borrowed, and no other task may pack these depths.
    pub unsafe fn fill(&self, side: Side, from: Mat, first: usize, k: usize) {
        let steps = k.div_ceil(LINE);
        assert!(first.is_multiple_of(LINE) && first / LINE + steps <= self.steps);
        for row in (0..self.rows).step_by(PANEL) {
            let at = (row / PANEL * self.steps + first / LINE) * PANEL;
            let n = steps * PANEL;
            // SAFETY: within the operand by the assertion; forwarded to the caller otherwise.
            unsafe {
                let lines = std::slice::from_raw_parts_mut(self.lines.add(at), n);
                let rows = PANEL.min(self.rows - row);
                pack(self.unit, side, lines, from.at(row, 0), rows, k);
            }
        }
    }
}

/// Packs `from[rows, k]` as one panel.
///
/// # Safety
/// `from` must be valid for its sizes.
unsafe fn pack(unit: Isa, side: Side, into: &mut [Line], from: Mat, rows: usize, k: usize) {
    for (at, step) in (0..k).step_by(LINE).zip(into.chunks_exact_mut(PANEL)) {
        for (i, into) in step.chunks_exact_mut(TILE).enumerate() {
            let skipped = i * TILE;
            let tile = Tile {
                // Nothing is read where no rows are left.
                ptr: from.ptr.wrapping_add(skipped * from.row + at * from.col),
                row: from.row,
                col: from.col,
                rows: rows.saturating_sub(skipped).min(TILE),
                ks: LINE.min(k - at),
            };
            // SAFETY: forwarded to the caller; the unit was found at start.
            unsafe {
                match unit {
                    Isa::Portable => tile.pack(side, into),
                    Isa::Amx | Isa::Avx512 => avx512::pack(side, into, &tile),
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
        for (rows, k) in [(32, 32), (32, 64), (5, 7), (17, 33), (31, 65), (16, 1usize)] {
            for (row, col) in [(90, 1), (1, 70)] {
                let from = Mat {
                    ptr: data.as_ptr(),
                    row,
                    col,
                };
                for side in [Side::Left, Side::Right] {
                    let packed = |unit: Isa| {
                        let mut lines = vec![Line([7; LINE]); k.div_ceil(LINE) * PANEL];
                        // SAFETY: the data holds 32 rows of 65 either way.
                        unsafe { pack(unit, side, &mut lines, from, rows, k) };
                        lines.iter().flat_map(|l| l.0).collect::<Vec<_>>()
                    };
                    let want = packed(Isa::Portable);
                    for unit in Isa::available() {
                        assert!(
                            packed(unit) == want,
                            "{unit:?}, {rows}x{k}, rows {row} apart"
                        );
                    }
                }
            }
        }
    }
}
