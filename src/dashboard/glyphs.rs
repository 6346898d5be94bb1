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
    /// What this process's terminal can show, by its environment.
    pub fn of_terminal() -> Self {
        Self::for_environment(|name| std::env::var(name).unwrap_or_default())
    }

    /// ASCII where the locale is not UTF-8, blocks on the Linux console, whose fonts have no Braille, and Braille elsewhere.
    fn for_environment(value: impl Fn(&str) -> String) -> Self {
        let locales = ["LC_ALL", "LC_CTYPE", "LANG"].map(&value);
        let locale = locales.into_iter().find(|locale| !locale.is_empty());
        let locale = locale.unwrap_or_default().to_lowercase();
        match locale.contains("utf-8") || locale.contains("utf8") {
            false => Self::Ascii,
            true if value("TERM") == "linux" => Self::Block,
            true => Self::Braille,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_gets_characters_that_it_has() {
        let for_ = |term: &str, lang: &str| {
            Glyphs::for_environment(|name| match name {
                "TERM" => term.into(),
                "LANG" => lang.into(),
                _ => String::new(),
            })
        };
        assert_eq!(for_("xterm-256color", "en_US.UTF-8"), Glyphs::Braille);
        assert_eq!(for_("linux", "C.utf8"), Glyphs::Block);
        assert_eq!(for_("linux", "C"), Glyphs::Ascii);
        assert_eq!(for_("xterm", ""), Glyphs::Ascii);
    }
}
