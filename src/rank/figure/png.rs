//! Figures as PNG.

use std::sync::Once;

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use super::scale::FONT;

/// Roboto Regular of 2017 (Copyright Google, Apache License 2.0), of which ASCII and three signs are left: no font need be installed.
const ROBOTO: &[u8] = include_bytes!("roboto-ascii.ttf");

/// Registers the font, with which texts are also measured for SVG.
pub(super) fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let known = register_font(FONT, FontStyle::Normal, ROBOTO);
        debug_assert!(known.is_ok(), "the font is one");
    });
}

/// Returns what `draw` draws, as a PNG.
///
/// # Errors
/// When the picture cannot be drawn.
pub(super) fn encoded(
    (width, height): (u32, u32),
    draw: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    font();
    let mut pixels = vec![0u8; 3 * width as usize * height as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&root)?;
        root.present().map_err(|e| e.to_string())?;
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut w| {
        w.write_image_data(&pixels)?;
        w.finish()
    });
    written.map_err(|e| e.to_string())?;
    Ok(file)
}
