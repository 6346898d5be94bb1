//! What the command line says of itself: grouped help, presets, completions, manual pages.

mod common;

use std::process::{Command, Output};

fn heirloom(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
    command.args(args).env("COLUMNS", "80");
    command.output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = heirloom(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_has_groups_examples_and_variables_in_80_columns() {
    let help = stdout(&["--help"]);
    for wanted in [
        "\nTrain:\n  train ",
        "\nLook at runs:\n  watch ",
        "\nModels:\n  info ",
        "\nPresets of `heirloom train`:\n  tiny ",
        "\nExamples:\n  heirloom ",
        "\nEnvironment:\n",
        "  NO_COLOR ",
        "  HEIRLOOM_THEME ",
        "  COLORFGBG ",
    ] {
        assert!(help.contains(wanted), "{wanted:?} is not in\n{help}");
    }
    let wide: Vec<&str> = help.lines().filter(|l| l.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn train_without_a_config_lists_the_presets() {
    let output = heirloom(&["train"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for wanted in ["presets:", "\n  tiny ", "\n  books ", "heirloom train tiny"] {
        assert!(said.contains(wanted), "{said}");
    }
}

/// bash itself completes a command, an option and a value with the script.
#[test]
fn bash_completes_commands_options_and_values() {
    let complete = |words: &str| {
        let script = format!(
            "eval \"$(\"$0\" completions bash)\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _heirloom heirloom \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_heirloom")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    assert_eq!(complete("heirloom sel"), "selftest");
    assert_eq!(complete("heirloom train --dry"), "--dry-run");
    assert_eq!(complete("heirloom --color nev"), "never");
    assert_eq!(complete("heirloom --theme con"), "contrast");
}

#[test]
fn every_shell_has_a_script_that_names_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&["completions", shell]);
        for command in ["train", "attach", "replay", "export", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let output = heirloom(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("man1");
    let args = ["man", place.to_str().unwrap()];
    let output = heirloom(&args);
    // A directory that is not there is an error with its name.
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("man1"));
    std::fs::create_dir(&place).unwrap();
    stdout(&args);
    let page = |name: &str| std::fs::read_to_string(place.join(name)).unwrap();
    assert!(page("heirloom.1").contains("heirloom train tiny"));
    let train = page("heirloom-train.1");
    assert!(
        train.contains("dry\\-run") && train.contains(".SH OPTIONS"),
        "{train}"
    );
    assert!(page("heirloom-data-prepare.1").contains(".SH NAME"));
    assert_eq!(stdout(&["man"]), page("heirloom.1"));
}
