//! The table of the screen's own commands.

use crate::dashboard::message::{Act, Effect};
use crate::dashboard::replay::ReplayCommand;
use crate::dashboard::ui::Context;
use crate::dashboard::views::overview;
use crate::run::command::Command as TrainerCommand;
use crate::run::state::Status;

/// The way a command is carried out.
#[derive(Clone, Copy)]
pub enum Run {
    Screen(fn(&mut Context<'_>) -> Vec<Effect>),
    ReplayCommand(ReplayCommand),
    /// Called with the number in place of N.
    Tenth,
    /// Called with the name of a run, or without one.
    Compare,
    /// Called with a key of the config.
    Config,
    /// For the layer on top, else for the view; cannot be typed.
    Act(Act),
}

/// A command of the screen.
pub struct Command {
    /// The fixed words, followed by the names of arguments in capitals.
    pub words: &'static str,
    pub help: &'static str,
    /// Whether it needs a trainer that takes commands.
    pub control: bool,
    pub run: Run,
}

const fn screen(
    words: &'static str,
    help: &'static str,
    run: fn(&mut Context<'_>) -> Vec<Effect>,
) -> Command {
    Command {
        words,
        help,
        control: false,
        run: Run::Screen(run),
    }
}

const fn steer(words: &'static str, help: &'static str, steer: ReplayCommand) -> Command {
    Command {
        words,
        help,
        control: false,
        run: Run::ReplayCommand(steer),
    }
}

const fn act(words: &'static str, help: &'static str, act: Act) -> Command {
    Command {
        words,
        help,
        control: false,
        run: Run::Act(act),
    }
}

/// Makes a command that changes the chart's settings.
macro_rules! chart {
    ($method:ident) => {
        |context| {
            context.ui.chart.$method();
            Vec::new()
        }
    };
}

/// Makes a command that changes the chart's settings by the run's state.
macro_rules! run_chart {
    ($method:ident) => {
        |context| {
            context.ui.chart.$method(context.run);
            Vec::new()
        }
    };
}

/// Commands of the screen itself, except those that open views and layers.
pub const OWN: &[Command] = &[
    Command {
        control: true,
        ..screen(
            "pause-resume",
            "pause or resume at the next step",
            pause_or_resume,
        )
    },
    screen(
        "take-control",
        "take control from the client that has it",
        |_| vec![Effect::TakeControl],
    ),
    screen(
        "freeze",
        "freeze the display, or let it follow again",
        |_| vec![Effect::Freeze],
    ),
    screen("dismiss", "dismiss the banner about trouble", |context| {
        if let shown @ Some(_) = context.ui.banner.get() {
            context.ui.dismissed.set(shown);
        }
        Vec::new()
    }),
    screen("redraw", "draw the whole screen again", |_| {
        vec![Effect::Redraw]
    }),
    screen(
        "suspend",
        "suspend to the shell; training continues; fg returns",
        |_| vec![Effect::Suspend],
    ),
    screen(
        "smoothing",
        "smoothing of the training loss: more, less, none",
        chart!(cycle_smoothing),
    ),
    screen("log-scale", "logarithmic loss axis", chart!(toggle_log)),
    screen("x-axis", "x axis: step, tokens, time", chart!(cycle_axis)),
    screen(
        "fit",
        "fit the y axis to most values, or to all",
        chart!(toggle_fit),
    ),
    screen(
        "overlay",
        "show or hide earlier phases on the chart",
        chart!(toggle_overlay),
    ),
    screen(
        "gap-chart",
        "show the gap instead of the loss, where only one chart fits",
        chart!(toggle_gap),
    ),
    screen("zoom in", "zoom in on the chart", chart!(zoom_in)),
    screen("zoom out", "zoom out", chart!(zoom_out)),
    screen(
        "zoom reset",
        "show the whole run, or its present phase again",
        chart!(toggle_whole),
    ),
    screen(
        "pan left",
        "move the zoomed chart back",
        run_chart!(pan_left),
    ),
    screen(
        "pan right",
        "move the zoomed chart forward",
        run_chart!(pan_right),
    ),
    screen(
        "cursor",
        "read every series at a step, or end that",
        run_chart!(toggle_cursor),
    ),
    screen(
        "cursor left",
        "move the cursor back",
        run_chart!(cursor_left),
    ),
    screen(
        "cursor right",
        "move the cursor forward",
        run_chart!(cursor_right),
    ),
    screen("series next", "enlarge the next small chart", |context| {
        let all = overview::small_series(context.run);
        context.ui.chart.next_multiple(all);
        Vec::new()
    }),
    screen(
        "series previous",
        "enlarge the previous small chart",
        |context| {
            let all = overview::small_series(context.run);
            context.ui.chart.previous_multiple(all);
            Vec::new()
        },
    ),
    steer("play", "play or pause", ReplayCommand::PlayPause),
    steer(
        "mark back",
        "previous mark: phase, growth, decision, ...",
        ReplayCommand::PreviousLandmark,
    ),
    steer("mark forward", "next mark", ReplayCommand::NextLandmark),
    steer("event back", "previous event", ReplayCommand::EventBack),
    steer("event forward", "next event", ReplayCommand::EventForward),
    steer("slower", "half the speed", ReplayCommand::Slower),
    steer("faster", "twice the speed", ReplayCommand::Faster),
    steer("start", "jump to the start", ReplayCommand::ToStart),
    steer("end", "jump to the end", ReplayCommand::ToEnd),
    Command {
        words: "tenths N",
        help: "jump to N tenths of the run, 0 to 9",
        control: false,
        run: Run::Tenth,
    },
    Command {
        words: "compare RUN",
        help: "overlay the validation loss of another run; without RUN: remove it",
        control: false,
        run: Run::Compare,
    },
    Command {
        words: "config KEY",
        help: "show a key of this run's config: value and meaning",
        control: false,
        run: Run::Config,
    },
    act("accept", "confirm, or choose", Act::Accept),
    act("back", "back, or close", Act::Back),
    act("next", "next entry, or line", Act::Next),
    act("previous", "previous entry, or line", Act::Previous),
    act("more", "more layers, or steps", Act::More),
    act("less", "fewer layers, or steps", Act::Less),
    act("mode", "growth mode: restart or keep", Act::Mode),
    act("refresh", "gather fresh evidence", Act::Refresh),
    act(
        "complete",
        "complete the word, or the next choice",
        Act::Complete,
    ),
    act("older", "previous command of the history", Act::Older),
    act("newer", "next command of the history", Act::Newer),
    act("page down", "a page down", Act::PageDown),
    act("page up", "a page up", Act::PageUp),
    act("top", "first line", Act::Top),
    act("bottom", "last line, and follow new ones", Act::Bottom),
    act("next match", "next match of the search", Act::NextMatch),
    act(
        "previous match",
        "previous match of the search",
        Act::PreviousMatch,
    ),
    act("wrap", "wrap long lines, or cut them", Act::Wrap),
    act(
        "warnings",
        "show warnings only, or every line",
        Act::Warnings,
    ),
    act("copy", "copy the line to the clipboard (OSC 52)", Act::Copy),
    act(
        "watch",
        "watch the run read-only, without control",
        Act::Watch,
    ),
    act(
        "new run",
        "start a preset or a config, with a name and a policy",
        Act::New,
    ),
];

fn pause_or_resume(context: &mut Context<'_>) -> Vec<Effect> {
    let paused = context.run.core.status == Status::Paused;
    vec![Effect::Send(match paused {
        true => TrainerCommand::Resume,
        false => TrainerCommand::Pause,
    })]
}
