//! Tests the clock of a replay with artificial journals.

use super::super::playing::speed_words;
use super::*;

fn events(times: &[f64]) -> Vec<Entry> {
    let entry = |&elapsed: &f64| Entry {
        offset: 0,
        elapsed,
        step: 0,
    };
    times.iter().map(entry).collect()
}

fn after(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn events_happen_at_their_run_time_times_the_speed() {
    let events = events(&[0.0, 10.0, 10.0, 25.0]);
    let mut clock = Clock::new(&events, 10.0);
    let start = Instant::now();
    clock.tick(&events, start);
    assert_eq!(clock.position(), 1);
    clock.tick(&events, start + after(0.99));
    assert_eq!(clock.position(), 1);
    assert!((clock.at() - 9.9).abs() < 1e-6);
    clock.tick(&events, start + after(1.01));
    assert_eq!(clock.position(), 3, "events of one moment happen together");
    assert_eq!(clock.until_next(&events).map(|d| d.as_millis()), Some(1490));
    clock.tick(&events, start + after(60.0));
    assert_eq!((clock.position(), clock.at()), (4, 25.0));
    assert!(!clock.is_playing(), "the end stands still");
}

#[test]
fn a_long_gap_takes_three_seconds_and_is_told() {
    let events = events(&[0.0, 1.0, 7201.0, 7202.0]);
    let mut clock = Clock::new(&events, 1.0);
    let start = Instant::now();
    clock.tick(&events, start);
    assert_eq!(clock.shortened(&events), None);
    clock.tick(&events, start + after(1.0));
    assert_eq!(clock.shortened(&events), Some(7200.0));
    clock.tick(&events, start + after(2.5));
    assert!((clock.at() - 3601.0).abs() < 1e-6, "half of it");
    clock.tick(&events, start + after(4.1));
    assert_eq!(clock.position(), 3);
    assert!((clock.at() - 7201.1).abs() < 1e-6, "and continues at speed");
    assert_eq!(clock.shortened(&events), None);
}

#[test]
fn nothing_happens_while_paused_or_held() {
    let events = events(&[0.0, 1.0, 2.0]);
    let mut clock = Clock::new(&events, 1.0);
    let start = Instant::now();
    clock.tick(&events, start);
    clock.steer(&events, &[], ReplayCommand::PlayPause);
    clock.tick(&events, start + after(10.0));
    assert_eq!((clock.position(), clock.until_next(&events)), (1, None));
    clock.steer(&events, &[], ReplayCommand::PlayPause);
    clock.hold(start + after(20.0));
    clock.tick(&events, start + after(20.5));
    assert_eq!(clock.position(), 1);
    assert!((clock.at() - 0.5).abs() < 1e-6);
}

#[test]
fn at_most_speed_everything_happens_at_once() {
    let events = events(&[0.0, 1.0, 1e9]);
    let mut clock = Clock::new(&events, f64::INFINITY);
    clock.tick(&events, Instant::now());
    assert_eq!((clock.position(), clock.is_playing()), (3, false));
    clock.steer(&events, &[], ReplayCommand::Slower);
    assert_eq!(clock.speed(), SPEEDS.1);
    clock.steer(&events, &[], ReplayCommand::Faster);
    assert!(clock.speed().is_infinite());
}

#[test]
fn landmarks_events_and_tenths_are_reached_from_anywhere() {
    let times: Vec<f64> = (0..=100).map(f64::from).collect();
    let events = events(&times);
    let marks = [
        (10, Landmark::Phase),
        (11, Landmark::Growth),
        (50, Landmark::Decision),
    ];
    let mut clock = Clock::new(&events, 1.0);
    clock.pause();
    let mut go = |steer| {
        clock.steer(&events, &marks, steer);
        (clock.position(), clock.at())
    };
    assert_eq!(
        go(ReplayCommand::EventBack),
        (1, 0.0),
        "nothing before the first"
    );
    assert_eq!(go(ReplayCommand::NextLandmark), (11, 10.0));
    assert_eq!(go(ReplayCommand::NextLandmark), (12, 11.0));
    assert_eq!(go(ReplayCommand::NextLandmark), (51, 50.0));
    assert_eq!(go(ReplayCommand::NextLandmark), (51, 50.0), "no later one");
    assert_eq!(go(ReplayCommand::PreviousLandmark), (12, 11.0));
    assert_eq!(go(ReplayCommand::EventForward), (13, 12.0));
    assert_eq!(go(ReplayCommand::PreviousLandmark), (12, 11.0));
    assert_eq!(go(ReplayCommand::ToTenth(5)), (51, 50.0));
    assert_eq!(go(ReplayCommand::ToEnd), (101, 100.0));
    assert_eq!(go(ReplayCommand::EventForward), (101, 100.0));
    assert_eq!(go(ReplayCommand::ToStart), (1, 0.0));
    assert_eq!(go(ReplayCommand::PreviousLandmark), (1, 0.0));
    go(ReplayCommand::ToEnd);
    go(ReplayCommand::PlayPause);
    assert_eq!(
        (clock.position(), clock.is_playing()),
        (1, true),
        "from the start"
    );
}

#[test]
fn going_back_while_playing_does_not_stick_to_the_last_landmark() {
    let times: Vec<f64> = (0..=100).map(f64::from).collect();
    let events = events(&times);
    let marks = [(10, Landmark::Phase), (50, Landmark::Decision)];
    let mut clock = Clock::new(&events, 4.0);
    clock.go_to_time(&events, 53.0);
    clock.steer(&events, &marks, ReplayCommand::PreviousLandmark);
    assert_eq!(clock.at(), 10.0, "the decision was met 0.75 s ago");
    clock.go_to_time(&events, 55.0);
    clock.steer(&events, &marks, ReplayCommand::PreviousLandmark);
    assert_eq!(clock.at(), 50.0);
}

#[test]
fn the_speed_fits_a_run_into_a_minute_without_its_waits() {
    let short: Vec<f64> = (0..50).map(f64::from).collect();
    assert_eq!(fitting_speed(&events(&short)), 1.0);
    let hour: Vec<f64> = (0..=3600).map(f64::from).collect();
    assert_eq!(fitting_speed(&events(&hour)), 60.0);
    // A long wait for an answer takes three seconds.
    let night = hour.iter().copied().chain([40_000.0]);
    let speed = fitting_speed(&events(&night.collect::<Vec<_>>()));
    assert!((60.0..66.0).contains(&speed), "{speed}");
    assert_eq!(fitting_speed(&events(&[5.0])), 1.0);
}

#[test]
fn speeds_read_well() {
    let said = [0.125, 0.5, 1.0, 7.3, 60.0, f64::INFINITY].map(speed_words);
    assert_eq!(said, ["0.125x", "0.5x", "1x", "7.3x", "60x", "max"]);
}
