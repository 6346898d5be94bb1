//! Parts of `--help` other than options: groups of commands, examples, environment variables.

use clap::Command;

use crate::config;

/// All commands, in the groups and the order of `--help`.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Train", &["train", "attach", "ctl"]),
    (
        "Look at runs",
        &["watch", "replay", "show", "forecast", "ls"],
    ),
    (
        "Models",
        &[
            "info", "loss", "eval", "rank", "generate", "inherit", "export",
        ],
    ),
    ("Data", &["data"]),
    (
        "This machine",
        &["doctor", "bench", "selftest", "demo", "completions", "man"],
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "heirloom",
        "the home screen: presets to start, runs to open",
    ),
    (
        "heirloom train tiny",
        "train the smallest preset, live in a dashboard",
    ),
    (
        "heirloom train books --dry-run",
        "its phases, memory and time",
    ),
    (
        "heirloom train --resume RUN",
        "continue a run that was stopped",
    ),
    ("heirloom attach", "the dashboard of the run in progress"),
    ("heirloom ctl RUN grow 2", "answer a decision from a script"),
];

/// Environment variables that the program reads, for the manual page and `--help`.
const VARIABLES: &[(&str, &str)] = &[
    (
        "ACCESSIBLE=1, TERM=dumb",
        "plain lines instead of a dashboard",
    ),
    ("NO_COLOR", "no colours"),
    ("HEIRLOOM_THEME", "the theme where --theme is not given"),
    ("COLORFGBG", "the terminal's colours, for the theme auto"),
    (
        "HF_TOKEN, HF_HOME",
        "the Hugging Face hub: access token, cache",
    ),
    ("HF_ENDPOINT", "address of a mirror of the hub"),
    (
        "HF_HUB_OFFLINE=1",
        "take models from the cache only, without network",
    ),
    (
        "CUDA_VISIBLE_DEVICES",
        "the visible GPUs; --device cuda:N counts them from 0",
    ),
    (
        "HEIRLOOM_UNIT",
        "instructions for bf16 on a CPU: amx, avx512 or portable",
    ),
    (
        "HEIRLOOM_ATTENTION",
        "mma: the general attention kernels also on Hopper GPUs",
    ),
    (
        "HEIRLOOM_GPU",
        "optional GPU features, off by default (docs/gpu.md), or all",
    ),
    (
        "RUST_BACKTRACE=1",
        "print a backtrace after an internal error",
    ),
];

/// Adds grouped help to the command line's definition.
pub fn group(plain: Command) -> Command {
    let mut listed = String::new();
    for (title, names) in GROUPS {
        listed.push_str(&format!("{title}:\n"));
        let about = |name: &&str| {
            let found = plain.find_subcommand(name)?.get_about()?;
            Some(format!("  {name:<12} {found}\n"))
        };
        listed.extend(names.iter().filter_map(about));
        listed.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{listed}Options:\n{{options}}{{after-help}}"
    );
    let presets: Vec<(&str, &str)> = config::presets()
        .iter()
        .map(|p| (p.name, p.summary))
        .collect();
    let after = [
        ("Presets of `heirloom train`", &presets[..]),
        ("Examples", EXAMPLES),
        ("Environment", VARIABLES),
    ];
    let after: Vec<String> = after.iter().map(|(t, rows)| table(t, rows)).collect();
    plain.help_template(template).after_help(after.join("\n"))
}

fn table(title: &str, rows: &[(&str, &str)]) -> String {
    let wide = rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    let rows = rows.iter().map(|(a, b)| format!("  {a:<wide$}  {b}\n"));
    format!("{title}:\n{}", rows.collect::<String>())
}

/// Returns the error of `heirloom train` without a config, with a list of the presets.
pub fn no_config() -> String {
    let rows: Vec<(&str, &str)> = config::presets()
        .iter()
        .map(|p| (p.name, p.summary))
        .collect();
    format!(
        "train needs a preset or a config file\n{}  PATH.toml, as those of configs/; docs/config.md lists the keys\n\
         for example: heirloom train {}",
        table("presets", &rows),
        rows[0].0
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Cli, command};

    #[test]
    fn every_command_is_in_one_group() {
        let all: Vec<&str> = GROUPS.iter().flat_map(|g| g.1).copied().collect();
        let listed: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), listed.len(), "{all:?}");
        let plain = Cli::command();
        let there: BTreeSet<&str> = plain.get_subcommands().map(Command::get_name).collect();
        assert_eq!(listed, there);
        let help = command().render_help().to_string();
        for name in all {
            assert!(help.contains(&format!("\n  {name:<12} ")), "{name}: {help}");
        }
    }
}
