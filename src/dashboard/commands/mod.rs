//! The table of all commands: the screen's own, those that open a view or a layer, and those of the trainer, which `heirloom ctl`
//! also accepts. Keys, the command line, its completion, the help and `docs/keys.md` are made from it.

pub mod preflight;
mod table;

use self::table::{OWN, Run};
use super::keys::Entry;
use super::layers::{self, Layer, Opening};
use super::message::{Act, Effect};
use super::replay::ReplayCommand;
use super::ui::Context;
use super::views;
use crate::run::command::Command as TrainerCommand;
use crate::run::words::{self, USAGES};

/// Returns the commands of the screen itself, with their help.
pub fn own() -> Vec<Entry> {
    let entry = |words: String, help| Entry { words, help };
    let layers = layers::all().map(|l| entry(l.id.into(), l.help));
    let views = views::all().map(|v| entry(format!("view {}", v.id), v.help));
    let typed = OWN.iter().filter(|c| !matches!(c.run, Run::Act(_)));
    let typed = typed.map(|c| entry(c.words.into(), c.help));
    layers.chain(views).chain(typed).collect()
}

/// Returns all commands that can be typed, the trainer's first.
pub fn listed() -> Vec<Entry> {
    let trainer = USAGES.iter().map(|u| Entry {
        words: u.words.into(),
        help: u.help,
    });
    trainer.chain(own()).collect()
}

/// Returns the help of a command, found by its fixed words.
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

/// Returns the action that a command asks of a list or a layer, if any.
pub fn act_of(words: &str) -> Option<Act> {
    let own = OWN.iter().find(|c| c.words == words)?;
    match own.run {
        Run::Act(act) => Some(act),
        _ => None,
    }
}

/// The outcome of a command.
#[derive(Debug)]
pub enum Ran {
    Done(Vec<Effect>),
    /// Show this answer.
    Show(String),
    /// Open this layer.
    Opened(Box<dyn Layer>),
    /// An action for the layer on top, else for the view.
    Act(Act),
    /// The command ends, replaces or undoes training, so it must be confirmed first.
    Ask(TrainerCommand),
}

/// Runs a typed command.
///
/// # Errors
/// When the command is not valid; the error has its usage.
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
        return Ok(match (layer.open)(context) {
            Opening::Layer(layer) => Ran::Opened(layer),
            Opening::Effects(effects) => Ran::Done(effects),
        });
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
        return steered(context, ReplayCommand::ToTenth(tenths));
    }
    match words[..] {
        ["compare"] => return Ok(Ran::Done(vec![Effect::Compare(None)])),
        ["compare", ref name @ ..] => {
            let name = context.facts.nearby.find_run(&name.join(" "))?;
            return Ok(Ran::Done(vec![Effect::Compare(Some(name))]));
        }
        ["config", ref key @ ..] => {
            let text = context.facts.nearby.describe_key(&key.join(" "))?;
            return Ok(Ran::Show(text));
        }
        _ => {}
    }
    if let Some(own) = OWN.iter().find(|c| c.words == joined) {
        return match own.run {
            Run::Screen(f) => Ok(Ran::Done(f(context))),
            Run::ReplayCommand(to) => steered(context, to),
            Run::Act(act) => Ok(Ran::Act(act)),
            Run::Tenth | Run::Compare | Run::Config => Err(format!("write it as `{}`", own.words)),
        };
    }
    let command = words::parse(&words).map_err(|error| suggestion(&joined).unwrap_or(error))?;
    if let Some(why) = context.facts.locked(context.run) {
        context.ui.notice = Some(why);
        return Ok(Ran::Done(Vec::new()));
    }
    Ok(match words::is_drastic(&command) {
        true => {
            let nearby = &context.facts.nearby;
            let is_kept = |name: &str| nearby.is_kept(name);
            let listed = nearby.kept.is_some();
            preflight::check(context.run, listed.then_some(&is_kept), &command)?;
            Ran::Ask(command)
        }
        false => Ran::Done(vec![Effect::Send(command)]),
    })
}

/// Returns the screen's command that is most similar to an unknown one.
fn suggestion(line: &str) -> Option<String> {
    let own: Vec<Entry> = own();
    let score = |e: &Entry| strsim::normalized_damerau_levenshtein(&e.fixed(), line);
    let near = own.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    let mut trainer = USAGES.iter().filter_map(|u| u.words.split(' ').next());
    let first = line.split(' ').next().unwrap_or_default();
    // The parser of the trainer's commands has a better suggestion.
    if trainer.any(|name| {
        name == first || strsim::normalized_damerau_levenshtein(name, first) >= score(near)
    }) {
        return None;
    }
    (score(near) >= 0.6).then(|| format!("{line:?} is not a command; did you mean {}?", near.words))
}

fn steered(context: &mut Context<'_>, to: ReplayCommand) -> Result<Ran, String> {
    match context.facts.replay {
        Some(_) => Ok(Ran::Done(vec![Effect::ReplayCommand(to)])),
        None => Err("only a replay can be moved in time".into()),
    }
}
