//! A survey as a picture that is readable without colour: MaxRank and AvgMass by layer, the map of heads, the attention
//! of chosen heads.

mod content;
mod curves;
mod heads;
mod png;
mod scale;

use plotters::prelude::*;

use super::survey::Surveyed;
pub use content::Figure;
use scale::{Area, Drawn, Scale};

/// Width of the picture, and heights of its parts, in pixels.
const WIDTH: u32 = 900;
const CURVE: u32 = 300;
const MOST_HEADS: u32 = 700;
const MAP: u32 = 300;
const MAPS_A_ROW: usize = 3;

impl Figure<'_> {
    /// Draws the figure as SVG.
    ///
    /// # Errors
    /// When the picture cannot be drawn.
    pub fn svg(&self) -> Result<String, String> {
        png::font();
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, self.size()).into_drawing_area();
            self.draw(&root, Scale(1)).map_err(|e| e.to_string())?;
            root.present().map_err(|e| e.to_string())?;
        }
        Ok(text)
    }

    /// Draws the figure as PNG, with twice as many pixels in each direction.
    ///
    /// # Errors
    /// When the picture cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        const TWICE: Scale = Scale(2);
        let (width, height) = self.size();
        png::encoded((TWICE.of(width), TWICE.of(height)), |root| {
            self.draw(root, TWICE).map_err(|e| e.to_string())
        })
    }

    fn size(&self) -> (u32, u32) {
        let one = heads_height(self.found);
        let other = self.against.map_or(0, |(_, found)| heads_height(found));
        (WIDTH, 2 * CURVE + one + other + self.maps_height())
    }

    fn maps_height(&self) -> u32 {
        MAP * self.maps.len().div_ceil(MAPS_A_ROW) as u32
    }

    fn draw<D: DrawingBackend>(&self, root: &Area<D>, px: Scale) -> Drawn<D>
    where
        D::ErrorType: 'static,
    {
        root.fill(&WHITE)?;
        let (ranks, rest) = root.split_vertically(px.of(CURVE));
        let (masses, mut rest) = rest.split_vertically(px.of(CURVE));
        curves::ranks(&ranks, self, px)?;
        curves::masses(&masses, self, px)?;
        let all = [Some((self.name, self.found)), self.against];
        for (name, found) in all.into_iter().flatten() {
            let (area, below) = rest.split_vertically(px.of(heads_height(found)));
            heads::ranks(&area, name, found, px)?;
            rest = below;
        }
        let rows = self.maps.chunks(MAPS_A_ROW);
        let areas = rest.split_evenly((rows.len().max(1), MAPS_A_ROW));
        for (area, map) in areas.iter().zip(self.maps) {
            heads::attention(area, map, self.found, px)?;
        }
        Ok(())
    }
}

fn heads_height(found: &Surveyed) -> u32 {
    let heads = found.ranks.rank.first().map_or(0, Vec::len) as u32;
    (60 + 24 * heads).min(MOST_HEADS)
}
