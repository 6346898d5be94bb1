//! Tests the contrast of every pair of colours on the screens, in every theme, with 16, 256 and true colour.

use std::collections::HashMap;

use ratatui::style::Color;

use super::gallery::Gallery;
use super::*;
use crate::dashboard::picture::{XTERM, rgb};

/// The 16 colours of VGA and the Linux console.
const VGA: [u32; 16] = [
    0x00_0000, 0xaa_0000, 0x00_aa00, 0xaa_5500, 0x00_00aa, 0xaa_00aa, 0x00_aaaa, 0xaa_aaaa,
    0x55_5555, 0xff_5555, 0x55_ff55, 0xff_ff55, 0x55_55ff, 0xff_55ff, 0x55_ffff, 0xff_ffff,
];

/// A terminal's colours of text and background.
type Ground = (u32, u32);

/// The darkest and lightest backgrounds that the dark and the light themes are made for.
const DARK: [Ground; 2] = [(0xc0_c0c0, 0x00_0000), (0xc0_c0c0, 0x1e_1e1e)];
const LIGHT: [Ground; 2] = [(0x33_3333, 0xff_ffff), (0x33_3333, 0xfd_f6e3)];

/// A theme under test.
pub struct Case {
    name: ThemeName,
    depth: Depth,
    pub theme: Theme,
    /// The terminals on which the theme must be legible; `least` is the lowest accepted contrast.
    grounds: Vec<Ground>,
    least: f64,
}

/// Returns every theme with every number of colours.
pub fn cases() -> Vec<Case> {
    let both = || [DARK, LIGHT].concat();
    let names = [
        (ThemeName::Dark, DARK.to_vec(), 4.5),
        (ThemeName::Light, LIGHT.to_vec(), 4.5),
        (ThemeName::Contrast, both(), 7.0),
        (ThemeName::Terminal, both(), 4.5),
    ];
    let depths = [Depth::Basic, Depth::Indexed, Depth::True];
    let mut cases = Vec::new();
    for (name, grounds, least) in names {
        for depth in depths {
            cases.push(Case {
                name,
                depth,
                theme: Theme::of(name, depth),
                grounds: grounds.clone(),
                least,
            });
        }
    }
    cases
}

/// Colours and modifiers of a cell.
type Look = (Color, Color, Modifier);

/// All looks in the frames of a theme, with a frame that contains each.
#[derive(Default)]
pub struct Looks(HashMap<Look, String>);

impl Looks {
    /// Adds the looks of a frame.
    pub fn add(&mut self, name: &str, buffer: &Buffer) {
        // The corner never has text, so its background is the theme's.
        let own = buffer[(buffer.area.right() - 1, 0)].bg;
        for (i, cell) in buffer.content().iter().enumerate() {
            if cell.symbol().trim().is_empty() {
                continue;
            }
            let place = || format!("{name}: {:?} at {:?}", cell.symbol(), buffer.pos_of(i));
            let mut looks = vec![(cell.fg, cell.bg)];
            if ["▀", "▄", "█"].contains(&cell.symbol()) {
                // A half block shows two colours, each of which must be legible on the background.
                looks = vec![(cell.fg, own)];
                looks.extend(Some((cell.bg, own)).filter(|_| cell.bg != own));
            }
            for (ink, paper) in looks {
                let look = (ink, paper, cell.modifier);
                self.0.entry(look).or_insert_with(place);
            }
        }
    }

    /// Asserts that all looks are legible on the theme's terminals.
    pub fn check(&self, case: &Case) {
        for (&(ink, paper, modifier), place) in &self.0 {
            let what = format!("{:?} {:?}: {place}", case.name, case.depth);
            let faint = modifier.contains(Modifier::DIM);
            assert!(!faint, "{what} is faint: its contrast is unknown");
            let palettes = [XTERM, VGA];
            for (palette, &(own_ink, own_paper)) in palettes
                .iter()
                .flat_map(|p| case.grounds.iter().map(move |g| (p, g)))
            {
                for ink in [Some(ink), brightened(ink, modifier)].into_iter().flatten() {
                    let a = rgb(ink, palette).unwrap_or(own_ink);
                    let b = rgb(paper, palette).unwrap_or(own_paper);
                    // Reversed text has the same contrast.
                    let contrast = contrast(a, b);
                    assert!(
                        contrast >= case.least,
                        "{what}: {ink:?} on {paper:?} ({a:06x} on {b:06x}) has {contrast:.2}:1"
                    );
                }
            }
        }
    }
}

/// Returns the brighter colour in which many terminals show a bold ANSI colour.
fn brightened(ink: Color, modifier: Modifier) -> Option<Color> {
    if !modifier.contains(Modifier::BOLD) {
        return None;
    }
    Some(match ink {
        Color::Black => Color::DarkGray,
        Color::Red => Color::LightRed,
        Color::Green => Color::LightGreen,
        Color::Yellow => Color::LightYellow,
        Color::Blue => Color::LightBlue,
        Color::Magenta => Color::LightMagenta,
        Color::Cyan => Color::LightCyan,
        Color::Gray => Color::White,
        _ => return None,
    })
}

/// WCAG 2: (lighter + 0.05) / (darker + 0.05).
fn contrast(a: u32, b: u32) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(rgb: u32) -> f64 {
    let channel = |shift: u32| {
        let c = f64::from(rgb >> shift & 0xff) / 255.0;
        match c <= 0.04045 {
            true => c / 12.92,
            false => ((c + 0.055) / 1.055).powf(2.4),
        }
    };
    0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
}

#[test]
fn contrast_is_that_of_wcag() {
    assert!((contrast(0x00_0000, 0xff_ffff) - 21.0).abs() < 1e-9);
    // The palest grey that is accepted on white, and the next.
    assert!(contrast(0x76_7676, 0xff_ffff) > 4.5 && contrast(0x77_7777, 0xff_ffff) < 4.5);
    // Orange 214 on white is illegible, which is why there is a light theme.
    let orange = rgb(Color::Indexed(214), &XTERM).unwrap();
    assert!((contrast(orange, 0xff_ffff) - 1.84).abs() < 0.01);
}

/// The reason why the terminal theme uses attributes instead of colours.
#[test]
fn no_ansi_colour_is_legible_on_both_black_and_white() {
    for (i, (&xterm, &vga)) in XTERM.iter().zip(&VGA).enumerate() {
        let legible = |c| contrast(c, 0x00_0000).min(contrast(c, 0xff_ffff)) >= 4.5;
        assert!(!(legible(xterm) && legible(vga)), "{i}");
    }
}

#[test]
fn every_pair_of_colours_on_screen_is_legible() {
    let gallery = Gallery::new();
    for case in cases() {
        let mut looks = Looks::default();
        gallery.draw(case.theme, Glyphs::Braille, |name, buffer| {
            looks.add(name, buffer);
        });
        looks.check(&case);
        // The screens have shown most roles of the theme.
        let seen = looks.0.len();
        let least = if case.name == ThemeName::Terminal {
            6
        } else {
            9
        };
        assert!(seen >= least, "{:?} {:?}: {seen}", case.name, case.depth);
    }
}

/// The theme with its own background sets it in every cell.
#[test]
fn high_contrast_paints_every_cell_and_no_other_theme_does() {
    let gallery = Gallery::new();
    let once = |case: &Case| case.name == ThemeName::Contrast || case.depth == Depth::Indexed;
    for case in cases().into_iter().filter(once) {
        let mut own = 0;
        gallery.draw(case.theme, Glyphs::Block, |name, buffer| {
            let mut cells = buffer.content().iter();
            own += buffer
                .content()
                .iter()
                .filter(|c| c.bg == Color::Reset)
                .count();
            if case.name == ThemeName::Contrast {
                let bare = cells.find(|c| c.bg == Color::Reset || c.fg == Color::Reset);
                assert_eq!(bare, None, "{name}");
            }
        });
        assert_eq!(
            own == 0,
            case.name == ThemeName::Contrast,
            "{:?}",
            case.name
        );
    }
}
