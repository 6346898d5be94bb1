//! Tests the command line's own documentation: grouped help, presets, completions, manual pages.

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

/// bash completes a command, an option and a value with the generated script.
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
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = heirloom(&["man", file.join("man1").to_str().unwrap()]);
    // A directory that cannot be created is an error that names it.
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("man1"));
    let place = dir.path().join("share").join("man1");
    stdout(&["man", place.to_str().unwrap()]);
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

/// Runs `heirloom doctor` with these variables, without a network. Returns its output and its exit code.
fn doctor(
    place: &std::path::Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
    command.arg("doctor").args(args).current_dir(place);
    for name in [
        "LC_ALL",
        "LC_CTYPE",
        "LANG",
        "NO_COLOR",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    command
        .env("HF_HUB_OFFLINE", "1")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn doctor_names_what_is_there_and_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let (code, text) = doctor(place.path(), &[], &[("LANG", "C")]);
    assert_eq!(code, Some(0), "{text}");
    for wanted in [
        "ok    terminal   stdout is not a terminal\n",
        "warn  locale     LANG=C is not UTF-8",
        "export LC_ALL=C.UTF-8\n",
        "ok    cpu        ",
        "train.dtype = \"auto\" is ",
        "ok    disk       ",
        "ok    hub        not asked: HF_HUB_OFFLINE is set\n",
        "ready to train\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    // No file is left.
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn doctor_has_the_same_as_json() {
    let place = tempfile::tempdir().unwrap();
    let (code, text) = doctor(place.path(), &["--json"], &[("LC_ALL", "C.UTF-8")]);
    assert_eq!(code, Some(0), "{text}");
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["usable"], true);
    let version = all["version"].as_str().unwrap();
    assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    let checks = all["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap();
    for name in [
        "terminal", "colours", "locale", "glyphs", "cpu", "kernels", "memory", "gpu", "mpi",
        "nccl", "disk", "space", "hub",
    ] {
        let check = of(name);
        let status = check["status"].as_str().unwrap();
        assert!(["ok", "warn"].contains(&status), "{check}");
        // Every warning has advice.
        assert!(status == "ok" || check["advice"].is_string(), "{check}");
    }
    assert_eq!(of("locale")["status"], "ok");
}

/// A hub that does not answer is only a finding; a directory that cannot hold runs is a failure.
#[test]
fn doctor_fails_only_where_no_run_can_be_written() {
    let place = tempfile::tempdir().unwrap();
    let dead = [
        ("HF_HUB_OFFLINE", ""),
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
    ];
    let (code, text) = doctor(place.path(), &[], &dead);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("warn  hub        http://127.0.0.1:9 cannot be reached"),
        "{text}"
    );
    let (code, text) = doctor(place.path(), &["--runs", "/proc/self"], &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("FAIL  disk       /proc/self cannot be written"),
        "{text}"
    );
    assert!(
        text.contains("name another directory with --runs DIR"),
        "{text}"
    );
    assert!(text.contains("no training is possible"), "{text}");
}
