//! The one table of commands: the screen's own, those that open a view or a layer, and those of the trainer, which
//! `heirloom ctl` takes, too. Keys, the command line, its completion, the help and `docs/keys.md` are made from it.

use super::layers;
use super::replay::Steer;
use super::update::{Context, Effect};
use super::view::overview;
use super::views;
use crate::run::command::Command as TrainerCommand;
use crate::run::state::Status;
use crate::run::words::{self, USAGES};

/// What a layer or a view is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Accept,
    Back,
    Next,
    Previous,
    More,
    Less,
    Mode,
    Refresh,
    Complete,
    Older,
    Newer,
    PageDown,
    PageUp,
    Top,
    Bottom,
    NextMatch,
    PreviousMatch,
    Wrap,
    Warnings,
}

/// How a command is carried out.
enum Run {
    Screen(fn(&mut Context<'_>) -> Vec<Effect>),
    Steer(Steer),
    /// With the number that stands for N.
    Tenth,
    /// For the layer on top, else for the view; not to be typed.
    Act(Act),
}

/// A command of the screen.
struct Command {
    /// The words that stand fixed, and after them names of arguments in capitals.
    words: &'static str,
    help: &'static str,
    /// Needs a trainer that takes commands.
    control: bool,
    run: Run,
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

const fn steer(words: &'static str, help: &'static str, steer: Steer) -> Command {
    Command {
        words,
        help,
        control: false,
        run: Run::Steer(steer),
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

/// A change of the chart alone.
macro_rules! chart {
    ($method:ident) => {
        |context| {
            context.ui.chart.$method();
            Vec::new()
        }
    };
}

/// The same for one that looks at the run.
macro_rules! run_chart {
    ($method:ident) => {
        |context| {
            context.ui.chart.$method(context.run);
            Vec::new()
        }
    };
}

const OWN: &[Command] = &[
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
    screen("redraw", "draw the whole screen again", |_| {
        vec![Effect::Redraw]
    }),
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
        "earlier phases over the present one, or not",
        chart!(toggle_overlay),
    ),
    screen(
        "gap-chart",
        "the gap in place of the loss, where one chart has room",
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
    screen("series next", "enlarge the next small series", |context| {
        context.ui.chart.next_multiple(overview::SERIES);
        Vec::new()
    }),
    screen(
        "series previous",
        "enlarge the small series before it",
        |context| {
            context.ui.chart.previous_multiple(overview::SERIES);
            Vec::new()
        },
    ),
    steer("play", "play or pause", Steer::PlayPause),
    steer(
        "mark back",
        "back to the last mark: phase, growth, decision, ...",
        Steer::PreviousLandmark,
    ),
    steer("mark forward", "on to the next mark", Steer::NextLandmark),
    steer("event back", "one event back", Steer::EventBack),
    steer("event forward", "one event on", Steer::EventForward),
    steer("slower", "half the speed", Steer::Slower),
    steer("faster", "twice the speed", Steer::Faster),
    steer("start", "to the start", Steer::ToStart),
    steer("end", "to the end", Steer::ToEnd),
    Command {
        words: "tenths N",
        help: "to so many tenths of the run",
        control: false,
        run: Run::Tenth,
    },
    act("accept", "do it", Act::Accept),
    act("back", "back, or close", Act::Back),
    act("next", "next entry, or line", Act::Next),
    act("previous", "previous entry, or line", Act::Previous),
    act("more", "more layers, or steps", Act::More),
    act("less", "fewer layers, or steps", Act::Less),
    act("mode", "growth mode: restart or keep", Act::Mode),
    act("refresh", "gather fresh evidence", Act::Refresh),
    act("complete", "complete the word", Act::Complete),
    act("older", "the line before", Act::Older),
    act("newer", "the line after", Act::Newer),
    act("page down", "a page down", Act::PageDown),
    act("page up", "a page up", Act::PageUp),
    act("top", "to the first line", Act::Top),
    act("bottom", "to the last line, and follow", Act::Bottom),
    act(
        "next match",
        "next line that was searched for",
        Act::NextMatch,
    ),
    act(
        "previous match",
        "previous line that was searched for",
        Act::PreviousMatch,
    ),
    act("wrap", "wrap long lines, or cut them", Act::Wrap),
    act("warnings", "warnings alone, or every line", Act::Warnings),
];

/// A command as the help and the completion show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub words: String,
    pub help: &'static str,
}

impl Entry {
    /// Its words up to the first argument.
    pub fn fixed(&self) -> String {
        let is_fixed = |w: &&str| !w.contains(|c: char| c.is_uppercase() || c == '[');
        let words: Vec<&str> = self.words.split(' ').take_while(is_fixed).collect();
        words.join(" ")
    }
}

/// What the screen runs of its own: name and help.
pub fn own() -> Vec<Entry> {
    let entry = |words: String, help| Entry { words, help };
    let layers = layers::all().map(|l| entry(l.id.into(), l.help));
    let views = views::all().map(|v| entry(format!("view {}", v.id), v.help));
    let typed = OWN.iter().filter(|c| !matches!(c.run, Run::Act(_)));
    let typed = typed.map(|c| entry(c.words.into(), c.help));
    layers.chain(views).chain(typed).collect()
}

/// Everything that can be typed: the trainer's commands first.
pub fn listed() -> Vec<Entry> {
    let trainer = USAGES.iter().map(|u| Entry {
        words: u.words.into(),
        help: u.help,
    });
    trainer.chain(own()).collect()
}

/// What a command does, by its fixed words.
pub fn help_of(words: &str) -> Option<&'static str> {
    let own = OWN.iter().find(|c| c.words == words).map(|c| c.help);
    own.or_else(|| {
        listed()
            .into_iter()
            .find(|e| e.words == words)
            .map(|e| e.help)
    })
}

/// Whether a command needs a trainer that takes commands.
pub fn needs_control(words: &str) -> bool {
    let own = OWN.iter().find(|c| c.words == words).map(|c| c.control);
    let layer = layers::all().find(|l| l.id == words).map(|l| l.control);
    own.or(layer)
        .unwrap_or_else(|| USAGES.iter().any(|u| u.words == words))
}

/// What a command asks of a list or a layer, if it is one that does.
pub fn act_of(words: &str) -> Option<Act> {
    let own = OWN.iter().find(|c| c.words == words)?;
    match own.run {
        Run::Act(act) => Some(act),
        _ => None,
    }
}

/// The outcome of a command.
#[derive(Debug, PartialEq)]
pub enum Ran {
    Done(Vec<Effect>),
    /// It ends, replaces or undoes what is trained: it is to be confirmed first.
    Ask(TrainerCommand),
}

/// Runs a command in words.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn run(context: &mut Context<'_>, line: &str) -> Result<Ran, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let joined = words.join(" ");
    if needs_control(&joined)
        && let Some(why) = context.facts.locked(context.run)
    {
        context.ui.notice = Some(why);
        return Ok(Ran::Done(Vec::new()));
    }
    if let Some(layer) = layers::all().find(|l| l.id == joined) {
        return Ok(Ran::Done((layer.open)(context)));
    }
    if let ["view", id] = words[..] {
        let Some(view) = views::all().find(|v| v.id == id) else {
            let all: Vec<&str> = views::all().map(|v| v.id).collect();
            return Err(format!("view: {id:?} is not one of {}", all.join(", ")));
        };
        context.ui.view = view.id;
        return Ok(Ran::Done(Vec::new()));
    }
    if let ["tenths", n] = words[..] {
        let tenths = n.parse().ok().filter(|&n: &u8| n < 10);
        let tenths = tenths.ok_or_else(|| format!("tenths: {n:?} is not a number from 0 to 9"))?;
        return steered(context, Steer::ToTenth(tenths));
    }
    if let Some(own) = OWN.iter().find(|c| c.words == joined) {
        return match own.run {
            Run::Screen(f) => Ok(Ran::Done(f(context))),
            Run::Steer(to) => steered(context, to),
            Run::Act(act) => Ok(Ran::Done(acted(context, act))),
            Run::Tenth => Err(format!("say it as `{}`", own.words)),
        };
    }
    let command = words::parse(&words).map_err(|error| suggestion(&joined).unwrap_or(error))?;
    if let Some(why) = context.facts.locked(context.run) {
        context.ui.notice = Some(why);
        return Ok(Ran::Done(Vec::new()));
    }
    Ok(match words::is_drastic(&command) {
        true => Ran::Ask(command),
        false => Ran::Done(vec![Effect::Send(command)]),
    })
}

/// The own command that was probably meant.
fn suggestion(line: &str) -> Option<String> {
    let own: Vec<Entry> = own();
    let score = |e: &Entry| strsim::normalized_damerau_levenshtein(&e.fixed(), line);
    let near = own.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    let mut trainer = USAGES.iter().filter_map(|u| u.words.split(' ').next());
    let first = line.split(' ').next().unwrap_or_default();
    // The trainer's words have their own, better answer.
    if trainer.any(|name| {
        name == first || strsim::normalized_damerau_levenshtein(name, first) >= score(near)
    }) {
        return None;
    }
    (score(near) >= 0.6).then(|| format!("{line:?} is not a command; did you mean {}?", near.words))
}

fn steered(context: &mut Context<'_>, to: Steer) -> Result<Ran, String> {
    match context.facts.replay {
        Some(_) => Ok(Ran::Done(vec![Effect::Steer(to)])),
        None => Err("only a replay can be moved in time".into()),
    }
}

fn acted(context: &mut Context<'_>, act: Act) -> Vec<Effect> {
    if context.ui.layers.top().is_some() {
        return layers::act(context, act);
    }
    let view = views::all().find(|v| v.id == context.ui.view);
    if let Some(view) = view {
        (view.act)(context, act);
    }
    Vec::new()
}

fn pause_or_resume(context: &mut Context<'_>) -> Vec<Effect> {
    let paused = context.run.core.status == Status::Paused;
    vec![Effect::Send(match paused {
        true => TrainerCommand::Resume,
        false => TrainerCommand::Pause,
    })]
}
