//! Tests evidence on screen: its age, figures that are not finite, and ends that were postponed.

use super::*;
use crate::run::event::{Answer, CommandGiven, Evaluation, NonFinite, RunEvent};

impl Story {
    /// Returns a run with an open decision, which has trained 100 steps since.
    fn aged() -> Self {
        let mut story = Self::deciding();
        story.train(100, 4, |_| 1.96);
        story
    }

    fn asked(&mut self, command: Command) {
        self.emit(Body::Command(CommandGiven {
            id: 7,
            by: By::Keyboard,
            command,
            pid: None,
        }));
        self.emit(Body::Answer(Answer {
            id: 7,
            applied: true,
            message: "done".into(),
            change: None,
        }));
    }
}

/// Whether the words are on screen in the warning's style.
fn warns(screen: &mut Screen, run: &RunState, (width, height): (u16, u16), words: &str) -> bool {
    let style = screen.theme.warning;
    let buffer = screen.buffer(run, width, height);
    let cells: Vec<_> = buffer.content().iter().collect();
    let text: Vec<&str> = cells.iter().map(|c| c.symbol()).collect();
    let wanted: Vec<String> = words.chars().map(String::from).collect();
    let places = text.windows(wanted.len()).enumerate();
    let mut found = places.filter(|(_, w)| w.iter().zip(&wanted).all(|(a, b)| a == b));
    found.any(|(i, _)| {
        let cell = cells[i].style();
        cell.fg == style.fg && cell.add_modifier.contains(style.add_modifier)
    })
}

#[test]
fn old_evidence_tells_its_age_in_the_panel() {
    let run = Story::aged().state;
    let mut screen = Screen::new();
    for size in [(80, 24), (200, 60)] {
        assert!(
            warns(&mut screen, &run, size, "evidence 100 steps old"),
            "{size:?}"
        );
        let fresh = Story::deciding().state;
        assert!(!screen.text(&fresh, size.0, size.1).contains("steps old"));
    }
}

#[test]
fn a_prompt_over_older_evidence_says_so_and_shows_no_forecast_for_a_step_that_is_past() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("1.9900 ±0.0200"), "{text}");
    // The run continues beneath the prompt, past the step of the forecast.
    story.train(200, 4, |_| 1.96);
    for size in [(80, 24), (200, 60)] {
        assert!(
            warns(
                &mut screen,
                &story.state,
                size,
                "200 steps old - r refreshes"
            ),
            "{size:?}"
        );
        let text = screen.text(&story.state, size.0, size.1);
        assert!(
            text.contains("step 400 is past") && !text.contains("1.9900"),
            "{text}"
        );
    }
}

#[test]
fn a_decision_with_newer_figures_is_asked_for_again() {
    let run = Story::aged().state;
    let mut screen = Screen::new();
    assert_eq!(screen.press(&run, D), [Effect::Send(Command::Decide)]);
    assert!(
        screen.desk.layers.top().is_none(),
        "until the new evidence is there"
    );
    let mut story = Story::aged();
    story.decision(2);
    screen.look(&story.state);
    let Some(prompt) = screen.decision() else {
        panic!("no prompt")
    };
    assert_eq!((prompt.decision.id, prompt.decision.step), (2, 1300));
}

#[test]
fn evaluations_that_are_not_finite_are_insufficient_data_and_a_warning() {
    let mut story = Story::deciding();
    story.emit(Body::Eval(Evaluation {
        val_loss: None,
        nonfinite: Some(NonFinite::Nan),
        stderr: None,
        windows: 256,
        blocks: None,
        gap: None,
        gap_stderr: None,
        matched: false,
        seconds: 0.3,
    }));
    let mut screen = Screen::new();
    for (size, verdict) in [((80, 24), "insufficient"), ((200, 60), "insufficient data")] {
        assert!(
            warns(&mut screen, &story.state, size, "not finite"),
            "{size:?}"
        );
        assert!(warns(&mut screen, &story.state, size, verdict), "{size:?}");
        let text = screen.text(&story.state, size.0, size.1);
        assert!(!text.contains("NaN"), "{text}");
    }
}

#[test]
fn the_total_follows_train_on_and_a_run_that_stands_still_has_no_speed() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    let mut text = |story: &Story| screen.text(&story.state, 120, 24);
    assert!(text(&story).contains("step 200/200") && text(&story).contains("tok/s"));
    // A resume with another number of steps does not change an end that was moved.
    let resumed = |story: &mut Story, round_steps| {
        let mut info = story.state.info.clone().unwrap();
        info.round_steps = round_steps;
        story.emit(Body::Run(RunEvent {
            status: RunStatus::Running,
            info: Some(info),
            message: None,
        }));
    };
    resumed(&mut story, 250);
    assert!(text(&story).contains("step 200/250"));
    story.asked(Command::TrainOn {
        steps: 100,
        decision: Some(1),
    });
    assert!(text(&story).contains("step 200/300"));
    story.asked(Command::Extend { steps: 10 });
    assert!(text(&story).contains("step 200/310"));
    resumed(&mut story, 200);
    assert!(text(&story).contains("step 200/310"));
    story.train(50, 4, |_| 1.96);
    let before = crate::dashboard::eta::seconds(&story.state).unwrap();
    story.asked(Command::Extend { steps: 100 });
    assert!(text(&story).contains("step 250/410"));
    let after = crate::dashboard::eta::seconds(&story.state).unwrap();
    assert!(after > before, "{before} {after}");
    for status in [RunStatus::Paused, RunStatus::Interrupted] {
        story.emit(Body::Run(RunEvent {
            status,
            info: None,
            message: None,
        }));
        assert!(!text(&story).contains("tok/s"), "{}", text(&story));
    }
}

#[test]
fn the_losses_of_the_phase_are_numbers_with_the_best_and_its_step() {
    let mut story = Story::deciding();
    story.eval(2.5);
    let mut screen = Screen::new();
    let text = screen.text(&story.state, 80, 24);
    let line = text.lines().nth(1).unwrap_or_default().to_string();
    // The best evaluation is named by its step in the round.
    for words in [
        "train 2.",
        "val 2.5000 (best 2.0343 @200)",
        "gap +0.5000 ±0.0023",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    // A phase without steps does not show values of the previous phase.
    story.phase(Phase::Round(2), 6, 200, Start::Restart);
    let text = screen.text(&story.state, 80, 24);
    let line = text.lines().nth(1).unwrap_or_default().to_string();
    assert!(!line.contains("train") && !line.contains("val"), "{line}");
    story.not_a_number();
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("train not finite"), "{text}");
}
