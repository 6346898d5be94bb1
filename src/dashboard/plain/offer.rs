//! Choices as plain lines: a decision's choices with their costs, and the commands that end a pause.

use super::place::{Answers, present_place};
use crate::dashboard::costs::{Choice, Cost};
use crate::dashboard::layers::decision::{Decision, Entry};
use crate::run::dir::RunDir;
use crate::run::event::{DecisionReason, Phase, Prospect, Suggestion};
use crate::run::order::Comparison;
use crate::run::show::{self, duration};
use crate::run::state::{OpenDecision, RunState};
use crate::run::table;
use crate::run::trouble::{Good, Help, Kind, Trouble};
use crate::run::words::MOST_LR;

/// Asks for an answer, below the numbered choices.
pub const PROMPT: &str = "Number, or a command such as `grow 2 keep`; ? lists the commands";

/// Returns the suggestion and its reason, for a run at step `now` (over all phases).
pub fn headline(open: &OpenDecision, now: u64) -> String {
    let e = &open.evidence;
    let suggested = match e.suggestion {
        Suggestion::Grow => "grow suggested: ",
        Suggestion::Stop => "stop suggested: ",
        Suggestion::TrainOn => "train on suggested: ",
        Suggestion::Rollback => "rollback suggested: ",
        Suggestion::InsufficientData => "nothing suggested: ",
    };
    format!(
        "decision of round {} ({}): {suggested}{}{}",
        e.round,
        open.reason,
        e.why,
        age_words(open.age(now))
    )
}

/// Returns ` (on evidence 20 steps old)`, or an empty text for fresh evidence.
pub fn age_words(age: u64) -> String {
    match age {
        0 => String::new(),
        1 => " (on evidence 1 step old)".into(),
        age => format!(" (on evidence {age} steps old)"),
    }
}

/// Whether the policy answers a decision as soon as it opens.
pub fn is_decided_at_once(state: &RunState, open: &OpenDecision) -> bool {
    policy(state) == "auto" && open.reason == DecisionReason::EndOfSteps
}

fn policy(state: &RunState) -> &str {
    state.info.as_ref().map_or("", |info| &info.policy)
}

/// A run's state, its directory, and the ways to answer.
pub struct Desk<'a> {
    pub state: &'a RunState,
    pub dir: &'a RunDir,
    pub answers: Answers<'a>,
}

impl Desk<'_> {
    /// Returns the lines of an open decision's choices and, if they are numbered, the decision that the numbers answer.
    pub fn of_decision(&self, open: &OpenDecision) -> (Vec<String>, Option<Decision>) {
        // Returns before the disk is read, because the caller may hold the lock of the state.
        if self.answers == Answers::No {
            return (Vec::new(), None);
        }
        let state = self.state;
        let prompt = Decision::new(open, state, &|name| show::is_kept(self.dir, name));
        let choices = || {
            let entries = prompt.entries.iter();
            entries
                .filter_map(|entry| Some((command(&prompt, *entry)?, text(state, &prompt, *entry))))
        };
        match self.answers {
            Answers::No => (Vec::new(), None),
            Answers::Typed => (numbered(state, &prompt), Some(prompt)),
            // A decision that the run does not wait for takes one line.
            Answers::Commands(run) if open.reason != DecisionReason::EndOfSteps => {
                let all: Vec<String> = choices()
                    .map(|(words, _)| format!("heirloom ctl {run} {words}"))
                    .collect();
                let line = format!("answer, or training continues: {}", all.join(" | "));
                (vec![line], None)
            }
            Answers::Commands(run) => {
                let line = |(words, text)| format!("answer: {text}: heirloom ctl {run} {words}");
                (choices().map(line).collect(), None)
            }
        }
    }

    /// Returns the commands that end a pause, or help against its reason.
    pub fn of_pause(&self, why: Option<&str>) -> Vec<String> {
        let (state, core) = (self.state, &self.state.core);
        // Some reasons already contain their commands.
        if self.answers == Answers::No || why.is_some_and(|why| why.contains("heirloom ctl")) {
            return Vec::new();
        }
        let trouble = Trouble::of(state, None, &|name| show::is_kept(self.dir, name));
        let trouble = trouble.filter(|t| matches!(t.kind, Kind::NotFinite | Kind::Diverged));
        let helps = trouble.map_or_else(Vec::new, |t| t.helps);
        let in_round = matches!(&core.phase, Some(now) if matches!(now.phase, Phase::Round(_)));
        let due = core.phase.as_ref().map_or(u64::MAX, |now| now.due);
        let waits = matches!(&core.decision, Some(open) if open.phase_step >= due);
        let mut all = Vec::new();
        // Under the policy `pause`, a decision that is due must be answered first.
        if !(waits && policy(state) == "pause") {
            let what = match helps.contains(&Help::NextBatch) {
                true => "continue with the next batch",
                false => "continue training",
            };
            all.push(("resume".to_string(), what.to_string()));
        }
        for help in &helps {
            match help {
                Help::RollBack(good) => {
                    let words = format!("rollback {}", good.checkpoint);
                    all.push((words, format!("go back to {}", good.words())));
                }
                Help::LowerRate(lr) => {
                    let lr = lr.min(MOST_LR);
                    let what = "lower the learning rate, before one of the others";
                    all.push((format!("set lr {lr:.2e}"), what.into()));
                }
                Help::NextBatch | Help::TryNow | Help::Resume => {}
            }
        }
        if in_round && core.decision.is_none() && why.is_some() && helps.is_empty() {
            let what = "gather evidence and open a decision".to_string();
            all.push(("decide".into(), what));
        }
        let line = |(words, what): (String, String)| match self.answers {
            Answers::No => None,
            Answers::Commands(run) => Some(format!("answer: {what}: heirloom ctl {run} {words}")),
            Answers::Typed => Some(format!("  {words}: {what}")),
        };
        all.into_iter().filter_map(line).collect()
    }
}

/// Returns the numbered choices and the line that asks for one.
pub fn numbered(state: &RunState, prompt: &Decision) -> Vec<String> {
    let entries = prompt.entries.iter().zip(1..);
    let mut lines: Vec<String> = entries
        .map(|(entry, n)| format!("  {n} {}", text(state, prompt, *entry)))
        .collect();
    lines.push(PROMPT.into());
    lines
}

/// Returns the command with the same effect as a choice.
fn command(prompt: &Decision, entry: Entry) -> Option<String> {
    match entry {
        Entry::Grow => Some(format!("grow {} {}", prompt.layers, prompt.mode)),
        Entry::TrainOn => Some(format!("train-on {}", prompt.steps)),
        Entry::Stop => Some("stop".into()),
        Entry::Rollback => {
            let good = prompt.good.as_ref()?;
            Some(format!("rollback {}", good.checkpoint))
        }
        Entry::Cancel => None,
    }
}

/// Describes a choice, its cost and its expected result.
fn text(state: &RunState, prompt: &Decision, entry: Entry) -> String {
    let cost = |choice| cost_words(&Cost::of(state, Some(&prompt.decision.evidence), choice));
    let expected = |prospect| {
        let forecast = state.prospect(prospect).filter(|f| f.final_loss.is_some());
        forecast.map_or(String::new(), |f| format!(", forecast: {}", f.words()))
    };
    match entry {
        Entry::Grow => format!(
            "grow by {} ({}): {}{}",
            table::plural(prompt.layers, "layer"),
            prompt.mode,
            cost(Choice::Grow(prompt.layers)),
            expected(Prospect::Grow {
                layers: prompt.layers
            }),
        ),
        Entry::TrainOn => format!(
            "train on for {} steps: {}{}",
            prompt.steps,
            cost(Choice::TrainOn(prompt.steps)),
            expected(Prospect::TrainOn {
                steps: prompt.steps
            }),
        ),
        Entry::Stop => format!("stop growing: {}", result_words(state)),
        Entry::Rollback => {
            let good = prompt.good.as_ref().map(Good::words);
            format!("go back to {}", good.unwrap_or_default())
        }
        Entry::Cancel => "decide later".into(),
    }
}

/// Describes the effect of a stop: `the present model of 4 layers is the result, then 2 controls`.
pub fn result_words(state: &RunState) -> String {
    let layers = state.core.phase.as_ref().map_or(0, |now| now.layers);
    let all = state.info.as_ref().map_or(Vec::new(), Comparison::of_run);
    let is_control = |c: &&Comparison| matches!(c.phase, Phase::Control(_));
    let controls = all.iter().filter(is_control).count();
    let baselines = all.len() - controls;
    let result = format!(
        "the present model of {} is the result",
        table::plural(layers, "layer")
    );
    let mut after = Vec::new();
    for (n, what) in [(controls, "control"), (baselines, "baseline phase")] {
        if n > 0 {
            after.push(table::plural(n, what));
        }
    }
    match after.is_empty() {
        true => result,
        false => format!("{result}, then {}", after.join(" and ")),
    }
}

/// Returns `4 to 6 layers, 1.25M parameters, 61 MB, about 12 s`, without the figures that are unknown.
pub fn cost_words(cost: &Cost) -> String {
    let (before, after) = cost.layers;
    let layers = table::plural(after, "layer");
    let mut parts = vec![match before == after {
        true => layers,
        false => format!("{before} to {layers}"),
    }];
    let parameters = cost
        .parameters
        .map(|n| format!("{} parameters", table::count(n)));
    parts.extend(parameters);
    parts.extend(cost.bytes.map(table::bytes));
    let seconds = cost.seconds.filter(|s| *s > 0.0);
    parts.extend(seconds.map(|s| format!("about {}", duration(s))));
    parts.join(", ")
}

/// Returns the place at which a command will take effect: `at round-1 step 90/300`.
pub fn at(state: &RunState) -> String {
    format!("at {}", present_place(state))
}
