//! The characters that charts are drawn with.

use ratatui::symbols::border;

use crate::text;

/// `--glyphs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Glyphs {
    Braille,
    Block,
    Ascii,
}

impl Glyphs {
    /// Returns the best characters for this process's terminal, by its environment.
    pub fn of_terminal() -> Self {
        Self::for_environment(|name| std::env::var(name).unwrap_or_default())
    }

    /// Returns ASCII if the locale is not UTF-8, blocks on the Linux console, whose fonts have no Braille, and otherwise Braille.
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

    /// Returns the number of dots per cell across and down.
    pub fn dots(self) -> (usize, usize) {
        match self {
            Self::Braille => (2, 4),
            Self::Block => (1, 2),
            Self::Ascii => (1, 1),
        }
    }

    /// Returns the character for a cell's dots; bit `x + y * across` is the dot at column x, row y from the top.
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

    /// Returns the characters of sparklines, lowest first.
    pub fn levels(self) -> &'static [char] {
        match self {
            // These differ from all marks of a chart.
            Self::Ascii => &['_', ',', ';', '=', '+', '%', '#', '@'],
            _ => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        }
    }

    /// Returns the characters of panels' frames.
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

    /// The characters of a chart.
    pub fn marks(self) -> Marks {
        let dots = match self {
            Self::Ascii => return ASCII,
            Self::Block => '▀',
            Self::Braille => '⠒',
        };
        Marks {
            line: dots,
            range: dots,
            val: dots,
            abandoned: dots,
            ..MARKS
        }
    }

    /// Converts text to this character set: without UTF-8, the few symbols in use become ASCII. The width may change, so text must be
    /// padded and measured afterwards.
    pub fn text(self, text: &str) -> String {
        if self != Self::Ascii {
            return text.to_string();
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '±' => out.push_str("+-"),
                '→' | '▶' => out.push('>'),
                '·' | '…' => out.push('.'),
                '●' => out.push('*'),
                '◆' => out.push(ASCII.checkpoint),
                '≤' => out.push('<'),
                c if c.is_ascii() => out.push(c),
                _ => out.push('?'),
            }
        }
        out
    }

    /// Converts a [sanitised](text::sanitize) text to this character set and fits it into exactly `columns` columns.
    pub fn fit(self, text: &str, columns: usize) -> String {
        self.text(&text::fit(&self.text(text), columns))
    }
}

/// The characters of a chart, each with a single meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// A line that is not made of dots: in a legend, and in ASCII.
    pub line: char,
    /// The range of the single values behind the line, in legends and in ASCII.
    pub range: char,
    /// The line between measured points, in legends and in ASCII.
    pub val: char,
    /// The line of an abandoned branch, in legends and in ASCII.
    pub abandoned: char,
    /// The end of an abandoned branch.
    pub end: char,
    /// A measured point.
    pub point: char,
    /// A horizontal line.
    pub level: char,
    pub checkpoint: char,
    /// A line that leaves the chart at the top, and at the bottom.
    pub above: char,
    pub below: char,
    /// A value that is not finite.
    pub gap: char,
    pub cursor: char,
    /// The expected course of a line.
    pub cone: char,
}

const MARKS: Marks = Marks {
    line: ' ',
    range: ' ',
    val: ' ',
    abandoned: ' ',
    end: '◂',
    point: '●',
    level: '╌',
    checkpoint: '◆',
    above: '▲',
    below: '▼',
    gap: '×',
    cursor: '│',
    cone: '░',
};

const ASCII: Marks = Marks {
    line: '*',
    range: '.',
    val: '~',
    abandoned: ':',
    end: '<',
    point: 'o',
    level: '-',
    checkpoint: 'c',
    above: '^',
    below: 'v',
    gap: 'x',
    cursor: '|',
    cone: '/',
};

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

    /// Marks of charts, letters of rounds and of runs, and the shades of ranks.
    #[test]
    fn ascii_characters_stand_for_one_thing_each() {
        let m = ASCII;
        let marks = [
            m.line,
            m.range,
            m.val,
            m.abandoned,
            m.end,
            m.point,
            m.level,
            m.checkpoint,
            m.above,
            m.below,
            m.gap,
            m.cursor,
            m.cone,
        ];
        let mut all: Vec<char> = marks.to_vec();
        all.extend(Glyphs::Ascii.levels());
        all.extend('0'..='9');
        all.extend(['R', 'C']);
        assert!(all.iter().all(char::is_ascii));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
    }

    #[test]
    fn ascii_text_says_plus_minus_and_is_cut_in_ascii() {
        let text = |text: &str| Glyphs::Ascii.text(text);
        assert_eq!(text("+0.0343 ±0.0023"), "+0.0343 +-0.0023");
        assert_eq!(text("grow 4→6 · ◆"), "grow 4>6 . c");
        assert_eq!(Glyphs::Ascii.fit("a ±1 longer name", 9), "a +-1 lo.");
        assert_eq!(Glyphs::Ascii.fit("±1", 5), "+-1  ");
        assert_eq!(Glyphs::Braille.fit("a longer name", 5), "a lo…");
    }
}
