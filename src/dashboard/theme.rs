//! Colours. Nothing is shown by hue alone: roles that are shown side by side also differ by a modifier, a character or a word.
//!
//! Themes keep the terminal's own background and text colour; only the high contrast theme sets its own. A test computes the
//! contrast of every pair of colours on the screens: at least 4.5:1 on the backgrounds that a theme is made for (#000000 to
//! #1e1e1e for dark, #ffffff to #fdf6e3 for light). The terminal is not asked for its colours.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorMode {
    /// By NO_COLOR, COLORTERM and the terminal's name.
    #[default]
    Auto,
    Never,
    #[value(name = "16")]
    Basic,
    #[value(name = "256")]
    Indexed,
    True,
}

/// `--theme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ThemeName {
    /// By COLORFGBG; without it dark, with 16 colours terminal
    #[default]
    Auto,
    Dark,
    Light,
    /// High contrast, on a black background of its own
    Contrast,
    /// The terminal's own 16 colours, legible on any background
    Terminal,
}

/// The number of colours that a theme may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// No colours, only attributes.
    Mono,
    /// The 16 ANSI colours.
    Basic,
    /// xterm's 256.
    Indexed,
    /// 24 bits.
    True,
}

/// Styles by role.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// The style of cells without a colour; the default keeps the terminal's.
    pub base: Style,
    pub plain: Style,
    pub dim: Style,
    pub title: Style,
    pub key: Style,
    pub train: Style,
    pub val: Style,
    pub reference: Style,
    /// The line of a limit in a chart.
    pub limit: Style,
    pub good: Style,
    pub warning: Style,
    /// The bars of a lazy layer.
    pub lazy: Style,
    pub selected: Style,
    /// Whether the theme is made for a light background.
    pub light: bool,
    /// Whether the band behind a line is thinned out, because its style is too similar to the line's.
    pub sparse: bool,
}

/// The colours of a theme.
struct Hues {
    dim: Color,
    train: Color,
    val: Color,
    reference: Color,
    good: Color,
    warning: Color,
}

impl Hues {
    /// Makes hues from `0xrrggbb`, in the order of the fields.
    fn rgb(all: [u32; 6]) -> Self {
        Self::of(all.map(Color::from_u32))
    }

    /// Makes hues from xterm's 256 colours, in the order of the fields.
    fn indexed(all: [u8; 6]) -> Self {
        Self::of(all.map(Color::Indexed))
    }

    fn of([dim, train, val, reference, good, warning]: [Color; 6]) -> Self {
        Self {
            dim,
            train,
            val,
            reference,
            good,
            warning,
        }
    }
}

impl Theme {
    /// Returns the theme for this process's terminal, by its environment.
    pub fn of_terminal(name: ThemeName, mode: ColorMode) -> Self {
        Self::for_environment(name, mode, |name| std::env::var(name).unwrap_or_default())
    }

    fn for_environment(name: ThemeName, mode: ColorMode, value: impl Fn(&str) -> String) -> Self {
        let depth = depth_for(mode, &value);
        let name = match name {
            ThemeName::Auto => match is_light(&value("COLORFGBG")) {
                Some(true) => ThemeName::Light,
                Some(false) => ThemeName::Dark,
                None if depth == Depth::Basic => ThemeName::Terminal,
                None => ThemeName::Dark,
            },
            chosen => chosen,
        };
        Self::of(name, depth)
    }

    /// Returns the number of colours that a theme may use on this process's terminal.
    pub fn depth_of_terminal(mode: ColorMode) -> Depth {
        depth_for(mode, &|name: &str| std::env::var(name).unwrap_or_default())
    }

    /// Returns a theme with a number of colours; `Auto` is dark.
    pub fn of(name: ThemeName, depth: Depth) -> Self {
        match (name, depth) {
            (_, Depth::Mono) => Self::mono(),
            (ThemeName::Terminal, _) => Self::terminal(),
            (ThemeName::Auto | ThemeName::Dark, depth) => Self::dark(depth),
            (ThemeName::Light, depth) => Self {
                light: true,
                ..Self::for_light(depth)
            },
            (ThemeName::Contrast, depth) => Self::contrast(depth),
        }
    }

    /// Returns the theme without colours: only bold, faint, underlined and reversed text.
    pub fn mono() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Self {
            base: plain,
            plain,
            dim: plain.add_modifier(Modifier::DIM),
            title: bold,
            key: bold,
            train: plain,
            val: bold,
            reference: plain,
            limit: plain,
            good: bold,
            warning: bold.add_modifier(Modifier::UNDERLINED),
            lazy: plain,
            selected: plain.add_modifier(Modifier::REVERSED),
            light: false,
            sparse: false,
        }
    }

    fn coloured(hues: &Hues) -> Self {
        let mono = Self::mono();
        Self {
            // Grey instead of faint text, whose contrast is unknown and on some terminals very low.
            dim: mono.plain.fg(hues.dim),
            train: mono.title.fg(hues.train),
            val: mono.val.fg(hues.val),
            reference: mono.reference.fg(hues.reference),
            limit: mono.limit.fg(hues.good),
            good: mono.good.fg(hues.good),
            warning: mono.warning.fg(hues.warning),
            lazy: mono.lazy.fg(hues.warning),
            ..mono
        }
    }

    /// Returns the theme of the terminal's 16 colours. None of them has a contrast of 4.5:1 on both black and white, with xterm's or
    /// VGA's palette, so it uses attributes, and colours only in styles that also set the background.
    fn terminal() -> Self {
        let mono = Self::mono();
        Self {
            dim: mono.plain,
            train: mono.title,
            // Not bold: many terminals show bold black as grey.
            good: mono.plain.fg(Color::Black).bg(Color::Green),
            warning: mono.warning.fg(Color::White).bg(Color::Red),
            sparse: true,
            ..mono
        }
    }

    /// Returns the dark theme: Okabe and Ito's palette, lightened, whose colours differ for every kind of colour blindness.
    fn dark(depth: Depth) -> Self {
        match depth {
            Depth::True => Self::coloured(&Hues::rgb([
                0x94_9aa3, 0x56_b4e9, 0xe6_9f00, 0xd9_8cb8, 0x2f_bf8f, 0xff_7a45,
            ])),
            Depth::Indexed => Self::coloured(&Hues::indexed([246, 74, 214, 175, 36, 209])),
            Depth::Mono | Depth::Basic => Self {
                // Red is too dark, and so is bright red on a background that is not quite black.
                warning: Self::terminal().warning,
                ..Self::coloured(&Hues::of([
                    Color::Gray,
                    Color::Cyan,
                    Color::LightYellow,
                    Color::LightMagenta,
                    Color::LightGreen,
                    Color::LightYellow,
                ]))
            },
        }
    }

    /// Returns the light theme: the same palette, darkened.
    fn for_light(depth: Depth) -> Self {
        match depth {
            Depth::True => Self::coloured(&Hues::rgb([
                0x5c_6068, 0x00_629b, 0x8f_5500, 0x96_397a, 0x00_6b4b, 0xb0_2a00,
            ])),
            Depth::Indexed => Self::coloured(&Hues::indexed([241, 25, 94, 126, 23, 160])),
            // Only blue and red are dark enough in both palettes, and only without bold, which may brighten them.
            Depth::Mono | Depth::Basic => Self {
                train: Style::new().fg(Color::Blue),
                lazy: Style::new().fg(Color::Red),
                ..Self::terminal()
            },
        }
    }

    /// Returns the high contrast theme: at least 7:1 on black, which it sets as the background.
    fn contrast(depth: Depth) -> Self {
        let (ink, paper, hues) = match depth {
            Depth::True => (
                Color::Rgb(255, 255, 255),
                Color::Rgb(0, 0, 0),
                Hues::rgb([
                    0xd0_d0d0, 0x66_d9ff, 0xff_e14d, 0xff_b3dd, 0x5c_e6a8, 0xff_9c80,
                ]),
            ),
            Depth::Indexed => (
                Color::Indexed(231),
                Color::Indexed(16),
                Hues::indexed([252, 81, 227, 219, 85, 216]),
            ),
            Depth::Mono | Depth::Basic => (
                Color::White,
                Color::Black,
                Hues::of([
                    Color::Gray,
                    Color::LightCyan,
                    Color::LightYellow,
                    Color::White,
                    Color::LightGreen,
                    Color::LightYellow,
                ]),
            ),
        };
        Self {
            base: Style::new().fg(ink).bg(paper),
            ..Self::coloured(&hues)
        }
    }

    /// Sets the theme's colours in cells without colours, once a frame is complete.
    pub fn paint(&self, buffer: &mut Buffer) {
        let (Some(ink), Some(paper)) = (self.base.fg, self.base.bg) else {
            return;
        };
        for cell in &mut buffer.content {
            if cell.fg == Color::Reset {
                cell.fg = ink;
            }
            if cell.bg == Color::Reset {
                cell.bg = paper;
            }
        }
    }
}

/// Puts a character into a cell, and replaces the previous style completely.
pub fn put(cell: &mut Cell, c: char, style: Style) {
    cell.set_char(c).set_style(Style::reset().patch(style));
}

/// Returns the number of colours for a mode, in an environment.
fn depth_for(mode: ColorMode, value: &impl Fn(&str) -> String) -> Depth {
    match mode {
        ColorMode::Auto => depth(value),
        ColorMode::Never => Depth::Mono,
        ColorMode::Basic => Depth::Basic,
        ColorMode::Indexed => Depth::Indexed,
        ColorMode::True => Depth::True,
    }
}

/// Returns the number of colours that the terminal has.
fn depth(value: &impl Fn(&str) -> String) -> Depth {
    let (term, colorterm) = (value("TERM"), value("COLORTERM"));
    // https://no-color.org: the variable counts if it is not empty.
    if !value("NO_COLOR").is_empty() || term == "dumb" {
        Depth::Mono
    } else if ["truecolor", "24bit"].contains(&colorterm.as_str()) || term.ends_with("-direct") {
        Depth::True
    } else if term.contains("256color") {
        Depth::Indexed
    } else {
        Depth::Basic
    }
}

/// Returns whether COLORFGBG (`15;0`, `0;default;15`) names a light background: 7, or a bright colour except dark grey, as in vim.
/// `None` if it names no background.
fn is_light(colorfgbg: &str) -> Option<bool> {
    let background = colorfgbg.rsplit_once(';')?.1;
    let background: u8 = background.trim().parse().ok()?;
    (background < 16).then_some(matches!(background, 7 | 9..))
}

#[cfg(test)]
mod tests;
