//! Options that mean the same before and after every command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::dashboard;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::{ColorMode, Depth, Theme, ThemeName};
use crate::run::dir::DEFAULT_RUNS;
use crate::train::checkpoint::Checkpoints;

/// Options that mean the same before and after every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS, global = true)]
    pub runs: PathBuf,
    #[command(flatten)]
    pub ui: UiArgs,
}

impl Global {
    /// As arguments for another call of this program.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = vec!["--runs".into(), self.runs.clone().into()];
        args.extend(self.ui.to_args().into_iter().map(OsString::from));
        args
    }
}

/// Values of TERM of terminals without colours and an alternate screen: Emacs' shell, many CI logs.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "vt100", "vt102"];

/// The environment variable that chooses a theme without --theme.
const THEME: &str = "HEIRLOOM_THEME";

/// Options of a dashboard's look.
#[derive(Debug, Clone, clap::Args)]
pub struct UiArgs {
    /// Number of colours; auto honours NO_COLOR, COLORTERM and TERM
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "auto",
        global = true
    )]
    color: ColorMode,
    /// Colours for a dark or a light background [default: HEIRLOOM_THEME, else auto: by COLORFGBG, else dark]
    #[arg(long, value_enum, value_name = "NAME", global = true)]
    theme: Option<ThemeName>,
    /// Characters that charts are drawn with [default: braille; block for TERM=linux; ascii in a locale without UTF-8]
    #[arg(long, value_enum, value_name = "SET", global = true)]
    glyphs: Option<Glyphs>,
    /// No full-screen dashboard: plain lines (as with ACCESSIBLE=1, TERM=dumb, TERM=vt100)
    #[arg(long, global = true)]
    plain: bool,
}

impl UiArgs {
    /// Whether plain lines were asked for, or are all that the terminal can show.
    pub fn plain(&self) -> bool {
        let is = |name: &str, values: &[&str]| {
            std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
        };
        self.plain || is("ACCESSIBLE", &["1"]) || is("TERM", &PLAIN_TERMINALS)
    }

    /// Returns the theme that was asked for, by --theme or else by [`THEME`] if that is not empty.
    ///
    /// # Errors
    /// When the variable does not name a theme.
    pub(super) fn theme_name(&self) -> Result<ThemeName> {
        self.theme_or(
            &std::env::var_os(THEME)
                .unwrap_or_default()
                .to_string_lossy(),
        )
    }

    pub(super) fn theme_or(&self, variable: &str) -> Result<ThemeName> {
        match self.theme {
            Some(theme) => Ok(theme),
            None if variable.is_empty() => Ok(ThemeName::Auto),
            None => ThemeName::from_str(variable, true).map_err(|_| {
                let all = ThemeName::value_variants().iter();
                let all = all.filter_map(|t| Some(t.to_possible_value()?.get_name().to_string()));
                let all = all.collect::<Vec<_>>().join(", ");
                anyhow::anyhow!("{THEME}: expected one of {all}, got {variable:?}")
            }),
        }
    }

    /// Returns the theme of a picture, which does not depend on a terminal: dark with 256 colours, unless others were asked for.
    pub fn theme_of_file(&self) -> Theme {
        let depth = match self.color {
            ColorMode::Never => Depth::Mono,
            ColorMode::Basic => Depth::Basic,
            ColorMode::Auto | ColorMode::Indexed => Depth::Indexed,
            ColorMode::True => Depth::True,
        };
        Theme::of(self.theme_name().unwrap_or_default(), depth)
    }

    /// As arguments for another call of this program.
    fn to_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.plain {
            args.push("--plain".to_string());
        }
        let mut push = |name: &str, value: Option<clap::builder::PossibleValue>| {
            if let Some(value) = value {
                args.push(format!("--{name}={}", value.get_name()));
            }
        };
        push("color", self.color.to_possible_value());
        push("theme", self.theme.and_then(|t| t.to_possible_value()));
        push("glyphs", self.glyphs.and_then(|g| g.to_possible_value()));
        args
    }

    /// Returns the number of colours of this process's terminal.
    pub fn depth(&self) -> Depth {
        Theme::depth_of_terminal(self.color)
    }

    /// Returns the characters for charts, if they were asked for.
    pub fn glyphs(&self) -> Option<Glyphs> {
        self.glyphs
    }

    /// Returns the options of a dashboard with this title, for the run in `dir`; other output goes to `log`.
    pub fn options(
        &self,
        title: &str,
        dir: Option<&Path>,
        log: Option<&Path>,
    ) -> dashboard::Options {
        dashboard::Options {
            // An unknown theme was refused when the command began.
            theme: Theme::of_terminal(self.theme_name().unwrap_or_default(), self.color),
            glyphs: self.glyphs.unwrap_or_else(Glyphs::of_terminal),
            title: title.into(),
            log: log.map(Path::to_path_buf),
            dir: dir.map(Path::to_path_buf),
            verify: |dir, name| match Checkpoints::at(dir).verify(name) {
                Ok(_) => Ok(()),
                Err(why) => Err(why.to_string()),
            },
            job: dashboard::Job::default(),
        }
    }
}
