//! Lengths and fonts of a picture, and what its parts draw on.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Sizes of titles and of what stands at axes. The font is the reader's in SVG.
pub(super) const FONT: &str = "sans-serif";
const TITLE: u32 = 16;
const LABEL: u32 = 12;

pub(super) type Area<D> = DrawingArea<D, Shift>;
pub(super) type Drawn<D> = Result<(), DrawingAreaErrorKind<<D as DrawingBackend>::ErrorType>>;

/// Pixels to a unit of length: 1 in SVG, more where pixels are what there is.
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
