//! Tests the screen and the keys of a replay.

use super::*;
use crate::dashboard::replay::{Playing, ReplayCommand};
use crate::run::index::Landmark;

/// Returns the position at the end of the first round, in a run of three minutes.
pub fn playing() -> Playing {
    Playing {
        speed: 12.0,
        playing: true,
        at: 120.0,
        begin: 0.0,
        end: 180.0,
        step: 1200,
        last_step: 1600,
        event: 163,
        events: 1240,
        shortened: None,
        growing: false,
        landmarks: vec![
            (0.0, Landmark::Phase),
            (50.0, Landmark::Checkpoint),
            (100.0, Landmark::Phase),
            (120.0, Landmark::Decision),
            (140.0, Landmark::Warning),
            (150.0, Landmark::Growth),
            (150.0, Landmark::Phase),
            (170.0, Landmark::Back),
        ]
        .into(),
    }
}

fn replaying() -> Screen {
    let mut screen = Screen::new();
    (screen.facts.read_only, screen.facts.owner) = (true, false);
    screen.facts.replay = Some(playing());
    screen
}

#[test]
fn a_replay_has_a_scrubber_and_says_what_it_is() {
    let run = Story::deciding().state;
    let mut screen = replaying();
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("REPLAY 12x"), "{text}");
    for live in ["TRAIN ", "ETA", "read only", "[D]"] {
        assert!(!text.contains(live), "{live}: {text}");
    }
    insta::assert_snapshot!("replay_80x24", text);
    insta::assert_snapshot!("replay_200x60", screen.text(&run, 200, 60));
    insta::assert_snapshot!("replay_40x12", screen.text(&run, 40, 12));
    screen.glyphs = Glyphs::Ascii;
    let text = screen.text(&run, 80, 24);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!("replay_ascii_80x24", text);
    screen.press(&run, KeyCode::Char('?'));
    let help = screen.text(&run, 80, 30);
    assert!(help.contains("marks: | phase"), "{help}");
    assert!(help.contains("to N tenths of the run"), "{help}");
    assert!(!help.contains("write a checkpoint"), "{help}");
}

#[test]
fn pauses_ends_waits_and_growing_runs_are_told() {
    let run = Story::done().state;
    let mut screen = replaying();
    let mut say = |change: &dyn Fn(&mut Playing)| {
        let mut now = playing();
        change(&mut now);
        screen.facts.replay = Some(now);
        screen.text(&run, 80, 24)
    };
    let text = say(&|p| p.playing = false);
    assert!(
        text.contains("paused") && text.contains("Space play"),
        "{text}"
    );
    assert!(text.contains("was done"), "{text}");
    let text = say(&|p| (p.playing, p.event) = (false, p.events));
    assert!(text.contains("\n end "), "{text}");
    let text = say(&|p| p.shortened = Some(7200.0));
    assert!(text.contains("2h00m shortened"), "{text}");
    let text = say(&|p| p.growing = true);
    assert!(text.contains("up to the step the run"), "{text}");
    let text = say(&|p| p.speed = f64::INFINITY);
    assert!(text.contains("REPLAY max"), "{text}");
}

#[test]
fn marks_stand_under_their_place_and_the_weightiest_is_seen() {
    let run = Story::deciding().state;
    let mut screen = replaying();
    let text = screen.text(&run, 80, 24);
    let rows: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
    let (bar, marks) = (&rows[21], &rows[22]);
    let knob = bar.iter().position(|c| *c == '●').unwrap();
    assert_eq!(marks[knob], 'D', "{text}");
    let order: String = marks.iter().take(46).filter(|c| **c != ' ').collect();
    assert_eq!(order, "|◆|D!^<", "{text}");
}

#[test]
fn the_scrubber_stands_still_while_the_numbers_grow() {
    let run = Story::deciding().state;
    let mut screen = replaying();
    let mut bar = |at: f64, step, event| {
        let mut now = playing();
        (now.at, now.step, now.event) = (at, step, event);
        screen.facts.replay = Some(now);
        let text = screen.text(&run, 80, 24);
        let row: Vec<char> = text.lines().nth(21).unwrap().chars().collect();
        row.iter().filter(|c| "━●─".contains(**c)).count()
    };
    let short = bar(0.0, 0, 1);
    assert!(short >= 30, "{short}");
    assert_eq!(bar(59.0, 999, 99), short);
    assert_eq!(bar(179.0, 1600, 1240), short);
}

#[test]
fn a_replay_can_be_drawn_at_every_size() {
    let stories = [Story::new(), Story::deciding(), Story::done()];
    for story in &stories {
        let mut screen = replaying();
        let mut extreme = playing();
        (extreme.at, extreme.end, extreme.last_step) = (1e300, 1e300, u64::MAX);
        let nothing = Playing {
            at: 0.0,
            end: 0.0,
            ..playing()
        };
        for state in [playing(), extreme, nothing] {
            screen.facts.replay = Some(state);
            for width in (0..90).step_by(3).chain([200]) {
                for height in (0..30).chain([60]) {
                    screen.text(&story.state, width, height);
                }
            }
        }
    }
}

#[test]
fn keys_steer_the_replay_and_command_nothing() {
    let run = Story::deciding().state;
    let mut screen = replaying();
    let steers = [
        (KeyCode::Char(' '), ReplayCommand::PlayPause),
        (KeyCode::Char('['), ReplayCommand::PreviousLandmark),
        (KeyCode::Char(']'), ReplayCommand::NextLandmark),
        (KeyCode::Char(','), ReplayCommand::EventBack),
        (KeyCode::Char('.'), ReplayCommand::EventForward),
        (KeyCode::Char('{'), ReplayCommand::Slower),
        (KeyCode::Char('}'), ReplayCommand::Faster),
        (KeyCode::Home, ReplayCommand::ToStart),
        (KeyCode::End, ReplayCommand::ToEnd),
        (KeyCode::Char('G'), ReplayCommand::ToEnd),
    ];
    for (key, steer) in steers {
        assert_eq!(screen.press(&run, key), [Effect::ReplayCommand(steer)]);
    }
    // Digits open views; after `g` they go to tenths of the run.
    for (digit, tenths) in [('0', 0), ('9', 9)] {
        assert_eq!(screen.press(&run, KeyCode::Char('g')), []);
        let tenth = Effect::ReplayCommand(ReplayCommand::ToTenth(tenths));
        assert_eq!(screen.press(&run, KeyCode::Char(digit)), [tenth]);
    }
    screen.press(&run, KeyCode::Char('g'));
    let start = [Effect::ReplayCommand(ReplayCommand::ToStart)];
    assert_eq!(screen.press(&run, KeyCode::Char('g')), start);
    for key in [D, KeyCode::Char('p'), KeyCode::Char('c')] {
        assert_eq!(screen.press(&run, key), []);
        let notice = screen.desk.ui.notice.take();
        assert_eq!(notice.as_deref(), Some("a replay takes no commands"));
    }
    screen.press(&run, KeyCode::Char('+'));
    assert_eq!(screen.desk.ui.chart.zoom, 1);
    screen.press(&run, KeyCode::Char('f'));
    assert!(screen.frozen);
    assert_eq!(screen.press(&run, KeyCode::Char('q')), [Effect::Close]);
    // Without a replay, these keys do nothing.
    let mut live = Screen::new();
    assert_eq!(live.press(&run, KeyCode::Char(' ')), []);
    assert_eq!(live.press(&run, KeyCode::Char('5')), []);
}

#[test]
fn a_replay_loses_nothing_without_colour() {
    let run = Story::deciding().state;
    let mut screen = replaying();
    let coloured = screen.text(&run, 80, 24);
    screen.theme = Theme::mono();
    assert_eq!(screen.text(&run, 80, 24), coloured);
}
