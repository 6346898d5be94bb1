//! The colours of the screen are those that the options and the environment ask for.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use common::pty::Pty;
use common::{Place, texts};
use journal::{Moment, NAME};

fn place() -> Place {
    let place = Place::new();
    let dir = place.run_dir(NAME);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("events.jsonl"), journal::journal(Moment::Done)).unwrap();
    std::fs::write(dir.join("config.toml"), "").unwrap();
    place
}

/// Returns the parameters of all SGR sequences in the screen of a finished run.
fn colours(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let args = [&["watch", NAME], args].concat();
    let pty = Pty::start_with(place, &args, 80, 24, env);
    pty.see("q quit");
    let written = String::from_utf8_lossy(&pty.written()).into_owned();
    let sequences = written
        .split("\x1b[")
        .filter_map(|part| part.split_once('m'));
    let sequences = sequences.map(|(parameters, _)| parameters);
    let is_sgr = |p: &&str| p.chars().all(|c| c.is_ascii_digit() || c == ';');
    sequences.filter(is_sgr).map(String::from).collect()
}

/// Whether a sequence contains `what`.
fn has(sequences: &[String], what: &str) -> bool {
    sequences.iter().any(|s| s.contains(what))
}

const TRAIN_DARK: &str = "38;5;74";
const TRAIN_LIGHT: &str = "38;5;25";

#[test]
fn a_theme_comes_from_the_option_the_variable_or_the_background() {
    let place = place();
    for (args, env, dark) in [
        (&[][..], &[][..], true),
        (&["--theme", "light"], &[], false),
        (&[], &[("HEIRLOOM_THEME", "light")], false),
        (&["--theme", "dark"], &[("HEIRLOOM_THEME", "light")], true),
        (&[], &[("COLORFGBG", "0;15")], false),
        (&[], &[("COLORFGBG", "15;0")], true),
        (
            &[],
            &[("COLORFGBG", "0;15"), ("HEIRLOOM_THEME", "dark")],
            true,
        ),
    ] {
        let found = colours(&place, args, env);
        let what = format!("{args:?} {env:?}: {found:?}");
        assert_eq!(has(&found, TRAIN_DARK), dark, "{what}");
        assert_eq!(has(&found, TRAIN_LIGHT), !dark, "{what}");
        assert!(!has(&found, "48;5;16"), "{what}");
    }
    let high = colours(&place, &["--theme", "contrast"], &[]);
    assert!(has(&high, "48;5;16"), "a background of its own: {high:?}");
}

#[test]
fn a_number_of_colours_is_kept_to() {
    let place = place();
    let of = |args: &[&str], env: &[(&str, &str)]| {
        let found = colours(&place, args, env);
        (has(&found, "38;2;"), has(&found, "38;5;74"))
    };
    assert_eq!(of(&["--color", "true"], &[]), (true, false));
    assert_eq!(of(&["--color", "256"], &[]), (false, true));
    assert_eq!(of(&[], &[("COLORTERM", "truecolor")]), (true, false));
    // NO_COLOR removes all colours, also with a theme; an explicit --color has precedence.
    let no_color = [("NO_COLOR", "1")];
    assert_eq!(of(&[], &no_color), (false, false));
    assert_eq!(of(&["--theme", "light"], &no_color), (false, false));
    assert_eq!(of(&["--color", "256"], &no_color), (false, true));
    // With NO_COLOR, only attributes are left.
    let found = colours(&place, &["--theme", "light"], &no_color);
    let coloured = |s: &String| {
        s.split(';').any(|p| {
            matches!(p, "38" | "48")
                || p.len() == 2 && p.starts_with(['3', '4']) && !p.ends_with('9')
        })
    };
    assert!(!found.iter().any(coloured), "{found:?}");
    assert!(has(&found, "1"), "{found:?}");
}

#[test]
fn an_unknown_theme_is_refused_and_says_what_there_is() {
    let place = place();
    let mut command = place.heirloom(&["ls"]);
    let output = command.env("HEIRLOOM_THEME", "solarized").output().unwrap();
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    let wanted =
        "HEIRLOOM_THEME: expected one of auto, dark, light, contrast, terminal, got \"solarized\"";
    assert!(err.contains(wanted), "{err}");
    // An empty variable counts as not set.
    let mut command = place.heirloom(&["ls"]);
    let output = command.env("HEIRLOOM_THEME", "").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The picture of a light theme has a light background.
#[test]
fn a_picture_has_the_background_of_its_theme() {
    let place = place();
    let picture = |args: &[&str]| {
        let out = ["replay", NAME, "--size", "80x24", "--out", "x.svg"];
        place.expect(0, &[&out, args].concat());
        std::fs::read_to_string(place.path().join("x.svg")).unwrap()
    };
    let (dark, light) = (picture(&[]), picture(&["--theme", "light"]));
    assert!(dark.contains("#16181d") && !light.contains("#16181d"));
    assert!(
        light.contains("#fdfdfb") && light.contains("#005faf"),
        "{light}"
    );
}
