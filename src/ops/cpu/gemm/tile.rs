//! The parts that packed operands consist of: lines, tiles and panels of bf16.

use half::bf16;

/// Values in a line.
pub const LINE: usize = 32;

/// Lines in a tile.
pub const TILE: usize = 16;

/// Rows of a panel.
pub const PANEL: usize = 2 * TILE;

/// A line of a tile: 64 bytes, a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [u16; LINE]);

/// The side of a product that an operand is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// Up to 16 rows of an operand, and a line's `k`.
pub struct Tile {
    pub ptr: *const f32,
    pub row: usize,
    pub col: usize,
    pub rows: usize,
    pub ks: usize,
}

impl Tile {
    /// Packs the tile by plain loops.
    ///
    /// # Safety
    /// The pointer must be valid for the rows and `k`.
    pub(super) unsafe fn pack(&self, side: Side, into: &mut [Line]) {
        into.fill(Line([0; LINE]));
        for row in 0..self.rows {
            for k in 0..self.ks {
                // SAFETY: within the rows and `k`.
                let value = unsafe { *self.ptr.add(row * self.row + k * self.col) };
                let (line, at) = match side {
                    Side::Left => (row, k),
                    Side::Right => (k / 2, 2 * row + k % 2),
                };
                into[line].0[at] = bf16::from_f32(value).to_bits();
            }
        }
    }
}
