//! What an operator asks of the Overview is answered in the text of the screen, in eight states of a realistic run, on a
//! small terminal and on a large one. What the small one has no room for is one named key away.

#[path = "fixtures/journal/mod.rs"]
mod journal;

use heirloom::dashboard::glyphs::Glyphs;
use heirloom::dashboard::theme::Theme;
use heirloom::dashboard::{Stage, still_in};
use heirloom::run::event::Event;
use heirloom::run::state::RunState;
use journal::Moment;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn run_at(moment: Moment) -> RunState {
    let mut run = RunState::default();
    for line in journal::journal(moment).lines() {
        run.apply(&Event::from_line(line).unwrap());
    }
    run
}

/// The rows of the screen after these keys.
fn screen(moment: Moment, run: &RunState, size: (u16, u16), keys: &[&str]) -> Vec<String> {
    let theme = Theme::mono();
    let stage = Stage {
        theme: &theme,
        glyphs: Glyphs::Braille,
        title: "untitled",
        clock: moment.is_live().then(|| run.t + moment.silence_ms()),
        owner: moment.is_live(),
        keys,
    };
    let frame = still_in(run, size, &stage).unwrap();
    let rows = frame.content().chunks(usize::from(size.0));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect())
        .collect()
}

/// A screen under test: what is asked of it must be in its text.
struct Asked {
    name: &'static str,
    text: String,
}

impl Asked {
    #[track_caller]
    fn has(&self, question: &str, words: &[&str]) {
        for word in words {
            assert!(
                self.text.contains(word),
                "{}: {question}: {word:?} is not in\n{}",
                self.name,
                self.text
            );
        }
    }
}

fn asked(moment: Moment, run: &RunState, size: (u16, u16), keys: &[&str]) -> Asked {
    Asked {
        name: moment.name(),
        text: screen(moment, run, size, keys).join("\n"),
    }
}

/// State, step of the round and its budget as extended, training loss, validation loss, its best and that one's step, gap
/// with its error; in each state what differs.
fn answers(moment: Moment) -> [&'static [&'static str]; 6] {
    match moment {
        Moment::Healthy => [
            &["TRAIN", "round 2"],
            &["62,300/100,000"],
            &["train 2.9"],
            &["val 2.9"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Deciding => [
            &["TRAIN", "round 2"],
            &["100,300/100,000"],
            &["train 2.8"],
            &["val 2.8997"],
            &["best"],
            &["gap +0.0122", "±0.0022"],
        ],
        Moment::PastTheEnd => [
            &["TRAIN", "round 2"],
            &["103,400/100,000"],
            &["train 2.8"],
            &["val 2.8"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Paused => [
            &["PAUSED"],
            &["64,200/120,000"],
            &["train 2.9"],
            &["val 2.9"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Nan => [
            &["PAUSED", "because loss or gradient is not finite"],
            &["71,340/100,000"],
            &["train not finite @71,340"],
            &["val 2.9"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Stalled => [
            &["no event for 34m"],
            &["66,800/100,000"],
            &["train 2.9"],
            &["val 2.9"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Interrupted => [
            &["INTERRUPTED"],
            &["68,040/100,000"],
            &["train 2.9"],
            &["val 2.9"],
            &["best"],
            &["gap +0.0", "±0.0022"],
        ],
        Moment::Done => [
            &["DONE"],
            &["100,000"],
            &["train 2."],
            &["val 2."],
            &["best"],
            &["gap "],
        ],
    }
}

const QUESTIONS: [&str; 6] = [
    "what does it do?",
    "how far is the round?",
    "what is the training loss?",
    "what is the validation loss?",
    "which was the best, and when?",
    "how far from the reference?",
];

#[test]
fn every_state_answers_on_a_large_screen() {
    for moment in Moment::ALL {
        let run = run_at(moment);
        let screen = asked(moment, &run, LARGE, &[]);
        for (question, words) in QUESTIONS.iter().zip(answers(moment)) {
            screen.has(question, words);
        }
        screen.has("how old is all this?", &["eval ", "ckpt ", " ago"]);
        screen.has("which keys help?", &["? help", "q quit"]);
        if moment.is_live() {
            screen.has("who has control?", &["control: you"]);
        } else {
            screen.has("what came of it?", &["round 2", "round 1"]);
        }
        screen.has("on what does a decision rest?", &["evidence of round"]);
        if matches!(moment, Moment::Healthy | Moment::Stalled) {
            screen.has("when is a decision due?", &["decision in "]);
        }
        if matches!(moment, Moment::Deciding | Moment::PastTheEnd) {
            screen.has("when is a decision due?", &["decision open: D"]);
            screen.has("what may I do?", &["D decide", "p pause", "c ckpt"]);
        }
    }
}

#[test]
fn every_state_answers_on_a_small_screen_or_at_one_key() {
    for moment in Moment::ALL {
        let run = run_at(moment);
        let screen = asked(moment, &run, SMALL, &[]);
        let [state, step, ..] = answers(moment);
        screen.has(QUESTIONS[0], state);
        screen.has(QUESTIONS[1], step);
        screen.has("where is the rest?", &["i info"]);
        let info = asked(moment, &run, SMALL, &["i"]);
        // The reason of a pause that nobody asked for takes the place of the losses.
        let losses = match moment {
            Moment::Nan => &info,
            _ => &screen,
        };
        for (question, words) in QUESTIONS.iter().zip(answers(moment)).skip(2) {
            losses.has(question, words);
        }
        info.has("how old is all this?", &["eval ", "ckpt ", " ago"]);
        if moment.is_live() {
            info.has("who has control?", &["control: you"]);
        }
    }
}

#[test]
fn the_end_of_the_recipe_and_the_next_decision_have_a_time() {
    for size in [SMALL, LARGE] {
        let moment = Moment::Healthy;
        let run = run_at(moment);
        let keys: &[&str] = if size == SMALL { &["i"] } else { &[] };
        let screen = asked(moment, &run, size, keys);
        screen.has("when is a decision due?", &["decision in 9h"]);
        screen.has("when is everything done?", &["done in ~"]);
    }
}

#[test]
fn evidence_says_its_step_and_its_age_once_an_evaluation_is_newer() {
    let moment = Moment::PastTheEnd;
    let run = run_at(moment);
    let decision = run.core.decision.as_ref().unwrap();
    assert!(run.core.eval.is_some_and(|e| e.step > decision.step));
    let step = format!("round 2 step {}", decision.phase_step);
    let step = step.replace("100000", "100,000");
    for (size, keys) in [(SMALL, &["i"][..]), (LARGE, &[][..])] {
        let text = asked(moment, &run, size, keys).text;
        assert!(text.contains(&step), "{step}:\n{text}");
        assert!(text.contains("3,400 steps old"), "{text}");
    }
}

#[test]
fn every_choice_has_its_cost_and_it_follows_the_amount() {
    let moment = Moment::Deciding;
    let run = run_at(moment);
    let costs = &run.core.decision.as_ref().unwrap().evidence.costs;
    let layers = costs[0].layers;
    for size in [SMALL, LARGE] {
        let of = |keys: &[&str]| asked(moment, &run, size, keys);
        let two = of(&["D"]);
        two.has(
            "what does growing by 2 cost?",
            &[&format!("{layers}→{}", layers + 2)],
        );
        let three = of(&["D", "+"]);
        let cost = &costs[3];
        three.has(
            "what does growing by 3 cost?",
            &[
                &format!("{layers}→{}", cost.layers),
                &heirloom::run::table::count(cost.parameters),
                &heirloom::run::table::bytes(cost.memory_bytes),
                &heirloom::run::table::count(cost.tokens_per_second as u64),
            ],
        );
        // The duration and the hour at which it would be over.
        assert!(
            three.text.contains("h") && three.text.contains(':'),
            "{}",
            three.text
        );
        let longer = of(&["D", "j", "+"]);
        assert_ne!(of(&["D", "j"]).text, longer.text);
        longer.has("what does training on cost?", &["100000 steps"]);
        let confirming = of(&["D", "+", "Enter"]);
        confirming.has(
            "what am I about to do?",
            &["Grow by 3 layers", &format!("{layers}→{}", cost.layers)],
        );
    }
}

/// The rows of each panel's inside, where a panel's frame begins at a `┌`.
fn panels(rows: &[String]) -> Vec<(String, Vec<String>)> {
    let cells: Vec<Vec<char>> = rows.iter().map(|r| r.chars().collect()).collect();
    let at = |y: usize, x: usize| cells.get(y).and_then(|row| row.get(x)).copied();
    let mut panels = Vec::new();
    for y in 0..cells.len() {
        for x in 0..cells[y].len() {
            if at(y, x) != Some('┌') {
                continue;
            }
            let right = (x + 1..cells[y].len()).find(|&r| at(y, r) == Some('┐'));
            let bottom = (y + 1..cells.len()).find(|&b| at(b, x) == Some('└'));
            let (Some(right), Some(bottom)) = (right, bottom) else {
                continue;
            };
            let part = |y: usize| cells[y][x + 1..right].iter().collect::<String>();
            panels.push((part(y), (y + 1..bottom).map(part).collect()));
        }
    }
    panels
}

#[test]
fn a_large_screen_is_used() {
    let moment = Moment::Healthy;
    let rows = screen(moment, &run_at(moment), LARGE, &[]);
    let blank: usize = rows
        .iter()
        .map(|row| row.chars().filter(|c| *c == ' ').count())
        .sum();
    let share = blank as f64 / f64::from(u32::from(LARGE.0) * u32::from(LARGE.1));
    assert!(
        share <= 0.6,
        "{:.1} % of the cells are blank",
        100.0 * share
    );
    let panels = panels(&rows);
    assert!(panels.len() >= 5, "{panels:?}");
    for (title, inside) in panels {
        let empty = inside.iter().filter(|row| row.trim().is_empty()).count();
        assert!(
            2 * empty <= inside.len(),
            "{title}: {empty} of {} rows are empty",
            inside.len()
        );
    }
}
