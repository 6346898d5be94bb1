use super::*;

/// Returns the theme with only these environment variables set.
fn theme(name: ThemeName, mode: ColorMode, set: &[(&str, &str)]) -> Theme {
    Theme::for_environment(name, mode, |name| {
        let found = set.iter().find(|(n, _)| *n == name);
        found.map_or(String::new(), |(_, value)| (*value).into())
    })
}

/// Returns a text that differs for different themes.
fn looks(theme: &Theme) -> String {
    format!("{theme:?}")
}

const XTERM: (&str, &str) = ("TERM", "xterm-256color");

#[test]
fn the_background_is_that_of_colorfgbg_and_dark_without_it() {
    for (value, light) in [
        ("15;0", Some(false)),
        ("0;15", Some(true)),
        ("0;default;15", Some(true)),
        ("0;7", Some(true)),
        ("7;8", Some(false)),
        ("15;default;0", Some(false)),
        ("0;11", Some(true)),
        ("15;default", None),
        ("0;255", None),
        ("15", None),
        ("", None),
        ("a;b", None),
    ] {
        assert_eq!(is_light(value), light, "{value:?}");
        let chosen = theme(
            ThemeName::Auto,
            ColorMode::Auto,
            &[XTERM, ("COLORFGBG", value)],
        );
        assert_eq!(chosen.light, light == Some(true), "{value:?}");
        // The environment does not override a theme that was asked for.
        for (name, light) in [(ThemeName::Dark, false), (ThemeName::Light, true)] {
            let chosen = theme(name, ColorMode::Auto, &[XTERM, ("COLORFGBG", value)]);
            assert_eq!(chosen.light, light, "{value:?}");
        }
    }
}

#[test]
fn colours_are_as_many_as_the_terminal_has() {
    let with = |set: &[(&str, &str)]| looks(&theme(ThemeName::Dark, ColorMode::Auto, set));
    let of = |depth| looks(&Theme::of(ThemeName::Dark, depth));
    assert_eq!(with(&[XTERM]), of(Depth::Indexed));
    for colorterm in ["truecolor", "24bit"] {
        assert_eq!(with(&[XTERM, ("COLORTERM", colorterm)]), of(Depth::True));
    }
    assert_eq!(with(&[("TERM", "xterm-direct")]), of(Depth::True));
    assert_eq!(with(&[("TERM", "linux")]), of(Depth::Basic));
    assert_eq!(with(&[("TERM", "dumb")]), of(Depth::Mono));
}

/// A theme differs with 16, 256 and true colour, unless it uses only the terminal's own colours.
#[test]
fn every_number_of_colours_makes_a_difference() {
    for name in [ThemeName::Dark, ThemeName::Light, ThemeName::Contrast] {
        let all = [ColorMode::Basic, ColorMode::Indexed, ColorMode::True];
        let all = all.map(|mode| looks(&theme(name, mode, &[])));
        assert!(
            all[0] != all[1] && all[1] != all[2] && all[0] != all[2],
            "{name:?}"
        );
    }
}

#[test]
fn no_color_leaves_no_colour_whatever_the_theme_and_an_explicit_color_wins() {
    let names = [
        ThemeName::Auto,
        ThemeName::Dark,
        ThemeName::Light,
        ThemeName::Contrast,
        ThemeName::Terminal,
    ];
    for name in names {
        let no_color = [XTERM, ("NO_COLOR", "1")];
        let mono = theme(name, ColorMode::Auto, &no_color);
        assert_eq!(looks(&mono), looks(&Theme::mono()), "{name:?}");
        let empty = [XTERM, ("NO_COLOR", "")];
        assert_ne!(
            looks(&theme(name, ColorMode::Auto, &empty)),
            looks(&mono),
            "{name:?}"
        );
        for mode in [ColorMode::Basic, ColorMode::Indexed, ColorMode::True] {
            let asked = theme(name, mode, &no_color);
            assert_ne!(looks(&asked), looks(&mono), "{name:?} {mode:?}");
        }
        let never = theme(name, ColorMode::Never, &[XTERM]);
        assert_eq!(looks(&never), looks(&mono));
    }
}

#[test]
fn sixteen_colours_on_an_unknown_background_are_the_terminals_own() {
    let with = |set: &[(&str, &str)]| looks(&theme(ThemeName::Auto, ColorMode::Basic, set));
    let of = |name| looks(&Theme::of(name, Depth::Basic));
    assert_eq!(with(&[XTERM]), of(ThemeName::Terminal));
    assert_eq!(with(&[("COLORFGBG", "15;0")]), of(ThemeName::Dark));
    assert_eq!(with(&[("COLORFGBG", "0;15")]), of(ThemeName::Light));
}

/// Roles that are shown side by side differ by a modifier or a background, not by hue alone.
#[test]
fn nothing_is_shown_by_hue_alone() {
    let depths = [Depth::Mono, Depth::Basic, Depth::Indexed, Depth::True];
    for depth in depths {
        for name in [
            ThemeName::Dark,
            ThemeName::Light,
            ThemeName::Contrast,
            ThemeName::Terminal,
        ] {
            let theme = Theme::of(name, depth);
            let apart = |a: Style, b: Style| {
                (a.add_modifier, a.bg.is_some()) != (b.add_modifier, b.bg.is_some())
            };
            for (what, a, b) in [
                ("a warning and text", theme.warning, theme.plain),
                ("a warning and what is good", theme.warning, theme.good),
                ("a warning and a title", theme.warning, theme.title),
                ("a warning and a selection", theme.warning, theme.selected),
                (
                    "a warning and the validation loss",
                    theme.warning,
                    theme.val,
                ),
                (
                    "a warning and the training loss",
                    theme.warning,
                    theme.train,
                ),
                ("a warning and a label", theme.warning, theme.dim),
                ("what is good and text", theme.good, theme.plain),
                ("a selection and text", theme.selected, theme.plain),
                ("a selection and a title", theme.selected, theme.title),
                ("a key and text", theme.key, theme.plain),
                ("a key and its label", theme.key, theme.dim),
                ("a title and its frame", theme.title, theme.dim),
                (
                    "the validation loss and the reference",
                    theme.val,
                    theme.reference,
                ),
            ] {
                assert!(apart(a, b), "{name:?} {depth:?}: {what}");
            }
            let band = apart(theme.train, theme.dim) || theme.sparse;
            assert!(band, "{name:?} {depth:?}: a line and the band behind it");
            // Faint text, whose contrast is unknown, appears only without colours.
            let faint = theme.dim.add_modifier.contains(Modifier::DIM);
            assert_eq!(faint, depth == Depth::Mono, "{name:?} {depth:?}");
        }
    }
}

#[test]
fn a_cell_keeps_nothing_of_what_stood_there() {
    let mut cell = Cell::default();
    let before = Style::new().fg(Color::White).bg(Color::Red);
    put(&mut cell, '!', before.add_modifier(Modifier::UNDERLINED));
    put(&mut cell, '*', Style::new().add_modifier(Modifier::BOLD));
    assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    assert_eq!(cell.modifier, Modifier::BOLD);
}
