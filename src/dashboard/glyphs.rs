//! Which characters charts are drawn with.

use ratatui::symbols::border;

/// `--glyphs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Glyphs {
    Braille,
    Block,
    Ascii,
}

impl Glyphs {
    /// Braille where the locale is UTF-8, ASCII elsewhere.
    pub fn of_locale() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Braille
        } else {
            Self::Ascii
        }
    }

    /// Dots per cell across and down.
    pub fn dots(self) -> (usize, usize) {
        match self {
            Self::Braille => (2, 4),
            Self::Block => (1, 2),
            Self::Ascii => (1, 1),
        }
    }

    /// The character for a cell's dots; bit `x + y * across` is the dot at column x, row y from the top.
    pub fn cell(self, dots: u8, plain: char) -> char {
        match self {
            _ if dots == 0 => ' ',
            Self::Braille => {
                // Braille numbers its dots down the left column, down the right one, then the bottom pair.
                const BITS: [u32; 8] = [0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80];
                let code: u32 = (0..8).filter(|i| dots >> i & 1 == 1).map(|i| BITS[i]).sum();
                char::from_u32(0x2800 + code).unwrap_or('*')
            }
            Self::Block => ['▀', '▄', '█'][usize::from(dots.min(3)) - 1],
            Self::Ascii => plain,
        }
    }

    /// Sparkline characters, lowest first.
    pub fn levels(self) -> &'static [char] {
        match self {
            Self::Ascii => &['_', '.', '-', '=', '+', '*', '#', '@'],
            _ => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        }
    }

    /// Frames of panels.
    pub fn border(self) -> border::Set<'static> {
        match self {
            Self::Ascii => border::Set {
                top_left: "+",
                top_right: "+",
                bottom_left: "+",
                bottom_right: "+",
                vertical_left: "|",
                vertical_right: "|",
                horizontal_top: "-",
                horizontal_bottom: "-",
            },
            _ => border::PLAIN,
        }
    }

    /// Text for this character set: without UTF-8, the few symbols in use become ASCII.
    pub fn text(self, text: &str) -> String {
        if self != Self::Ascii {
            return text.to_string();
        }
        text.chars()
            .map(|c| match c {
                '→' => '>',
                '±' => '~',
                '·' => '.',
                '●' | '◆' => '*',
                '▶' => '>',
                '≤' => '<',
                '…' => '.',
                c if c.is_ascii() => c,
                _ => '?',
            })
            .collect()
    }
}
