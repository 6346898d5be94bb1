//! Tests what an operator sees and can do when something is wrong.

use super::realistic::journal::Moment;
use super::realistic::run_at;
use super::*;
use crate::run::event::{CommandGiven, Rollback};

/// Returns a run in a round whose loss has diverged after a good checkpoint.
fn diverged() -> Story {
    let mut story = Story::deciding();
    story.checkpoint();
    story.train(50, 4, |_| 2.6);
    story.set_lr();
    story.train(50, 4, |_| 1.9e11);
    story
}

impl Story {
    fn set_lr(&mut self) {
        self.emit(Body::Command(CommandGiven {
            id: 90,
            by: By::Keyboard,
            command: Command::SetLr { lr: 900.0 },
            pid: None,
        }));
    }
}

#[test]
fn a_banner_names_what_happened_where_and_what_helps() {
    let run = run_at(Moment::Nan);
    for (width, height) in [(80, 24), (200, 60), (60, 15), (40, 12)] {
        let mut screen = Screen::new();
        let text = screen.text(&run, width, height);
        let banner: String = text.lines().skip(1).take(4).collect::<Vec<_>>().join(" ");
        assert!(banner.contains("not finite"), "{text}");
        if width >= 60 {
            for part in ["71,340", "p next batch"] {
                assert!(banner.contains(part), "{part}: {text}");
            }
        }
        if width >= 80 {
            assert!(banner.contains("R roll back to b"), "{text}");
            assert!(
                banner.contains(":set lr") && banner.contains("Esc dismiss"),
                "{text}"
            );
        }
        // Text that does not fit is in the info layer.
        screen.press(&run, KeyCode::Char('i'));
        let info = screen.text(&run, 80, 24);
        assert!(
            info.contains("heirloom ctl") && info.contains("resume"),
            "{info}"
        );
    }
}

#[test]
fn a_banner_stays_until_it_is_dismissed_or_the_trouble_is_over() {
    let run = run_at(Moment::Nan);
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char('s'));
    assert!(screen.text(&run, 80, 24).contains("Esc dismiss"));
    screen.press(&run, KeyCode::Esc);
    let text = screen.text(&run, 80, 24);
    assert!(
        !text.contains("Esc dismiss") && text.contains("PAUSED"),
        "{text}"
    );
    // The next trouble of the same kind shows a banner again.
    let mut story = diverged();
    let mut screen = Screen::new();
    assert!(screen.text(&story.state, 80, 24).contains("Esc dismiss"));
    screen.press(&story.state, KeyCode::Esc);
    assert!(!screen.text(&story.state, 80, 24).contains("Esc dismiss"));
    story.eval(2.5);
    assert!(!screen.text(&story.state, 80, 24).contains("Esc dismiss"));
    story.not_a_number();
    assert!(screen.text(&story.state, 80, 24).contains("Esc dismiss"));
    story.train(10, 4, |_| 2.5);
    assert!(!screen.text(&story.state, 80, 24).contains("Esc dismiss"));
    // The best loss is the same, and the loss has diverged from it a second time.
    story.train(50, 4, |_| 1.9e11);
    assert!(screen.text(&story.state, 80, 24).contains("Esc dismiss"));
}

#[test]
fn nothing_is_dismissed_where_no_banner_is_shown() {
    let run = run_at(Moment::Stalled);
    let mut screen = Screen::new();
    screen.now = Some(run.t + 1000);
    assert!(!screen.text(&run, 80, 24).contains("no event for"));
    screen.press(&run, KeyCode::Esc);
    screen.now = Some(run.t + 34 * 60_000);
    assert!(screen.text(&run, 80, 24).contains("Esc dismiss"));
    // In other views Esc returns to the overview, so the banner does not offer it for its dismissal.
    screen.press(&run, KeyCode::Char('4'));
    let log = screen.text(&run, 80, 24);
    assert!(
        log.contains("no event for") && !log.contains("Esc dismiss"),
        "{log}"
    );
}

#[test]
fn the_decision_of_a_diverged_run_goes_back_and_never_on() {
    let mut story = diverged();
    story.decision(9);
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    let prompt = screen.decision().unwrap();
    let Some(Command::Rollback { checkpoint }) = prompt.command() else {
        panic!("{prompt:?}");
    };
    let text = screen.text(&story.state, 80, 24);
    assert!(
        text.contains("> roll back ") && text.contains(&format!("to {checkpoint} (val")),
        "{text}"
    );
    // Without an earlier checkpoint, no rollback is suggested.
    screen.desk = Desk::default();
    screen.facts.nearby.kept = Some(Vec::new());
    screen.press(&story.state, D);
    assert_eq!(screen.decision().unwrap().command(), None);
}

#[test]
fn a_stall_and_a_vanished_process_have_banners() {
    let run = run_at(Moment::Stalled);
    let mut screen = Screen::new();
    screen.now = Some(run.t + 34 * 60_000);
    let text = screen.text(&run, 80, 24);
    assert!(
        text.contains("! no event for 34m00s, since step 66,800"),
        "{text}"
    );
    let mut run = run_at(Moment::Healthy);
    run.settle(false);
    let mut screen = Screen::new();
    screen.facts.argument = "mine".into();
    let text = screen.text(&run, 80, 24);
    assert!(
        text.contains("CRASHED") && text.contains("ended without a last message"),
        "{text}"
    );
    assert!(text.contains("heirloom train --resume mine"), "{text}");
}

#[test]
fn a_checkpoint_is_looked_at_before_its_confirmation() {
    let run = run_at(Moment::Nan);
    let mut screen = Screen::new();
    let effects = screen.press(&run, KeyCode::Char('R'));
    let [Effect::Verify(name)] = &effects[..] else {
        panic!("{effects:?}");
    };
    // The rollback is not confirmed before its checkpoint has been verified.
    screen.press(&run, KeyCode::Enter);
    assert!(!screen.desk.layers.confirming());
    let verified = &mut screen.facts.nearby.verified;
    verified.insert(name.clone(), Err("model.safetensors differs".into()));
    screen.press(&run, KeyCode::Enter);
    let notice = screen.desk.ui.notice.clone().unwrap();
    assert!(notice.contains("model.safetensors differs"), "{notice}");
    screen.facts.nearby.verified.insert(name.clone(), Ok(()));
    let text = screen.text(&run, 80, 24);
    assert!(
        text.contains("every file verified") && text.contains("abandons"),
        "{text}"
    );
    screen.press(&run, KeyCode::Enter);
    let text = screen.text(&run, 80, 24);
    for part in [
        &format!("Roll back to {name}?"),
        "of round 2, val ",
        "every file verified",
        "abandons",
        "Enter confirm   Esc cancel",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let rollback = Command::Rollback {
        checkpoint: name.clone(),
    };
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Send(rollback)]);
}

#[test]
fn what_the_trainer_would_refuse_is_refused_before_the_question() {
    let run = run_at(Moment::Deciding);
    let refused = |line: &str| {
        let mut screen = Screen::new();
        screen.facts.nearby.kept = Some(vec!["b0-s00100000-reference".into(), "best".into()]);
        for c in format!(":{line}").chars() {
            screen.press(&run, KeyCode::Char(c));
        }
        screen.press(&run, KeyCode::Enter);
        (screen.desk.layers.confirming(), screen.text(&run, 80, 24))
    };
    for (line, words) in [
        ("grow 99", "can grow by at most"),
        ("rollback nope", "no checkpoint \"nope\"; the newest are "),
        (
            "rollback b0-s00100000-referenc",
            "did you mean b0-s00100000-reference?",
        ),
    ] {
        let (asks, text) = refused(line);
        assert!(!asks && text.contains(words), "{line}: {text}");
    }
    for line in [
        "grow 2",
        "rollback best",
        "rollback b0-s00100000-reference",
        "stop",
    ] {
        let (asks, text) = refused(line);
        assert!(asks, "{line}: {text}");
    }
}

#[test]
fn a_confirmation_repeats_everything() {
    let run = run_at(Moment::Deciding);
    let mut screen = Screen::new();
    screen.press(&run, D);
    screen.press(&run, KeyCode::Enter);
    let text = screen.text(&run, 80, 24);
    for part in [
        "Grow by 2 layers (restart)?",
        "14 → 16 layers (reference 14, 15)",
        "all layers fresh from the reference",
        "round 3: 100,000 steps, ",
        ", until ",
        "pre-grow-2",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The question stays at the top wherever the prompt was scrolled to; lines that do not fit can be scrolled to.
#[test]
fn a_confirmation_can_be_read_to_its_end() {
    let run = run_at(Moment::Deciding);
    for keys in [":grow 2", "D"] {
        let mut screen = Screen::new();
        screen.text(&run, 60, 15);
        keys.chars()
            .for_each(|c| drop(screen.press(&run, KeyCode::Char(c))));
        screen.text(&run, 60, 15);
        if keys == "D" {
            screen.press(&run, KeyCode::PageDown);
        }
        screen.press(&run, KeyCode::Enter);
        assert!(screen.desk.layers.confirming(), "{keys}");
        let mut all = screen.text(&run, 60, 15);
        assert!(all.contains("Grow by 2 layers (restart)?"), "{all}");
        while all.lines().any(|l| l.contains("PgDn more")) && all.len() < 50_000 {
            screen.press(&run, KeyCode::PageDown);
            all = all.replace("PgDn more", "") + &screen.text(&run, 60, 15);
        }
        assert!(all.contains("pre-grow-2"), "{keys}: {all}");
        assert!(screen.desk.layers.confirming(), "{keys}");
    }
}

#[test]
fn a_branch_that_was_left_stays_in_sight_however_far_it_went() {
    let mut story = Story::new();
    story.phase(Phase::Reference, 8, 200, Start::Random);
    story.train(100, 8, |i| 3.0 - i / 200.0);
    story.checkpoint();
    let seq = story.seq;
    story.train(700, 8, |i| 2.5 + i / 1000.0);
    story.step = 100;
    story.emit(Body::Rollback(Rollback {
        checkpoint: "b0-s00000100-reference".into(),
        from_seq: seq,
        why: "requested".into(),
        overruled: Vec::new(),
    }));
    story.train(50, 8, |_| 2.4);
    for (width, height) in [(80, 24), (200, 60)] {
        let text = Screen::new().text(&story.state, width, height);
        let chart: Vec<&str> = text.lines().take_while(|l| !l.contains("rank")).collect();
        let ends = chart.iter().any(|l| l.contains('◂'));
        assert!(ends && chart.iter().any(|l| l.contains("800")), "{text}");
    }
}
