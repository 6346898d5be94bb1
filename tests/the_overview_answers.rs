//! The Overview's text answers an operator's questions in eight states of a realistic run, on a small and on a large terminal. If the
//! small one has no room for an answer, it names the key that shows it.

#[path = "common/expected.rs"]
mod expected;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use expected::{Choice, Expected};
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

/// Returns the rows of the screen after these keys.
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

/// A screen under test, whose text must contain the answers.
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

/// Returns the words that must describe the run's state in the first line.
fn state(moment: Moment) -> &'static [&'static str] {
    match moment {
        Moment::Healthy | Moment::Deciding | Moment::PastTheEnd => {
            &["● TRAIN", "round 2 · 14 layers"]
        }
        Moment::Paused => &["PAUSED"],
        Moment::Nan => &[
            "PAUSED",
            "loss or gradient not finite at step 71,340 of round 2",
        ],
        Moment::Stalled => &["● TRAIN", "no event for 34m"],
        Moment::Interrupted => &["STOPPED"],
        Moment::Done => &["DONE"],
    }
}

/// Returns the figures of a moment's journal, computed without the program's code.
fn expected(moment: Moment) -> Expected {
    let silence = if moment.is_live() {
        moment.silence_ms()
    } else {
        0
    };
    Expected::new(&journal::journal(moment), silence)
}

/// Whether a decision is open, so that it can be answered.
fn is_open(moment: Moment) -> bool {
    matches!(moment, Moment::Deciding | Moment::PastTheEnd)
}

impl Asked {
    /// Checks the figures that every state must show, except the evidence.
    #[track_caller]
    fn has_figures(&self, moment: Moment) {
        let expected = expected(moment);
        self.has("what is the training loss?", &[&expected.train()]);
        self.has(
            "what is the validation loss, and its best?",
            &[&expected.val()],
        );
        self.has("how far from the reference?", &[&expected.gap()]);
        self.has(
            "how old is all this?",
            &expected.ages().each_ref().map(String::as_str),
        );
        match moment {
            _ if moment.is_live() => self.has("who has control?", &["control: you"]),
            Moment::Interrupted => self.has("who has control?", &["read only"]),
            // A run that is over cannot be controlled.
            _ => self.lacks("control: "),
        }
        // A remaining time is known only while the run trains.
        match moment {
            Moment::Healthy | Moment::Stalled => {
                self.has("when is a decision due?", &[&expected.decision_in()]);
                self.has("when is everything done?", &[&expected.done_in()]);
            }
            _ if is_open(moment) => {
                self.has("when is a decision due?", &["decision open: D"]);
                self.has("when is everything done?", &[&expected.done_in()]);
            }
            _ => {
                self.lacks("decision in ");
                self.lacks("done in ");
            }
        }
    }

    #[track_caller]
    fn lacks(&self, words: &str) {
        assert!(
            !self.text.contains(words),
            "{}: {words:?}:\n{}",
            self.name,
            self.text
        );
    }

    /// Checks the evidence with its age, and the cost of each choice.
    #[track_caller]
    fn has_evidence(&self, moment: Moment) {
        let expected = expected(moment);
        let evidence = expected.evidence(is_open(moment));
        self.has("on what does a decision rest?", &[&evidence]);
        for (name, choice) in [
            ("grow 2", Choice::Grow(2)),
            ("train on 50,000", Choice::TrainOn(50_000)),
            ("stop", Choice::Stop),
        ] {
            self.has_row(name, &expected.cells(choice));
        }
    }

    /// Checks a row of a table of choices for exactly these cells.
    #[track_caller]
    fn has_row(&self, name: &str, cells: &[String]) {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = words(&format!("{name} {}", cells.join(" ")));
        let parts = self.text.lines().flat_map(|line| line.split('│'));
        let mut rows = parts.map(words);
        let found = rows.any(|row| row.trim_start_matches("> ") == wanted);
        assert!(found, "{}: no row {wanted:?} in\n{}", self.name, self.text);
    }
}

/// Returns all pages of the info layer.
fn figures(moment: Moment, run: &RunState, size: (u16, u16)) -> Asked {
    let pages = [&["i"][..], &["i", "PgDn"], &["i", "PgDn", "PgDn"]];
    let text = pages.map(|keys| screen(moment, run, size, keys).join("\n"));
    Asked {
        name: moment.name(),
        text: text.join("\n"),
    }
}

#[test]
fn every_state_answers_on_a_large_screen() {
    for moment in Moment::ALL {
        let run = run_at(moment);
        let screen = asked(moment, &run, LARGE, &[]);
        screen.has("what does it do?", state(moment));
        if moment != Moment::Nan {
            screen.has_figures(moment);
        }
        screen.has("how far is the round?", &[&expected(moment).progress()]);
        screen.has("which keys help?", &["? help", "q quit"]);
        match moment {
            // After the end, the result takes the place of the choices.
            Moment::Done => {
                let evidence = expected(moment).evidence(false);
                screen.has("on what did the decision rest?", &[&evidence]);
                screen.has("what came of it?", &["round 2", "round 1", "outcome:"]);
            }
            _ => screen.has_evidence(moment),
        }
        if is_open(moment) {
            screen.has("what may I do?", &["D decide", "p pause", "c ckpt"]);
        }
        let figures = figures(moment, &run, LARGE);
        figures.has_figures(moment);
        figures.has_evidence(moment);
    }
}

#[test]
fn every_state_answers_on_a_small_screen_or_at_one_key() {
    for moment in Moment::ALL {
        let run = run_at(moment);
        let expected = expected(moment);
        let screen = asked(moment, &run, SMALL, &[]);
        screen.has("what does it do?", state(moment));
        screen.has("how far is the round?", &[&expected.progress()]);
        screen.has("where is the rest?", &["i info"]);
        // The reason of an unexpected pause takes the place of the losses.
        if moment != Moment::Nan {
            let losses = [expected.train(), expected.val(), expected.gap()];
            screen.has(
                "what are the losses?",
                &losses.each_ref().map(String::as_str),
            );
        }
        let figures = figures(moment, &run, SMALL);
        figures.has_figures(moment);
        figures.has_evidence(moment);
    }
}

#[test]
fn every_choice_has_its_cost_and_it_follows_the_amount() {
    let moment = Moment::Deciding;
    let run = run_at(moment);
    let expected = expected(moment);
    let cases: [(&[&str], &str, Choice, &str); 6] = [
        (
            &["D"],
            "grow by 2 (restart)",
            Choice::Grow(2),
            "Grow by 2 layers (restart)?",
        ),
        (
            &["D", "+"],
            "grow by 3 (restart)",
            Choice::Grow(3),
            "Grow by 3 layers (restart)?",
        ),
        (
            &["D", "-", "m"],
            "grow by 1 (keep)",
            Choice::Grow(1),
            "Grow by 1 layer (keep)?",
        ),
        (
            &["D", "j"],
            "train on 50,000 steps",
            Choice::TrainOn(50_000),
            "Train on for 50,000 steps?",
        ),
        (
            &["D", "j", "+"],
            "train on 100,000 steps",
            Choice::TrainOn(100_000),
            "Train on for 100,000 steps?",
        ),
        (
            &["D", "j", "j"],
            "stop growing",
            Choice::Stop,
            "Stop growing?",
        ),
    ];
    for (keys, name, choice, question) in cases {
        let sentence = expected.sentence(choice);
        for size in [SMALL, (120, 40), LARGE] {
            let prompt = asked(moment, &run, size, keys);
            match size {
                // Next to the evidence a long name is wrapped.
                SMALL => prompt.has(
                    "what does it cost?",
                    &[name.get(..16).unwrap_or(name), &sentence],
                ),
                _ => prompt.has_row(name, &expected.cells(choice)),
            }
            let confirming = asked(moment, &run, size, &[keys, &["Enter"]].concat());
            let repeated = expected.repeated(choice);
            let repeated: Vec<&str> = repeated.iter().map(String::as_str).collect();
            confirming.has("what does it cost?", &repeated);
            confirming.has("what am I about to do?", &[question]);
        }
        // A sentence that is wrapped in a narrow panel is complete.
        for size in [(60, 15), (40, 12)] {
            for confirming in [false, true] {
                let enter: &[&str] = if confirming { &["Enter"] } else { &[] };
                let mut prompt = asked(moment, &run, size, &[keys, enter].concat());
                let words = prompt.text.replace('│', " ");
                prompt.text = words.split_whitespace().collect::<Vec<_>>().join(" ");
                match confirming {
                    false => prompt.has("what does it cost?", &[&sentence]),
                    true => {
                        let repeated = expected.repeated(choice);
                        let repeated: Vec<&str> = repeated.iter().map(String::as_str).collect();
                        prompt.has("what does it cost?", &repeated);
                    }
                }
            }
        }
    }
}

/// Returns the rows inside each panel, whose frame begins at a `┌`.
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
