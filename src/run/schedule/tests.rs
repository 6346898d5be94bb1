//! Learning rates as planned and as used, and their sums.

use super::*;

fn rate(kind: Schedule) -> LearningRate {
    LearningRate {
        kind,
        peak: 1.0,
        min: 0.1,
        warmup: 10,
        steps: 110,
    }
}

#[test]
fn every_schedule_warms_up_and_ends_where_it_should() {
    for kind in [
        Schedule::Cosine,
        Schedule::Linear,
        Schedule::Constant,
        Schedule::Wsd,
    ] {
        let lr = rate(kind);
        assert!((lr.at(0) - 0.1).abs() < 1e-12);
        assert!((lr.at(9) - 1.0).abs() < 1e-12);
        let end = if kind == Schedule::Constant { 1.0 } else { 0.1 };
        assert_eq!(lr.at(110), end);
        assert_eq!(lr.at(10_000), end);
        assert!(
            (lr.at(109) - end).abs() < 0.05,
            "{kind:?} has almost arrived"
        );
    }
}

#[test]
fn the_middle_of_each_schedule() {
    assert!((rate(Schedule::Cosine).at(60) - 0.55).abs() < 1e-12);
    assert!((rate(Schedule::Linear).at(60) - 0.55).abs() < 1e-12);
    assert_eq!(rate(Schedule::Wsd).at(60), 1.0);
    assert!((rate(Schedule::Wsd).at(99) - 0.55).abs() < 1e-12);
}

#[test]
fn sums_agree_with_their_definition_and_blocks_with_single_steps() {
    let schedule = LearningRate {
        kind: Schedule::Cosine,
        peak: 3e-4,
        min: 1e-5,
        warmup: 2000,
        steps: 100_000,
    };
    let course = Course::planned(schedule);
    let steps: Vec<u64> = (0..=100).map(|i| 1000 * i).collect();
    let blocks = course.sums(&steps).unwrap();
    let (mut s1, mut s2, mut m, mut fallen) = (0.0, 0.0, 0.0, false);
    for step in 0..100_000 {
        let (rate, before) = (schedule.at(step), schedule.at(step.saturating_sub(1)));
        fallen |= rate < before;
        if fallen {
            m = 0.999 * m + (before - rate);
        }
        s1 += rate;
        s2 += m;
        if (step + 1) % 1000 == 0 {
            let block = blocks[(step as usize + 1) / 1000];
            assert!(
                (block.rates / s1 - 1.0).abs() < 1e-4,
                "{step}: {block:?} {s1}"
            );
            assert!(
                (block.annealing - 1e-3 * s2).abs() < 1e-4 * 2.9e-4,
                "{step}: {block:?} {s2}"
            );
        }
    }
    assert!((s2 - 0.29).abs() < 0.002, "{s2}");
    // A phase of few steps is summed step by step.
    let short = LearningRate {
        steps: 500,
        warmup: 20,
        ..schedule
    };
    let exact = Course::planned(short).sums(&[0, 500]).unwrap();
    let sum: f64 = (0..500).map(|step| short.at(step)).sum();
    assert_eq!(exact[0], Sums::default());
    assert!((exact[1].rates / sum - 1.0).abs() < 1e-12);
}

#[test]
fn a_course_follows_what_operators_set() {
    let schedule = rate(Schedule::Linear);
    let mut course = Course::planned(schedule);
    // Rates that follow the plan change nothing.
    (0..50).for_each(|step| course.see(step, schedule.at(step)));
    assert!(!course.is_changed());
    course.see(50, 0.5 * schedule.at(50));
    assert!((course.at(80).unwrap() - 0.5 * schedule.at(80)).abs() < 1e-12);
    assert_eq!(course.at(49), Some(schedule.at(49)), "the past stays");
    course.cool_down(60, 10, 0.2, 0.1);
    assert!((course.at(60).unwrap() - 0.19).abs() < 1e-12);
    assert!((course.at(69).unwrap() - 0.1).abs() < 1e-12);
    assert!((course.at(500).unwrap() - 0.1).abs() < 1e-12);
    course.see(65, 0.28);
    assert!((course.at(65).unwrap() - 0.28).abs() < 1e-12);
    assert!(
        (course.at(69).unwrap() - 0.2).abs() < 1e-12,
        "scaled with it"
    );
    let shorter = LearningRate {
        steps: 90,
        ..schedule
    };
    course.follow(80, shorter);
    assert_eq!(course.schedule(), Some(shorter));
    let factor = 0.28 / (0.2 * 0.4 + 0.1 * 0.6);
    assert!((course.at(85).unwrap() - factor * shorter.at(85)).abs() < 1e-12);
    assert!(
        (course.at(69).unwrap() - 0.2).abs() < 1e-12,
        "the past stays"
    );
    // NaN is not a rate.
    let before = course.clone();
    course.see(70, f64::NAN);
    assert_eq!(course, before);
}

#[test]
fn rates_that_were_seen_say_nothing_of_what_comes() {
    let mut course = Course::default();
    assert_eq!((course.at(0), course.sums(&[10])), (None, None));
    for step in (9..2000).step_by(10) {
        course.see(step, 1e-3 * (1.0 - step as f64 / 2000.0));
    }
    assert!((course.at(500).unwrap() - 0.75e-3).abs() < 1e-9);
    assert!(course.sums(&[1000]).is_some());
    assert_eq!(course.sums(&[3000]), None);
}
