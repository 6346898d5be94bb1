//! Writes a frame as a picture (SVG) or as plain text, for documents.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::text;

/// Size of a cell, size of the font, and position of the baseline, in pixels.
const CELL: (usize, usize) = (9, 18);
const FONT: usize = 15;
const BASELINE: usize = 14;
/// Colours of the terminal in the picture.
struct Colours {
    background: &'static str,
    foreground: &'static str,
    /// Colour of faint text.
    faint: &'static str,
}

const DARK: Colours = Colours {
    background: "#16181d",
    foreground: "#d8dade",
    faint: "#8a8f98",
};
const LIGHT: Colours = Colours {
    background: "#fdfdfb",
    foreground: "#1d2026",
    faint: "#5c6068",
};
/// The 16 colours of terminals, with xterm's default values.
pub(super) const XTERM: [u32; 16] = [
    0x00_0000, 0xcd_0000, 0x00_cd00, 0xcd_cd00, 0x00_00ee, 0xcd_00cd, 0x00_cdcd, 0xe5_e5e5,
    0x7f_7f7f, 0xff_0000, 0x00_ff00, 0xff_ff00, 0x5c_5cff, 0xff_00ff, 0x00_ffff, 0xff_ffff,
];

/// The look of adjacent cells.
#[derive(PartialEq)]
struct Look {
    ink: String,
    paper: Option<String>,
    modifier: Modifier,
}

/// Draws a frame as an SVG image of monospaced text, on a dark or a light background. Each span of one style has an explicit
/// width, so that characters stay in their columns even if the font lacks some of them.
pub fn svg(frame: &Buffer, title: &str, light: bool) -> String {
    let colours = if light { &LIGHT } else { &DARK };
    let background = colours.background;
    let (columns, rows) = (
        usize::from(frame.area.width),
        usize::from(frame.area.height),
    );
    let (width, height) = (columns * CELL.0, rows * CELL.1);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"{FONT}\">\n\
         <title>{}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{background}\"/>",
        escape(&text::sanitize(title)),
    );
    for (y, row) in lines(frame).enumerate() {
        let mut x = 0;
        while x < row.len() {
            let look = look(&row[x], colours);
            let mut end = x;
            while end < row.len() && self::look(&row[end], colours) == look {
                // The second cell of a wide character has no style of its own.
                end += text::width(row[end].symbol()).max(1);
            }
            let end = end.min(row.len());
            span(&mut out, &look, &row[x..end], (x, y));
            x = end;
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Writes a frame as lines of text without trailing spaces.
pub fn plain(frame: &Buffer) -> String {
    let mut out = String::new();
    for row in lines(frame) {
        out.push_str(words(row).trim_end());
        out.push('\n');
    }
    out
}

fn lines(frame: &Buffer) -> impl Iterator<Item = &[Cell]> {
    frame.content().chunks(usize::from(frame.area.width.max(1)))
}

/// Returns the text of some cells; the second cell of a wide character has none.
fn words(cells: &[Cell]) -> String {
    let mut out = String::new();
    let mut covered = 0;
    for cell in cells {
        if covered > 0 {
            covered -= 1;
            continue;
        }
        out.push_str(cell.symbol());
        covered = text::width(cell.symbol()).saturating_sub(1);
    }
    out
}

fn span(out: &mut String, look: &Look, cells: &[Cell], (x, y): (usize, usize)) {
    let (left, top, width) = (x * CELL.0, y * CELL.1, cells.len() * CELL.0);
    if let Some(paper) = &look.paper {
        let height = CELL.1;
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"{paper}\"/>"
        );
    }
    let words = words(cells);
    let inked = words.trim_end();
    let visible = inked.trim_start();
    if visible.is_empty() {
        return;
    }
    let before = text::width(inked) - text::width(visible);
    let (left, length) = (left + before * CELL.0, text::width(visible) * CELL.0);
    let mut style = String::new();
    for (modifier, attribute) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::ITALIC, " font-style=\"italic\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ] {
        if look.modifier.contains(modifier) {
            style.push_str(attribute);
        }
    }
    let _ = writeln!(
        out,
        "<text xml:space=\"preserve\" x=\"{left}\" y=\"{}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{style}>{}</text>",
        top + BASELINE,
        look.ink,
        escape(visible),
    );
}

fn look(cell: &Cell, colours: &Colours) -> Look {
    let dim = cell.modifier.contains(Modifier::DIM);
    let own = if dim {
        colours.faint
    } else {
        colours.foreground
    };
    let ink = hex(cell.fg).unwrap_or_else(|| own.into());
    let paper = hex(cell.bg);
    let (ink, paper) = match cell.modifier.contains(Modifier::REVERSED) {
        true => (
            paper.unwrap_or_else(|| colours.background.into()),
            Some(ink),
        ),
        false => (ink, paper),
    };
    Look {
        ink,
        paper,
        modifier: cell.modifier,
    }
}

/// Returns `#rrggbb`; `None` for the terminal's own colour.
fn hex(color: Color) -> Option<String> {
    rgb(color, &XTERM).map(|rgb| format!("#{rgb:06x}"))
}

/// Returns `0xrrggbb` with these 16 colours; `None` for the terminal's own colour.
pub(super) fn rgb(color: Color, basic: &[u32; 16]) -> Option<u32> {
    let basic = |i: usize| basic[i];
    Some(match color {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => u32::from_be_bytes([0, r, g, b]),
        Color::Indexed(i @ 0..16) => basic(usize::from(i)),
        Color::Indexed(i) => indexed(i),
        Color::Black => basic(0),
        Color::Red => basic(1),
        Color::Green => basic(2),
        Color::Yellow => basic(3),
        Color::Blue => basic(4),
        Color::Magenta => basic(5),
        Color::Cyan => basic(6),
        Color::Gray => basic(7),
        Color::DarkGray => basic(8),
        Color::LightRed => basic(9),
        Color::LightGreen => basic(10),
        Color::LightYellow => basic(11),
        Color::LightBlue => basic(12),
        Color::LightMagenta => basic(13),
        Color::LightCyan => basic(14),
        Color::White => basic(15),
    })
}

/// Returns a colour of xterm's 256 after the first 16: a cube of six levels, and greys.
fn indexed(i: u8) -> u32 {
    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match i {
        0..232 => {
            let n = i.saturating_sub(16);
            u32::from_be_bytes([0, level(n / 36), level(n / 6 % 6), level(n % 6)])
        }
        _ => {
            let grey = 8 + 10 * (i - 232);
            u32::from_be_bytes([0, grey, grey, grey])
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn colours_are_those_of_xterm() {
        assert_eq!(hex(Color::Indexed(74)).as_deref(), Some("#5fafd7"));
        assert_eq!(hex(Color::Indexed(202)).as_deref(), Some("#ff5f00"));
        assert_eq!(hex(Color::Indexed(244)).as_deref(), Some("#808080"));
        assert_eq!(hex(Color::Reset), None);
    }

    #[test]
    fn a_frame_becomes_well_formed_text_in_its_columns() {
        let mut frame = Buffer::empty(Rect::new(0, 0, 12, 2));
        frame.set_string(0, 0, "a<b & \"⠒█\"", Style::new());
        let style = Style::new()
            .fg(Color::Indexed(74))
            .add_modifier(Modifier::BOLD);
        frame.set_string(2, 1, "數x", style);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        frame.set_string(6, 1, "on", reversed);
        let picture = svg(&frame, "<run>", false);
        let document = roxmltree::Document::parse(&picture).unwrap();
        let root = document.root_element();
        assert_eq!(
            (root.attribute("width"), root.attribute("height")),
            (Some("108"), Some("36"))
        );
        let texts: Vec<_> = document
            .descendants()
            .filter(|n| n.has_tag_name("text"))
            .collect();
        let said: Vec<_> = texts.iter().map(|n| n.text().unwrap()).collect();
        assert_eq!(said, ["a<b & \"⠒█\"", "數x", "on"]);
        let wide = texts[1];
        assert_eq!(wide.attribute("fill"), Some("#5fafd7"));
        assert_eq!(wide.attribute("font-weight"), Some("bold"));
        assert_eq!(
            (wide.attribute("x"), wide.attribute("textLength")),
            (Some("18"), Some("27"))
        );
        assert_eq!(texts[2].attribute("fill"), Some(DARK.background));
        let paper = document
            .descendants()
            .filter(|n| n.attribute("fill") == Some(DARK.foreground));
        assert!(paper.clone().any(|n| n.has_tag_name("rect")));
        let picture = svg(&frame, "<run>", true);
        assert!(picture.contains(LIGHT.background) && !picture.contains(DARK.background));
        assert_eq!(plain(&frame), "a<b & \"⠒█\"\n  數x on\n");
    }
}
