//! A grid of dots finer than cells, in several layers. Each cell shows the foremost layer that has dots in it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::put;

/// The dots of a layer that are shown. In ASCII, where each layer has its own character, all dots are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texture {
    Solid,
    /// The dots of every second cell.
    Dashed,
    /// Every second dot.
    Sparse,
}

impl Texture {
    /// Returns the dots of a cell that are shown, as bits.
    fn mask(self, glyphs: Glyphs, column: usize) -> u8 {
        let (across, down) = glyphs.dots();
        match self {
            _ if glyphs == Glyphs::Ascii => u8::MAX,
            Self::Solid => u8::MAX,
            Self::Dashed if column.is_multiple_of(2) => u8::MAX,
            Self::Dashed => 0,
            Self::Sparse => (0..across * down)
                .filter(|i| (column * across + i % across + i / across).is_multiple_of(2))
                .fold(0, |mask, i| mask | 1 << i),
        }
    }
}

/// Dots over an area; layer 0 is at the back.
pub struct Dots {
    glyphs: Glyphs,
    /// Number of cells across and down.
    cells: (usize, usize),
    textures: Vec<Texture>,
    layers: Vec<Vec<u8>>,
}

impl Dots {
    /// Makes an empty grid with a layer for each texture.
    pub fn new(glyphs: Glyphs, area: Rect, textures: Vec<Texture>) -> Self {
        let cells = (usize::from(area.width), usize::from(area.height));
        Self {
            glyphs,
            cells,
            layers: vec![vec![0; cells.0 * cells.1]; textures.len()],
            textures,
        }
    }

    /// Returns the number of dots across and down.
    pub fn size(&self) -> (usize, usize) {
        let (across, down) = self.glyphs.dots();
        (self.cells.0 * across, self.cells.1 * down)
    }

    /// Sets the dots of column `x` between `y0` and `y1`. Dots outside the grid are ignored.
    pub fn column(&mut self, layer: usize, x: usize, y0: usize, y1: usize) {
        let (across, down) = self.glyphs.dots();
        let (column, bit) = (x / across, x % across);
        if column >= self.cells.0 {
            return;
        }
        let last = y0.max(y1).min(self.size().1.saturating_sub(1));
        for y in y0.min(y1)..=last {
            let cell = y / down * self.cells.0 + column;
            self.layers[layer][cell] |= 1 << (bit + y % down * across);
        }
    }

    /// Sets the dots of a straight line.
    pub fn line(&mut self, layer: usize, from: (usize, usize), to: (usize, usize)) {
        let (dx, dy) = (to.0 as f64 - from.0 as f64, to.1 as f64 - from.1 as f64);
        let steps = dx.abs().max(dy.abs()).max(1.0) as usize;
        for i in 0..=steps {
            let t = i as f64 / steps as f64;
            let x = from.0 as f64 + t * dx;
            let y = from.1 as f64 + t * dy;
            self.set(layer, x.round() as usize, y.round() as usize);
        }
    }

    /// Sets one dot. A dot outside the grid is ignored.
    pub fn set(&mut self, layer: usize, x: usize, y: usize) {
        let (across, down) = self.glyphs.dots();
        let (column, row) = (x / across, y / down);
        if column < self.cells.0 && row < self.cells.1 {
            let bit = x % across + y % down * across;
            self.layers[layer][row * self.cells.0 + column] |= 1 << bit;
        }
    }

    /// Draws the foremost layer of each cell. `plain` holds the layers' characters for ASCII.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, styles: &[Style], plain: &[char]) {
        for row in 0..self.cells.1 {
            for column in 0..self.cells.0 {
                let cell = row * self.cells.0 + column;
                let shown = |layer: usize| {
                    let mask = self.textures[layer].mask(self.glyphs, column);
                    (layer, self.layers[layer][cell] & mask)
                };
                let layers = (0..self.layers.len()).rev();
                let Some((layer, dots)) = layers.map(shown).find(|(_, dots)| *dots != 0) else {
                    continue;
                };
                let c = self.glyphs.cell(dots, plain[layer]);
                let (x, y) = (area.x + column as u16, area.y + row as u16);
                put(&mut buffer[(x, y)], c, styles[layer]);
            }
        }
    }
}
