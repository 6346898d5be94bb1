//! Tests forecasts on screen: the numbers agree everywhere, and the charts have cones.

use super::realistic::journal::{self, Moment};
use super::*;
use crate::config::Schedule;
use crate::run::event::{Forecast, Interval, PhaseEvent, Prospect, Verdict};
use crate::run::schedule::LearningRate;

/// Returns a forecast for each choice, against a reference of 2.0000.
pub fn of_choices() -> Vec<Forecast> {
    let choices = [
        (Prospect::AsPlanned, 400, 1.99, Verdict::TooClose),
        (
            Prospect::TrainOn { steps: 200 },
            500,
            1.97,
            Verdict::WillMatch,
        ),
        (
            Prospect::Grow { layers: 2 },
            200,
            2.05,
            Verdict::WillNotMatch,
        ),
    ];
    let around = |value: f64| Interval {
        value,
        low: value - 0.02,
        high: value + 0.02,
    };
    let forecast = |(prospect, at_phase_step, value, verdict): (_, _, f64, Verdict)| Forecast {
        prospect,
        at_phase_step,
        final_loss: Some(around(value)),
        final_gap: Some(around(value - 2.0)),
        verdict,
        why: format!("{verdict}: a sentence"),
        evaluations_used: 8,
    };
    choices.map(forecast).into()
}

/// Returns the realistic run with the schedules that journals of the present version have.
pub fn run_at(moment: Moment) -> RunState {
    let schedule = LearningRate {
        kind: Schedule::Cosine,
        peak: 3e-4,
        min: 3e-5,
        warmup: 2000,
        steps: 100_000,
    };
    let mut run = RunState::default();
    for line in journal::journal(moment).lines() {
        let mut event = Event::from_line(line).unwrap();
        match &mut event.body {
            Body::Phase(PhaseEvent {
                schedule: told,
                result: None,
                ..
            }) => *told = Some(schedule.to_event()),
            Body::Train(train) => train.lr = schedule.at(event.phase_step.saturating_sub(1)),
            _ => {}
        }
        run.apply(&event);
    }
    run
}

/// Returns the columns and rows of a screen at which a character stands.
fn places(buffer: &Buffer, c: &str) -> Vec<(u16, u16)> {
    let area = buffer.area;
    let all = (0..area.height).flat_map(|y| (0..area.width).map(move |x| (x, y)));
    all.filter(|&place| buffer[place].symbol() == c).collect()
}

#[test]
fn the_forecast_at_every_size() {
    let run = run_at(Moment::Healthy);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let text = Screen::new().text(&run, width, height);
        insta::assert_snapshot!(format!("forecast_{width}x{height}"), text);
    }
}

#[test]
fn the_charts_have_a_cone_from_now_to_the_planned_end() {
    let run = run_at(Moment::Healthy);
    let outlook = run.outlook().unwrap();
    assert!(outlook.forecast.final_gap.is_some(), "{outlook:?}");
    let mut screen = Screen::new();
    let buffer = screen.buffer(&run, 200, 60);
    let text = screen.text(&run, 200, 60);
    assert_eq!(text.matches("░ forecast 90 %").count(), 2, "{text}");
    let cone = places(&buffer, "░");
    // The charts are the panels above the heat map, and their plots have equal widths.
    let line = |words: &str| text.lines().position(|l| l.contains(words)).unwrap() as u16;
    let (loss, gap, ranks) = (
        line("loss · round 2"),
        line("gap to reference"),
        line("attention rank"),
    );
    for (top, bottom) in [(loss, gap), (gap, ranks)] {
        let here: Vec<_> = cone.iter().filter(|p| p.1 > top && p.1 < bottom).collect();
        let columns = here.iter().map(|p| p.0);
        let (first, last) = (columns.clone().min().unwrap(), columns.max().unwrap());
        // 62 % of the steps have been trained.
        let axis = buffer.area.width;
        assert!(
            first > 60 && last > first + 20 && last < axis - 70,
            "{first} {last}\n{text}"
        );
        let rows = |column: u16| here.iter().filter(|p| p.0 == column).count();
        assert!(rows(last) >= rows(first), "it widens\n{text}");
    }
}

#[test]
fn there_is_no_cone_without_a_forecast_or_where_nothing_lies_ahead() {
    let has = |run: &RunState, screen: &mut Screen| {
        let text = screen.text(run, 200, 60);
        // The first line is skipped: its progress bar contains the same character.
        let mut lines = text.lines().skip(1);
        lines.any(|line| line.contains("forecast 90 %") || line.contains('░'))
    };
    let run = run_at(Moment::Healthy);
    assert!(has(&run, &mut Screen::new()));
    assert!(
        !has(&run_at(Moment::Deciding), &mut Screen::new()),
        "the end is reached"
    );
    assert!(!has(&run_at(Moment::Done), &mut Screen::new()), "done");
    // Without schedules, the coming learning rates are unknown.
    let untold = super::realistic::run_at(Moment::Healthy);
    assert!(untold.outlook().unwrap().forecast.final_loss.is_none());
    assert!(!has(&untold, &mut Screen::new()));
    let mut screen = Screen::new();
    screen.desk.ui.chart.toggle_whole();
    assert!(!has(&run, &mut screen), "the whole run");
    let mut screen = Screen::new();
    let chart = &mut screen.desk.ui.chart;
    (chart.zoom, chart.right) = (2, Some(50_000.0));
    assert!(!has(&run, &mut screen), "the past alone");
    let mut screen = Screen::new();
    screen.desk.ui.chart.cycle_axis();
    assert!(has(&run, &mut screen), "by tokens");
    screen.desk.ui.chart.cycle_axis();
    assert!(!has(&run, &mut screen), "by time");
}

#[test]
fn a_cone_has_a_character_of_its_own_in_every_set() {
    let run = run_at(Moment::Healthy);
    for (glyphs, legend) in [
        (Glyphs::Braille, "░ forecast 90 %"),
        (Glyphs::Block, "░ forecast 90 %"),
        (Glyphs::Ascii, "/ forecast 90 %"),
    ] {
        let mut screen = Screen::new();
        screen.glyphs = glyphs;
        let text = screen.text(&run, 200, 60);
        assert!(text.contains(legend), "{text}");
        assert!(
            text.contains(&legend[..legend.len() - " forecast 90 %".len()].repeat(3)),
            "{text}"
        );
    }
}

#[test]
fn the_panels_show_the_numbers_of_the_outlook() {
    let run = run_at(Moment::Healthy);
    let outlook = run.outlook().unwrap();
    let gap = outlook.forecast.gap_words().unwrap();
    let verdict = outlook.forecast.verdict.to_string();
    for size in [(80, 24), (120, 40), (200, 60)] {
        let text = Screen::new().text(&run, size.0, size.1);
        assert!(
            text.contains(&gap) && text.contains(&verdict),
            "{size:?}: {gap}, {verdict}\n{text}"
        );
    }
}

#[test]
fn the_prompt_shows_gap_and_verdict_of_every_choice_at_every_size() {
    let run = Story::deciding().state;
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut screen = Screen::new();
        screen.press(&run, D);
        let text = screen.text(&run, width, height);
        for (label, gap, verdict) in [
            ("at end", "-0.0100 ±0.0200", "too close"),
            ("train on", "-0.0300 ±0.0200", "will match"),
            ("grow 2", "+0.0500 ±0.0200", "no match"),
        ] {
            let mut rows = text
                .lines()
                .filter(|l| l.contains(label) && l.contains(gap));
            let row = rows.next().unwrap_or_else(|| panic!("{label}\n{text}"));
            let full = verdict == "no match" && row.contains("will not match");
            assert!(full || row.contains(verdict), "{row}");
        }
    }
}

#[test]
fn a_confirmation_repeats_the_forecast_of_the_choice() {
    let run = run_at(Moment::Deciding);
    let mut screen = Screen::new();
    for (prospect, keys) in [
        (Prospect::Grow { layers: 2 }, vec![D, KeyCode::Enter]),
        (
            Prospect::TrainOn { steps: 50_000 },
            vec![KeyCode::Esc, KeyCode::Down, KeyCode::Enter],
        ),
    ] {
        let forecast = run.prospect(prospect).unwrap();
        let again = run.prospect(prospect).unwrap();
        assert!(std::sync::Arc::ptr_eq(&forecast, &again), "worked out once");
        keys.into_iter()
            .for_each(|key| drop(screen.press(&run, key)));
        let text = screen.text(&run, 120, 40);
        let words = format!("forecast: {}", forecast.words());
        assert!(
            forecast.final_gap.is_some() && text.contains(&words),
            "{words}\n{text}"
        );
    }
}
