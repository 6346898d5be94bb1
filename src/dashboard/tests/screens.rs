//! Tests the Overview: of every kind of run, without colour, with foreign names, at every size.

use super::*;
use crate::run::event::{RunEvent, Warning};

#[test]
fn overview() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    insta::assert_snapshot!("overview_80x24", screen.text(&story.state, 80, 24));
    screen.glyphs = Glyphs::Ascii;
    let text = screen.text(&story.state, 80, 24);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!("overview_ascii_80x24", text);
}

#[test]
fn what_a_rollback_left_behind_stays_in_sight() {
    let story = Story::gone_back();
    let mut screen = Screen::new();
    insta::assert_snapshot!("rollback_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("rollback_120x40", screen.text(&story.state, 120, 40));
    screen.glyphs = Glyphs::Ascii;
    insta::assert_snapshot!("rollback_ascii_120x40", screen.text(&story.state, 120, 40));
    let dim = |screen: &mut Screen| {
        let buffer = screen.buffer(&story.state, 120, 40);
        let grey = screen.theme.dim.fg.unwrap();
        let cells = buffer.content().iter();
        let dim = cells.filter(|c| c.fg == grey && c.symbol() == ":");
        dim.count()
    };
    assert!(dim(&mut screen) > 10, "the abandoned line is dim");
    screen.press(&story.state, KeyCode::Char('x'));
    screen.press(&story.state, KeyCode::Char('s'));
    screen.press(&story.state, KeyCode::Char('s'));
    assert!(
        dim(&mut screen) > 10,
        "and there without smoothing, over tokens"
    );
}

#[test]
fn a_loss_that_is_no_number_is_a_gap_with_a_cross() {
    let mut story = Story::new();
    story.phase(Phase::Reference, 8, 1000, Start::Random);
    story.train(300, 8, |_| 2.0);
    let before = Screen::new().text(&story.state, 80, 24);
    story.not_a_number();
    story.train(300, 8, |_| 2.0);
    let after = Screen::new().text(&story.state, 80, 24);
    let crosses = |text: &str| {
        let chart = text.lines().take_while(|l| !l.contains("attention rank"));
        chart.map(|l| l.matches('×').count()).sum::<usize>()
    };
    assert_eq!(crosses(&before), 0, "{before}");
    assert_eq!(crosses(&after), 1, "{after}");
}

#[test]
fn loading_tells_how_far_it_is() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    screen.facts.loading = Some(0.429);
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("LOADING 42%"), "{text}");
}

/// Run with `cargo test --lib a_frame_over -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn a_frame_over_a_million_points_is_drawn_and_timed() {
    let long = Story::long(1_000_000);
    let short = Story::long(1000);
    for (width, height) in [(80, 24), (200, 60)] {
        for story in [&short, &long] {
            let mut screen = Screen::new();
            let text = screen.text(&story.state, width, height);
            assert!(text.contains("1,000,000"), "{text}");
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut took: Vec<Duration> = (0..101)
                .map(|_| {
                    let scene = screen.scene(&story.state);
                    let began = Instant::now();
                    let none = Stack::default();
                    let draw = |frame: &mut Frame<'_>| screen::draw(frame, &scene, &none);
                    terminal.draw(draw).unwrap();
                    began.elapsed()
                })
                .collect();
            took.sort();
            let points = story.state.live().train.points();
            println!("{width}x{height}, {points} points: median {:?}", took[50]);
        }
    }
}

#[test]
fn the_result_and_nothing_yet() {
    let story = Story::done();
    let mut screen = Screen::new();
    insta::assert_snapshot!("result_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("result_200x60", screen.text(&story.state, 200, 60));
    insta::assert_snapshot!(
        "empty_80x24",
        Screen::new().text(&RunState::default(), 80, 24)
    );
}

#[test]
fn every_size_and_state_can_be_drawn() {
    let stories = [Story::new(), Story::deciding(), Story::done()];
    for story in &stories {
        for open in [
            None,
            Some(D),
            Some(KeyCode::Char('q')),
            Some(KeyCode::Char('?')),
        ] {
            let mut screen = Screen::new();
            screen.desk.ui.notice = Some("a notice".into());
            if let Some(key) = open {
                screen.press(&story.state, key);
            }
            for width in (0..90).step_by(3).chain([200]) {
                for height in (0..30).chain([60]) {
                    screen.text(&story.state, width, height);
                }
            }
        }
    }
}

#[test]
fn many_layers_and_hostile_names_stay_inside_their_panels() {
    let mut story = Story::new();
    let mut info = story.state.info.clone().unwrap();
    info.name = "evil\u{1b}[2J\u{202e}name".into();
    story.emit(Body::Run(RunEvent {
        status: RunStatus::Running,
        info: Some(info),
        message: None,
    }));
    story.phase(Phase::Reference, 48, 1000, Start::Random);
    story.train(100, 48, |_| 2.0);
    story.emit(Body::Warning(Warning {
        message: "disk\r\n\u{9b}2J full".into(),
    }));
    let text = Screen::new().text(&story.state, 80, 24);
    assert!(text.contains("evilname"), "{text}");
    assert!(text.contains("! disk  full"), "{text}");
    assert!(
        text.contains("L47") && text.contains("1 of 48 LAZY (×)"),
        "{text}"
    );
    assert!(
        !text.contains(['\u{1b}', '\u{9b}', '\r', '\u{202e}']),
        "{text:?}"
    );
}

#[test]
fn without_colour_nothing_is_lost() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    let coloured = screen.text(&story.state, 80, 24);
    screen.theme = Theme::mono();
    assert_eq!(screen.text(&story.state, 80, 24), coloured);
    screen.press(&story.state, D);
    let buffer = screen.buffer(&story.state, 80, 24);
    let reversed = buffer
        .content()
        .iter()
        .filter(|c| c.modifier.contains(Modifier::REVERSED))
        .count();
    assert_eq!(
        reversed,
        "> grow by 2 (restart) ".len(),
        "the chosen entry stands out"
    );
    assert!(
        buffer
            .content()
            .iter()
            .all(|c| c.fg == ratatui::style::Color::Reset)
    );
}
