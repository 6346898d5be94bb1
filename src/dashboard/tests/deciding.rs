//! Tests the keys of the decision prompt, and that a stray key does not decide.

use super::*;
use crate::dashboard::layers::decision::Entry;

#[test]
fn the_decision_is_chosen_confirmed_and_sent() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    assert_eq!(screen.press(&run, D), []);
    screen.press(&run, KeyCode::Char('-'));
    screen.press(&run, KeyCode::Char('m'));
    screen.press(&run, KeyCode::Enter);
    assert_eq!(
        screen.press(&run, KeyCode::Esc),
        [],
        "back from the confirmation"
    );
    screen.press(&run, KeyCode::Enter);
    let grow = Command::Grow {
        layers: 1,
        mode: Some(GrowMode::Keep),
        decision: Some(1),
    };
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Send(grow)]);
    assert!(screen.desk.layers.top().is_none());

    screen.press(&run, D);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Char('+'));
    screen.press(&run, KeyCode::Enter);
    let train_on = Command::TrainOn {
        steps: 200,
        decision: Some(1),
    };
    assert_eq!(
        screen.press(&run, KeyCode::Char('y')),
        [Effect::Send(train_on)]
    );

    screen.press(&run, D);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Enter);
    assert_eq!(
        screen.press(&run, KeyCode::Enter),
        [Effect::Send(Command::Stop { decision: Some(1) })]
    );
}

#[test]
fn growth_never_goes_beyond_the_layers_there_are() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, D);
    for _ in 0..9 {
        screen.press(&run, KeyCode::Char('+'));
    }
    screen.press(&run, KeyCode::Enter);
    let [Effect::Send(Command::Grow { layers, .. })] = screen.press(&run, KeyCode::Enter)[..]
    else {
        panic!("no growth")
    };
    assert_eq!(layers, 2, "4 of at most 6");
}

#[test]
fn the_rows_follow_the_chosen_growth() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, D);
    for (width, height) in [(80, 24), (120, 40)] {
        let text = screen.text(&run, width, height);
        assert!(text.contains("reference layers 4,5"), "{text}");
        assert!(text.contains("grow 2   2.05"), "{text}");
    }
    screen.press(&run, KeyCode::Char('-'));
    for (width, height) in [(80, 24), (120, 40)] {
        let text = screen.text(&run, width, height);
        assert!(text.contains("reference layers 4 "), "{text}");
        // No round with fewer layers has finished, so the run itself has no forecast.
        assert!(text.contains("grow 1   insufficient data"), "{text}");
        assert!(!text.contains("grow 2"), "{text}");
    }
}

#[test]
fn the_layers_of_a_growth_are_named_only_where_they_are_known() {
    let mut run = Story::deciding().state;
    run.info.as_mut().unwrap().grow_source = GrowSource::CopyMiddle;
    let mut screen = Screen::new();
    screen.press(&run, D);
    screen.press(&run, KeyCode::Char('-'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("growing  by 1 layer "), "{text}");
    // The trainer's costs have the layers of every growth.
    let evidence = &mut run.core.decision.as_mut().unwrap().evidence;
    let mut cost = evidence.growth.clone().unwrap();
    (cost.add, cost.layers, cost.source_layers) = (1, 5, vec![1]);
    evidence.costs.push(cost);
    let mut screen = Screen::new();
    screen.press(&run, D);
    screen.press(&run, KeyCode::Char('-'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("copies of reference layers 1 "), "{text}");
}

#[test]
fn more_layers_than_the_maximum_are_refused_with_the_maximum() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, D);
    let limit = "6 layers are the maximum (grow.max_layers = 6)";
    screen.press(&run, KeyCode::Char('-'));
    screen.press(&run, KeyCode::Char('+'));
    assert!(!screen.text(&run, 80, 24).contains(limit), "2 are possible");
    screen.press(&run, KeyCode::Char('+'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains(limit), "{text}");
    assert!(screen.decision().is_some_and(|p| p.layers == 2));
}

#[test]
fn a_growth_by_no_layers_cannot_be_made_smaller() {
    let mut run = Story::deciding().state;
    let decision = run.core.decision.as_mut().unwrap();
    decision.evidence.growth.as_mut().unwrap().add = 0;
    let mut screen = Screen::new();
    screen.press(&run, D);
    screen.press(&run, KeyCode::Char('-'));
    let Some(prompt) = screen.decision() else {
        panic!("no prompt")
    };
    assert_eq!(prompt.layers, 1);
}
#[test]
fn a_key_pressed_just_as_the_prompt_opens_decides_nothing() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    let now = screen.clock;
    let mut press = |code, at| {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        update::on_key(&mut screen.desk, &screen.facts, &run, &key, at);
        screen.desk.layers.confirming()
    };
    let almost = LOCK - Duration::from_millis(1);
    press(D, now);
    assert!(!press(KeyCode::Enter, now + almost));
    assert!(press(KeyCode::Enter, now + LOCK));
    // The confirmation ignores keys for the same time.
    press(KeyCode::Enter, now + LOCK + almost);
    assert!(screen.desk.layers.confirming());
}

#[test]
fn an_answer_to_a_decision_that_was_replaced_is_not_sent() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    screen.press(&story.state, KeyCode::Char('-'));
    screen.press(&story.state, KeyCode::Char('m'));
    screen.press(&story.state, KeyCode::Enter);
    story.decision(2);
    assert_eq!(screen.press(&story.state, KeyCode::Enter), []);
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("decision out of date: this is"), "{text}");
    // The prompt stays open with the new evidence, and two further keys confirm the choice.
    assert!(screen.decision().is_some_and(|p| p.decision.id == 2));
    assert!(!screen.desk.layers.confirming());
    assert_eq!(screen.press(&story.state, KeyCode::Enter), []);
    let grow = Command::Grow {
        layers: 1,
        mode: Some(GrowMode::Keep),
        decision: Some(2),
    };
    let sent = screen.press(&story.state, KeyCode::Enter);
    assert_eq!(sent, [Effect::Send(grow)]);
}

#[test]
fn a_choice_for_a_replaced_decision_stays_selected_until_a_rollback_is_advised() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    screen.press(&story.state, KeyCode::Down);
    screen.press(&story.state, KeyCode::Down);
    story.decision(2);
    // The first Enter already refers to a decision that was replaced.
    screen.press(&story.state, KeyCode::Enter);
    let selected = |screen: &Screen| {
        let prompt = screen.decision().unwrap();
        (prompt.decision.id, prompt.entries[prompt.selected])
    };
    assert_eq!(selected(&screen), (2, Entry::Stop));
    story.decision(3);
    let evidence = &mut story.state.core.decision.as_mut().unwrap().evidence;
    evidence.suggestion = Suggestion::InsufficientData;
    screen.press(&story.state, KeyCode::Enter);
    assert_eq!(selected(&screen), (3, Entry::Cancel));
    // A decision that was taken meanwhile leaves nothing to choose.
    story.state.core.decision = None;
    screen.press(&story.state, KeyCode::Up);
    screen.press(&story.state, KeyCode::Enter);
    assert!(screen.decision().is_none());
}

#[test]
fn asking_for_fresh_evidence_opens_the_prompt_when_it_comes() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    assert_eq!(
        screen.press(&story.state, KeyCode::Char('r')),
        [Effect::Send(Command::Decide)]
    );
    screen.look(&story.state);
    assert!(
        screen.desk.layers.top().is_none(),
        "the old evidence does not open it"
    );
    story.decision(2);
    screen.look(&story.state);
    assert!(screen.decision().is_some_and(|p| p.decision.id == 2));
}
