//! `heirloom replay`: replays a run's journal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::find::last_run;
use super::{Global, exit, say, watch};
use crate::dashboard;
use crate::dashboard::Stage;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::picture;
use crate::dashboard::replay::{self, Moment, Replay, ReplayFeed};
use crate::run::dir::RunDir;
use crate::run::state::RunState;
use crate::run::{table, tail};
use crate::{file, text};

/// Most columns and rows of a picture.
const LARGEST: (u16, u16) = (500, 200);

/// Replay a run as it happened, at any speed
///
/// Without a terminal, events are printed as plain lines.
///
/// Nothing in the run's directory is changed. Waits of more than three seconds are shortened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the most recently written]
    #[arg(value_name = "RUN", value_parser = super::values::exact_text())]
    run: Option<String>,
    #[command(flatten)]
    global: Global,
    /// Run seconds a second, or max [default: the whole run in about a minute, at least 1]
    #[arg(long, value_name = "X", value_parser = speed)]
    speed: Option<f64>,
    /// Begin at a step (1200) or at a run time (90s, 5m, 1h30m)
    #[arg(long, value_name = "STEP|TIME", value_parser = moment)]
    at: Option<Moment>,
    /// Start paused
    #[arg(long)]
    paused: bool,
    /// Write the dashboard as it stood at --at (without it: at the end) to this file: a picture as .svg, text as .txt
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "paused", "speed"])]
    out: Option<PathBuf>,
    /// Columns and rows of the dashboard in --out
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size, default_value = "200x60", requires = "out")]
    size: (u16, u16),
    /// Print the events
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When there is no such run, it has no events, or it cannot be read.
    pub fn run(self) -> Result<()> {
        let form = self.out.as_deref().map(form).transpose()?;
        let dir = match &self.run {
            Some(name) => watch::find(&self.global.runs, name)?,
            None => last_run(&self.global.runs)?,
        };
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let screen = terminal && !self.json && !self.global.ui.plain();
        if self.paused && !screen {
            return Err(
                exit::usage("--paused needs the dashboard: plain lines cannot be resumed").into(),
            );
        }
        let mut replay = Replay::open(dir.path(), self.speed)?;
        if let Some(moment) = self.at {
            replay.start_at(moment)?;
        }
        if let Some((path, form)) = self.out.as_deref().zip(form) {
            if self.at.is_none() {
                replay.go_to_end();
            }
            return self.draw(&replay, &dir, path, form);
        }
        if !screen {
            return lines(replay, &dir, self.json);
        }
        if self.paused {
            replay.pause();
        }
        let options = self.global.ui.options(&dir.name(), Some(dir.path()), None);
        dashboard::run(&mut ReplayFeed::new(replay), &options, RunState::default()).map(drop)
    }

    /// Writes the dashboard at the replay's position to a file.
    fn draw(&self, replay: &Replay, dir: &RunDir, path: &Path, form: Form) -> Result<()> {
        let run = replay.state()?;
        let ui = &self.global.ui;
        let theme = ui.theme_of_file();
        let glyphs = ui.glyphs().unwrap_or(Glyphs::Braille);
        let name = dir.name();
        let stage = Stage {
            theme: &theme,
            glyphs,
            title: &name,
            clock: None,
            owner: false,
            keys: &[],
        };
        let frame = dashboard::still_in(&run, self.size, &stage)?;
        let bytes = match form {
            Form::Svg => picture::svg(
                &frame,
                &format!("{name} at step {}", run.core.step),
                theme.light,
            ),
            Form::Text => picture::plain(&frame),
        };
        file::replace_output(path, bytes.as_bytes())
            .with_context(|| format!("{} cannot be written", text::path(path)))
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Text,
}

/// Determines the format from a file's name.
///
/// # Errors
/// When the format is unknown.
fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => Ok(Form::Svg),
        Some("txt") => Ok(Form::Text),
        _ => bail!(
            "--out {}: the dashboard is written as .svg or .txt",
            text::path(path)
        ),
    }
}

/// Parses columns and rows: `200x60`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once('x');
    let parts = parts.and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    let fits = |(columns, rows): &(u16, u16)| {
        (1..=LARGEST.0).contains(columns) && (1..=LARGEST.1).contains(rows)
    };
    let (columns, rows) = LARGEST;
    parts
        .filter(fits)
        .ok_or_else(|| format!("expected columns and rows as in 80x24, at most {columns}x{rows}"))
}

/// Prints the lines at the speed of the replay, then the table.
fn lines(replay: Replay, dir: &RunDir, json: bool) -> Result<()> {
    if replay.is_growing() {
        say::err("the run is still in progress; this replays what it has written so far");
    }
    let end = replay::print(replay, &mut std::io::stdout().lock(), json)?;
    if let Some(mut state) = end.filter(|_| !json) {
        tail::settle(&mut state, dir.path());
        say::out(&format!("\n{}", table::text(&state)))?;
    }
    Ok(())
}

/// Parses a speed: `10`, `10x`, `0.5`, `max`.
fn speed(text: &str) -> Result<f64, String> {
    if text == "max" {
        return Ok(f64::INFINITY);
    }
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
    number
        .ok()
        .filter(|speed| *speed > 0.0 && speed.is_finite())
        .ok_or_else(|| "a speed is a number above 0, such as 10 or 0.5, or max".into())
}

/// Parses a moment: a bare number is a step; `1h30m`, `5m` and `90s` are run times.
fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(step) = text.parse() {
        return Ok(Moment::Step(step));
    }
    seconds(text)
        .map(Moment::Seconds)
        .ok_or_else(|| "a step such as 1200, or a run time such as 90s, 5m or 1h30m".into())
}

fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    for (unit, seconds) in [('h', 3600.0), ('m', 60.0), ('s', 1.0)] {
        if let Some((number, after)) = rest.split_once(unit) {
            sum += number.parse::<f64>().ok().filter(|n| *n >= 0.0)? * seconds;
            rest = after;
        }
    }
    (!text.is_empty() && rest.is_empty() && sum.is_finite()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_moments_are_read_as_they_are_written() {
        assert_eq!(speed("10"), Ok(10.0));
        assert_eq!(speed("0.5x"), Ok(0.5));
        assert_eq!(speed("max"), Ok(f64::INFINITY));
        for bad in ["0", "-1", "fast", "nan", "inf", ""] {
            assert!(speed(bad).is_err(), "{bad}");
        }
        assert_eq!(moment("1200"), Ok(Moment::Step(1200)));
        assert_eq!(moment("90s"), Ok(Moment::Seconds(90.0)));
        assert_eq!(moment("1h30m"), Ok(Moment::Seconds(5400.0)));
        assert_eq!(moment("1m2.5s"), Ok(Moment::Seconds(62.5)));
        for bad in ["", "-5", "5d", "m", "5m3", "3s5m", "-5s"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
