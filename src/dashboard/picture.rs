//! A frame as a picture (SVG) or as plain text, for documents.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::text;

/// Size of a cell in pixels, the height of its font, and where its baseline is.
const CELL: (usize, usize) = (9, 18);
const FONT: usize = 15;
const BASELINE: usize = 14;
/// Colours of the terminal that is drawn.
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d8dade";
const DIMMED: &str = "#8a8f98";
/// The 16 colours of terminals, as xterm has them by default.
const BASIC: [u32; 16] = [
    0x00_0000, 0xcd_0000, 0x00_cd00, 0xcd_cd00, 0x00_00ee, 0xcd_00cd, 0x00_cdcd, 0xe5_e5e5,
    0x7f_7f7f, 0xff_0000, 0x00_ff00, 0xff_ff00, 0x5c_5cff, 0xff_00ff, 0x00_ffff, 0xff_ffff,
];

/// How a stretch of cells looks.
#[derive(PartialEq)]
struct Look {
    ink: String,
    paper: Option<String>,
    modifier: Modifier,
}

/// Draws a frame as an SVG image of monospaced text. Characters a font may lack at this width stay in their columns: each
/// stretch of one style has its width written down.
pub fn svg(frame: &Buffer, title: &str) -> String {
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
         <rect width=\"{width}\" height=\"{height}\" fill=\"{BACKGROUND}\"/>",
        escape(&text::sanitize(title)),
    );
    for (y, row) in lines(frame).enumerate() {
        let mut x = 0;
        while x < row.len() {
            let look = look(&row[x]);
            let mut end = x;
            while end < row.len() && self::look(&row[end]) == look {
                // The second cell of a wide character has no style of its own.
                end += text::width(row[end].symbol()).max(1);
            }
            let end = end.min(row.len());
            stretch(&mut out, &look, &row[x..end], (x, y));
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

/// The text of some cells; the second cell of a wide character has none.
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

fn stretch(out: &mut String, look: &Look, cells: &[Cell], (x, y): (usize, usize)) {
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

fn look(cell: &Cell) -> Look {
    let dim = cell.modifier.contains(Modifier::DIM);
    let ink = hex(cell.fg).unwrap_or_else(|| if dim { DIMMED } else { FOREGROUND }.into());
    let paper = hex(cell.bg);
    let (ink, paper) = match cell.modifier.contains(Modifier::REVERSED) {
        true => (paper.unwrap_or_else(|| BACKGROUND.into()), Some(ink)),
        false => (ink, paper),
    };
    Look {
        ink,
        paper,
        modifier: cell.modifier,
    }
}

/// `#rrggbb`; `None` for the terminal's own colour.
fn hex(color: Color) -> Option<String> {
    let basic = |i: usize| BASIC[i];
    let rgb = match color {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => u32::from_be_bytes([0, r, g, b]),
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
    };
    Some(format!("#{rgb:06x}"))
}

/// A colour of xterm's 256: the basic ones, a cube of six levels, and greys.
fn indexed(i: u8) -> u32 {
    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match i {
        0..16 => BASIC[usize::from(i)],
        16..232 => {
            let n = i - 16;
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
        let picture = svg(&frame, "<run>");
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
        assert_eq!(texts[2].attribute("fill"), Some(BACKGROUND));
        let paper = document
            .descendants()
            .filter(|n| n.attribute("fill") == Some(FOREGROUND));
        assert!(paper.clone().any(|n| n.has_tag_name("rect")));
        assert_eq!(plain(&frame), "a<b & \"⠒█\"\n  數x on\n");
    }
}
