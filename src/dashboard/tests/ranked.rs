//! Tests the times of a run of several ranks on every screen, in `show` and in plain lines.

use super::realistic::{SIZES, journal, journal::Moment};
use super::*;
use crate::dashboard::plain::{Answers, Lines};
use crate::run::dir::RunDir;
use crate::run::event::{RankLayout, RankSeconds, RankTimes, RunEvent};
use crate::run::show;

/// Returns the realistic run on two machines with four GPUs each, with rank 5 slow from the middle of the second round on.
fn run_of(world: usize) -> (RunState, Vec<Event>) {
    let mut run = RunState::default();
    let mut all = Vec::new();
    for line in journal::journal(Moment::Healthy).lines() {
        let mut event = Event::from_line(line).unwrap();
        if let Body::Run(RunEvent {
            info: Some(info), ..
        }) = &mut event.body
        {
            info.ranks = Some(RankLayout {
                world,
                launcher: "mpirun".into(),
                hosts: vec!["node-a".into(), "node-b".into()],
            });
        }
        let trains = matches!(event.body, Body::Train(_));
        run.apply(&event);
        if trains {
            let (round, step) = (event.phase == Phase::Round(2), event.phase_step);
            event.body = Body::Ranks(times(world, round && step > 30_000, step));
            run.apply(&event);
        }
        all.push(event);
    }
    (run, all)
}

/// Returns the times of ten steps. If rank 5 is slow, the others wait for it.
fn times(world: usize, slow: bool, step: u64) -> RankTimes {
    let rank = |rank: usize| {
        let noise = ((step * 7919 + rank as u64 * 104_729) % 101) as f64 / 101.0;
        let is_slow = slow && rank == 5;
        RankSeconds {
            compute: 8.2 + 0.1 * noise + if is_slow { 1.1 } else { 0.0 },
            wait: 0.4 + 0.1 * (1.0 - noise) + if slow && !is_slow { 1.1 } else { 0.0 },
            exchange: 0.8 + 0.1 * noise,
        }
    };
    let all: Vec<_> = (0..world).map(rank).collect();
    RankTimes::of(10, &all)
}

#[test]
fn eight_ranks_at_every_size() {
    let (run, _) = run_of(8);
    for (width, height) in SIZES {
        let name = format!("eight_ranks_{width}x{height}");
        insta::assert_snapshot!(name, Screen::new().text(&run, width, height));
    }
    let mut screen = Screen::new();
    screen.glyphs = Glyphs::Ascii;
    insta::assert_snapshot!("eight_ranks_ascii_80x24", screen.text(&run, 80, 24));
}

#[test]
fn many_ranks_share_columns_and_the_slowest_are_shown() {
    let (run, _) = run_of(64);
    insta::assert_snapshot!("64_ranks_200x60", Screen::new().text(&run, 200, 60));
    insta::assert_snapshot!("64_ranks_80x24", Screen::new().text(&run, 80, 24));
    let (run, _) = run_of(512);
    let all = Screen::new().text(&run, 200, 60);
    assert!(
        all.contains("512 ranks") && all.contains("the slowest of them"),
        "{all}"
    );
    assert!(all.contains(" r5 "), "{all}");
}

#[test]
fn a_run_of_one_process_has_no_ranks() {
    let run = super::realistic::run_at(Moment::Healthy);
    for (width, height) in SIZES {
        let all = Screen::new().text(&run, width, height);
        assert!(!all.contains("ranks ") && !all.contains("wait ms"), "{all}");
    }
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    assert!(show::json(&run, &dir).get("ranks").is_none());
}

#[test]
fn ranks_are_in_show_and_in_plain_lines() {
    let (run, all) = run_of(8);
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let json = &show::json(&run, &dir)["ranks"];
    assert_eq!(json["world"], 8);
    assert_eq!(json["launcher"], "mpirun");
    assert_eq!(json["hosts"], serde_json::json!(["node-a", "node-b"]));
    assert_eq!(json["slowest"], 5);
    assert_eq!(json["compute_seconds"].as_array().unwrap().len(), 8);
    let text = show::text(&run, &dir);
    let ranks: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.starts_with("ranks"))
        .collect();
    assert_eq!(ranks[0], "ranks      8 ranks on 2 hosts (mpirun)");
    assert!(ranks[1].contains("slowest 5 (+12 %)"), "{text}");
    let line = Lines::of_zone(&dir, TimeZone::UTC);
    let trained = all.iter().rev().find(|e| matches!(e.body, Body::Ranks(_)));
    let mut train = trained.unwrap().clone();
    assert!(line.of_event(&run, &train, Answers::No).text.is_none());
    train.body = Body::Train(Default::default());
    let text = line.of_event(&run, &train, Answers::No).text.unwrap();
    assert!(
        text.contains("8 ranks wait 14 %, slowest 5 (+12 %)"),
        "{text}"
    );
}
