use std::time::Duration;

use super::*;
use crate::run::event::{
    Body, CheckpointWritten, Evaluation, Event, FORMAT_VERSION, Phase, PhaseEvent, Resumed,
    RunEvent, RunStatus, Start, TrainMetrics, Warning,
};
use crate::run::state::Status;

/// Builds a journal with an event every tenth of a second.
pub struct Written {
    pub lines: Vec<String>,
    pub seq: u64,
    step: u64,
    elapsed: f64,
}

impl Written {
    pub fn new() -> Self {
        let mut written = Self {
            lines: Vec::new(),
            seq: 0,
            step: 0,
            elapsed: 0.0,
        };
        written.emit(Body::Run(RunEvent {
            status: RunStatus::Started,
            info: None,
            message: None,
        }));
        written.emit(Body::Phase(PhaseEvent {
            layers: 4,
            parameters: 1000,
            steps: 500,
            start: Start::Inherit,
            source_layers: vec![0, 1, 2, 3],
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
        written
    }

    pub fn emit(&mut self, body: Body) {
        self.seq += 1;
        self.elapsed += 0.1;
        let event = Event {
            v: FORMAT_VERSION,
            seq: self.seq,
            t: 1_700_000_000_000 + self.seq as i64,
            elapsed: self.elapsed,
            step: self.step,
            phase: Phase::Round(1),
            phase_step: self.step,
            branch: 0,
            body,
        };
        self.lines.push(event.to_line());
    }

    pub fn push_line(&mut self, line: &str) {
        self.lines.push(line.into());
    }

    /// Adds steps with a loss each, and an evaluation after every tenth step.
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            let loss = 2.0 + (self.seq * 7919 % 101) as f64 / 101.0;
            self.emit(Body::Train(TrainMetrics {
                loss: (self.step % 50 != 49).then_some(loss),
                nonfinite: None,
                lr: 1e-3,
                grad_norm: Some(1.0),
                tokens: self.step * 256,
                tokens_per_second: 1000.0,
                ..Default::default()
            }));
            if self.step.is_multiple_of(10) {
                self.emit(Body::Eval(Evaluation {
                    val_loss: Some(loss),
                    nonfinite: None,
                    stderr: Some(0.1),
                    windows: 4,
                    blocks: None,
                    gap: None,
                    gap_stderr: None,
                    matched: false,
                    seconds: 0.1,
                }));
            }
        }
    }

    pub fn checkpoint(&mut self) {
        self.emit(Body::Checkpoint(CheckpointWritten {
            name: format!("b0-s{:08}", self.step),
            bytes: 1,
            seconds: 0.1,
            val_loss: None,
            reason: "every".into(),
            verified: true,
            begun: None,
            of_step: None,
            milestone: None,
        }));
    }

    pub fn decide(&mut self) {
        self.emit(Body::Warning(Warning {
            message: "decide".into(),
        }));
    }

    /// Adds a resume from the checkpoint of event `seq`.
    pub fn resume(&mut self, seq: u64) {
        self.step = 0;
        for line in &self.lines {
            if let Ok(event) = Event::from_line(line)
                && event.seq == seq
            {
                self.step = event.step;
            }
        }
        self.emit(Body::Resumed(Resumed {
            from_seq: seq,
            checkpoint: "x".into(),
            overruled: Vec::new(),
        }));
    }
}

/// Writes the journal to disk. Returns its directory and its index.
pub fn journal(written: &Written) -> (tempfile::TempDir, JournalIndex) {
    let tmp = tempfile::tempdir().unwrap();
    let text = written.lines.join("\n") + "\n";
    std::fs::write(tmp.path().join("events.jsonl"), text).unwrap();
    let index = JournalIndex::open(tmp.path()).unwrap();
    (tmp, index)
}

fn feed(written: &Written, speed: Option<f64>) -> (tempfile::TempDir, ReplayFeed) {
    let (tmp, _) = journal(written);
    let replay = Replay::open(tmp.path(), speed).unwrap();
    (tmp, ReplayFeed::new(replay))
}

#[test]
fn a_replay_shows_the_run_as_it_was_at_every_moment() {
    let mut written = Written::new();
    written.run(20);
    written.emit(Body::Run(RunEvent {
        status: RunStatus::Paused,
        info: None,
        message: None,
    }));
    let (_tmp, mut feed) = feed(&written, Some(1.0));
    let mut state = RunState::default();
    let start = Instant::now();
    feed.drain_at(&mut state, start).unwrap();
    assert_eq!((state.seq, state.core.status), (1, Status::Running));
    feed.drain_at(&mut state, start + Duration::from_millis(1050))
        .unwrap();
    let playing = feed.playing().unwrap();
    assert_eq!((playing.event, playing.events), (11, 25));
    assert_eq!(state.core.step, playing.step);
    assert!((playing.at - 1.15).abs() < 1e-6 && playing.playing);
    feed.drain_at(&mut state, start + Duration::from_secs(60))
        .unwrap();
    feed.drain_at(&mut state, start + Duration::from_secs(61))
        .unwrap();
    assert_eq!(state.core.status, Status::Paused);
    let playing = feed.playing().unwrap();
    assert_eq!((playing.event, playing.step), (25, 20));
    assert!(!playing.playing && !feed.is_behind());

    feed.steer(ReplayCommand::ToTenth(0));
    assert!(feed.is_behind());
    feed.drain_at(&mut state, start + Duration::from_secs(62))
        .unwrap();
    assert_eq!((state.seq, state.core.step), (1, 0));
    assert!(state.live().train.is_empty() && !feed.is_behind());
}

#[test]
fn time_stands_still_while_a_long_journal_is_read() {
    let mut written = Written::new();
    written.run(9000);
    let (_tmp, mut feed) = feed(&written, Some(1.0));
    let mut state = RunState::default();
    let start = Instant::now();
    feed.drain_at(&mut state, start).unwrap();
    feed.steer(ReplayCommand::ToTenth(9));
    feed.drain_at(&mut state, start).unwrap();
    let playing = feed.playing().unwrap();
    assert!(feed.is_behind(), "more than one read");
    assert!(playing.at < 0.9 * playing.end, "shown is what is folded");
    let mut reads = 0;
    while feed.is_behind() {
        reads += 1;
        feed.drain_at(&mut state, start + Duration::from_secs(reads))
            .unwrap();
    }
    let playing = feed.playing().unwrap();
    let goal = playing.begin + 0.9 * (playing.end - playing.begin);
    assert!((playing.at - goal).abs() < 1e-6, "no second went by");
}

#[test]
fn a_replay_begins_where_it_is_told_and_says_when_there_is_no_such_place() {
    let mut written = Written::new();
    written.run(50);
    let (tmp, _) = journal(&written);
    let mut replay = Replay::open(tmp.path(), None).unwrap();
    assert_eq!(replay.clock.speed(), 1.0);
    replay.start_at(Moment::Step(30)).unwrap();
    let shown = replay.clock.position();
    let steps = replay.index.entries();
    assert_eq!((steps[shown - 1].step, steps[shown - 2].step), (30, 29));
    replay.start_at(Moment::Seconds(2.0)).unwrap();
    assert!((replay.clock.at() - 2.0).abs() < 1e-9);
    let said = replay.start_at(Moment::Step(51)).unwrap_err().to_string();
    assert_eq!(said, "--at 51: the run's last step is 50");
    let said = replay.start_at(Moment::Seconds(60.0)).unwrap_err();
    assert!(
        said.to_string().contains("--at 1m00s: the run lasted 6 s"),
        "{said}"
    );
}

#[test]
fn a_run_without_events_is_an_error_that_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    let said = || match Replay::open(tmp.path(), None) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("there is nothing to play"),
    };
    assert!(said().contains("has no events yet"), "{}", said());
    std::fs::write(tmp.path().join("events.jsonl"), "{\"torn").unwrap();
    assert!(said().contains("has no events yet"), "{}", said());
}

#[test]
fn lines_come_as_they_are_in_the_journal_from_the_moment_on() {
    let mut written = Written::new();
    written.run(20);
    written.push_line("{broken");
    written.decide();
    let (tmp, _) = journal(&written);
    let play = |at: Option<Moment>, json| {
        let mut replay = Replay::open(tmp.path(), Some(f64::INFINITY)).unwrap();
        if let Some(moment) = at {
            replay.start_at(moment).unwrap();
        }
        let mut out = Vec::new();
        let state = print(replay, &mut out, json).unwrap().unwrap();
        assert_eq!(state.core.step, 20);
        String::from_utf8(out).unwrap()
    };
    let mut readable = written.lines.clone();
    readable.retain(|line| line != "{broken");
    assert_eq!(play(None, true).lines().collect::<Vec<_>>(), readable);
    let text = play(Some(Moment::Step(20)), false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].contains("round-1 step 20/500       loss "),
        "{text}"
    );
    assert!(lines[2].ends_with("decide"), "{text}");
}
