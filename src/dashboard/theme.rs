//! Colours, and what is left of them without: nothing is told by hue alone.

use ratatui::style::{Color, Modifier, Style};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorMode {
    /// By NO_COLOR and the terminal's name.
    #[default]
    Auto,
    Never,
    #[value(name = "16")]
    Basic,
    #[value(name = "256")]
    Indexed,
    True,
}

/// Styles by role.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    pub plain: Style,
    pub dim: Style,
    pub title: Style,
    pub key: Style,
    pub train: Style,
    pub val: Style,
    pub reference: Style,
    pub good: Style,
    pub warning: Style,
    pub selected: Style,
}

impl Theme {
    /// The theme for a mode; `Auto` reads the environment.
    pub fn new(mode: ColorMode) -> Self {
        let set = |name: &str| std::env::var(name).unwrap_or_default();
        match mode {
            // https://no-color.org: set and not empty.
            ColorMode::Auto if !set("NO_COLOR").is_empty() || set("TERM") == "dumb" => Self::mono(),
            ColorMode::Auto
                if set("COLORTERM") == "truecolor" || set("TERM").contains("256color") =>
            {
                Self::indexed()
            }
            ColorMode::Auto | ColorMode::Basic => Self::basic(),
            ColorMode::Never => Self::mono(),
            ColorMode::Indexed | ColorMode::True => Self::indexed(),
        }
    }

    /// Bold, dim and reversed alone.
    pub fn mono() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Self {
            plain,
            dim: plain.add_modifier(Modifier::DIM),
            title: bold,
            key: bold,
            train: plain,
            val: bold,
            reference: plain,
            good: bold,
            warning: bold.add_modifier(Modifier::UNDERLINED),
            selected: plain.add_modifier(Modifier::REVERSED),
        }
    }

    fn basic() -> Self {
        Self::coloured(
            Color::Cyan,
            Color::Yellow,
            Color::Magenta,
            Color::Green,
            Color::Red,
        )
    }

    /// Okabe and Ito's palette, told apart with every kind of colour blindness.
    fn indexed() -> Self {
        let [sky, orange, purple, green, vermilion] = [74, 214, 175, 36, 202].map(Color::Indexed);
        Self::coloured(sky, orange, purple, green, vermilion)
    }

    fn coloured(train: Color, val: Color, reference: Color, good: Color, warning: Color) -> Self {
        let mono = Self::mono();
        Self {
            train: mono.train.fg(train),
            val: mono.val.fg(val),
            reference: mono.reference.fg(reference),
            good: mono.good.fg(good),
            warning: mono.title.fg(warning),
            ..mono
        }
    }
}
