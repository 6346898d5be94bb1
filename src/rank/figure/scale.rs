//! Lengths and fonts of a picture, and the surface that its parts draw on.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Font sizes of titles and of labels at axes. SVG uses the reader's font.
pub(super) const FONT: &str = "sans-serif";
const TITLE: u32 = 16;
const LABEL: u32 = 12;

pub(super) type Area<D> = DrawingArea<D, Shift>;
pub(super) type Drawn<D> = Result<(), DrawingAreaErrorKind<<D as DrawingBackend>::ErrorType>>;

/// Pixels per unit of length: 1 in SVG, more in bitmaps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale(pub(super) u32);

impl Scale {
    pub(super) fn of(self, length: u32) -> u32 {
        self.0 * length
    }

    pub(super) fn title(self) -> (&'static str, u32) {
        (FONT, self.of(TITLE))
    }

    pub(super) fn label(self) -> (&'static str, u32) {
        (FONT, self.of(LABEL))
    }
}
