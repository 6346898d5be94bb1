//! `series.bin` next to a journal: what need not be read again, and what must stay correct.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::keep::{SeriesKeeper, SeriesWriter};
use super::{bounded, file, open};
use crate::run::event::{
    Body, CheckpointBegun, CheckpointWritten, Evaluation, Event, FORMAT_VERSION, NonFinite, Phase,
    PhaseEvent, PhaseResult, Probe, Resumed, Rollback, RunEvent, RunStatus, Start, TrainMetrics,
};
use crate::run::state::RunState;
use crate::run::tail::Tail;

/// Lines of a journal in which everything happens that moves curves about.
pub(super) struct Story {
    pub(super) lines: String,
    seq: u64,
    step: u64,
    phase: Phase,
    branch: u32,
}

impl Story {
    fn emit(&mut self, body: Body) -> u64 {
        self.seq += 1;
        let event = Event {
            v: FORMAT_VERSION,
            seq: self.seq,
            t: 1_700_000_000_000 + self.seq as i64,
            elapsed: self.seq as f64 / 7.0,
            step: self.step,
            phase: self.phase.clone(),
            phase_step: self.step,
            branch: self.branch,
            body,
        };
        self.lines += &event.to_line();
        self.lines.push('\n');
        self.seq
    }

    fn phase(&mut self, phase: Phase, result: Option<PhaseResult>) {
        self.phase = phase;
        self.emit(Body::Phase(PhaseEvent {
            layers: 4,
            parameters: 10,
            steps: 1000,
            start: Start::Inherit,
            source_layers: vec![0, 1],
            result,
            schedule: None,
            planned: Vec::new(),
        }));
    }

    /// Training with an evaluation every 10 events, a probe every 50, and now and then no number.
    fn train(&mut self, events: u64) {
        for i in 0..events {
            self.step += 1;
            let loss = 5.0 / (1.0 + self.step as f64).ln() + (self.step % 17) as f64 / 100.0;
            let broken = self.step.is_multiple_of(997);
            self.emit(Body::Train(TrainMetrics {
                loss: (!broken).then_some(loss),
                nonfinite: broken.then_some(NonFinite::Nan),
                lr: 1e-3 / 3.0,
                grad_norm: (i % 3 > 0).then_some(1.1),
                tokens: 1024 * self.step,
                tokens_per_second: 1e5 / 7.0,
                ..Default::default()
            }));
            if i % 10 == 9 {
                self.emit(Body::Eval(Evaluation {
                    val_loss: (!broken).then_some(loss + 0.1),
                    nonfinite: None,
                    stderr: Some(0.01),
                    windows: 8,
                    blocks: None,
                    gap: (i % 20 == 9).then_some(0.1 / 3.0),
                    gap_stderr: Some(0.001),
                    matched: false,
                    seconds: 0.1,
                }));
            }
            if i % 50 == 49 {
                let layers = 2 + self.branch as usize;
                self.emit(Body::Probe(Probe {
                    max_rank: vec![loss; layers],
                    sink: Vec::new(),
                    avg_mass: vec![0.5; layers],
                    rank: vec![vec![loss; 2]; layers],
                    lazy_layers: vec![1],
                    block_influence: vec![0.1; layers],
                    grad_q: Vec::new(),
                    grad_k: Vec::new(),
                    windows: 2,
                    length: 10,
                    tau: 0.9,
                    seconds: 0.1,
                    file: "rank/x".into(),
                }));
            }
        }
    }

    fn checkpoint(&mut self) -> u64 {
        let (name, reason) = (format!("s{}", self.step), "schedule".to_string());
        let begun = self.emit(Body::Checkpointing(CheckpointBegun {
            name: name.clone(),
            reason: reason.clone(),
        }));
        let of_step = self.step;
        self.train(3);
        self.emit(Body::Checkpoint(CheckpointWritten {
            name,
            bytes: 1,
            seconds: 0.1,
            val_loss: Some(2.0),
            reason,
            verified: false,
            begun: Some(begun),
            of_step: Some(of_step),
            milestone: None,
        }));
        begun
    }

    /// Two phases, a rollback, and a resume from before it.
    pub(super) fn new(events: u64) -> Self {
        let mut story = Self {
            lines: String::new(),
            seq: 0,
            step: 0,
            phase: Phase::Reference,
            branch: 0,
        };
        story.emit(Body::Run(RunEvent {
            status: RunStatus::Started,
            info: None,
            message: Some("\"quoted\" ±".into()),
        }));
        story.phase(Phase::Reference, None);
        story.train(events);
        let a = story.checkpoint();
        let at_a = story.step;
        story.train(events / 2);
        let result = PhaseResult {
            layers: 4,
            parameters: 10,
            steps: events,
            tokens: 1,
            val_loss: f64::NAN,
            stderr: 0.1,
            gap: None,
            gap_stderr: None,
            tokens_per_second: 1.0 / 3.0,
            tokens_per_second_wall: 1.0,
            lazy_layers: vec![],
            max_rank: vec![1.5],
            start: Start::Random,
            matched: false,
        };
        story.phase(Phase::Reference, Some(result));
        story.phase(Phase::Round(1), None);
        story.train(events / 2);
        let b = story.checkpoint();
        let at_b = story.step;
        story.train(events / 4);
        (story.branch, story.step) = (1, at_a);
        story.emit(Body::Rollback(Rollback {
            checkpoint: "a".into(),
            from_seq: a,
            why: "asked".into(),
            overruled: Vec::new(),
        }));
        story.train(events / 3);
        story.checkpoint();
        (story.branch, story.step) = (0, at_b);
        story.emit(Body::Resumed(Resumed {
            from_seq: b,
            checkpoint: "b".into(),
            overruled: Vec::new(),
        }));
        story.train(events / 5);
        story
    }
}

/// The complete state, except for the version counter.
fn essence(mut state: RunState) -> String {
    state.version = 0;
    format!("{state:?}")
}

/// The fold over a complete journal, without `series.bin`.
pub(super) fn folded(dir: &Path) -> String {
    let mut tail = Tail::open(dir);
    let mut state = RunState::default();
    loop {
        for item in tail.poll().unwrap() {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            return essence(state);
        }
    }
}

/// The state by `series.bin` and the rest of the journal, and from which byte on the journal was read.
pub(super) fn opened(dir: &Path) -> (String, u64) {
    let (mut tail, mut state, _) = open::open(dir);
    let from = tail.position().offset;
    loop {
        for item in tail.poll().unwrap() {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            return (essence(state), from);
        }
    }
}

/// A directory whose journal has `text`, and a `series.bin` up to its end.
pub(super) fn kept(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.jsonl"), text).unwrap();
    let (mut tail, mut state, _) = open::open(dir.path());
    loop {
        for item in tail.poll().unwrap() {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            break;
        }
    }
    let bytes = file::encode(&state, &tail.position()).unwrap();
    file::write(dir.path(), &bytes).unwrap();
    dir
}

pub(super) fn append(dir: &Path, text: &str) {
    let mut journal = OpenOptions::new();
    let mut journal = journal.append(true).open(dir.join("events.jsonl")).unwrap();
    journal.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_state_read_from_series_bin_equals_the_fold_over_the_whole_journal_whatever_the_cut() {
    let lines = Story::new(300).lines;
    let whole = tempfile::tempdir().unwrap();
    fs::write(whole.path().join("events.jsonl"), &lines).unwrap();
    let wanted = folded(whole.path());
    let cuts = (1..60).map(|i| i * lines.len() / 60).chain([lines.len()]);
    for cut in cuts.filter(|&cut| lines.is_char_boundary(cut)) {
        let dir = kept(&lines[..cut]);
        append(dir.path(), &lines[cut..]);
        let (state, from) = opened(dir.path());
        assert!(state == wanted, "differs when cut at byte {cut}");
        let line_start = lines[..cut].rfind('\n').map_or(0, |i| i as u64 + 1);
        assert_eq!(from, line_start, "only the rest was read");
    }
}

#[test]
fn the_same_holds_for_a_journal_long_enough_that_points_are_gathered() {
    let lines = Story::new(40_000).lines;
    let whole = tempfile::tempdir().unwrap();
    fs::write(whole.path().join("events.jsonl"), &lines).unwrap();
    let wanted = folded(whole.path());
    for part in [3, 5, 8] {
        let cut = part * lines.len() / 9;
        let dir = kept(&lines[..cut]);
        append(dir.path(), &lines[cut..]);
        assert!(
            opened(dir.path()).0 == wanted,
            "differs when cut at {part}/9"
        );
    }
    let state = open::load(whole.path()).unwrap();
    assert!(state.live().train.points() > 60_000);
    assert!(state.live().train.len() < 32_768);
}

#[test]
fn a_list_of_runs_tells_the_same_from_the_head_alone() {
    let lines = Story::new(300).lines;
    for part in 1..=10 {
        let cut = part * lines.len() / 10;
        let cut = lines[..cut].rfind('\n').unwrap() + 1;
        let dir = kept(&lines[..cut]);
        append(dir.path(), &lines[cut..]);
        let brief = open::brief(dir.path(), &open::Budget::of_one()).unwrap();
        let whole = open::load(dir.path()).unwrap();
        assert_eq!(format!("{:?}", brief.core), format!("{:?}", whole.core));
        assert_eq!(brief.seq, whole.seq);
        assert_eq!(brief.elapsed.to_bits(), whole.elapsed.to_bits());
    }
}

#[test]
fn a_list_of_runs_tells_the_same_without_any_file() {
    let lines = Story::new(300).lines;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.jsonl"), &lines).unwrap();
    // Skimmed first: a complete reading may write a file.
    let brief = open::brief(dir.path(), &open::Budget::of_one()).unwrap();
    let whole = open::load(dir.path()).unwrap();
    assert_eq!(format!("{:?}", brief.core), format!("{:?}", whole.core));
    assert_eq!((brief.seq, brief.t), (whole.seq, whole.t));
}

#[test]
fn a_file_that_does_not_fit_its_journal_is_ignored() {
    let lines = Story::new(100).lines;
    let (first, rest) = lines.split_once('\n').unwrap();
    let dir = kept(&lines);
    let journal = dir.path().join("events.jsonl");
    let cases = [
        lines[..lines.len() / 2].to_string(),
        first.replace("started", "paused") + "\n" + rest,
        lines.clone() + "x",
    ];
    let fits = cases.map(|text| {
        fs::write(&journal, text).unwrap();
        let fits = file::read(dir.path()).is_some();
        assert_eq!(opened(dir.path()).0, folded(dir.path()));
        fits
    });
    assert_eq!(fits, [false, false, true]);
    // The same length and head, another end.
    let mut bytes = lines.clone().into_bytes();
    let at = bytes.len() - 10;
    bytes[at] = b'7';
    fs::write(&journal, bytes).unwrap();
    assert!(file::read(dir.path()).is_none());
    fs::remove_file(&journal).unwrap();
    assert!(file::read(dir.path()).is_none());
    assert_eq!(open::load(dir.path()).unwrap().seq, 0);
}

#[test]
fn a_damaged_file_is_ignored_whatever_is_damaged() {
    let dir = kept(&Story::new(60).lines);
    let path = file::path(dir.path());
    let whole = fs::read(&path).unwrap();
    assert!(file::read(dir.path()).is_some());
    for at in (0..whole.len()).step_by(whole.len() / 400) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        assert!(file::read(dir.path()).is_none(), "byte {at}");
    }
    for len in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(file::read(dir.path()).is_none(), "cut to {len}");
        assert!(file::read_head(dir.path()).is_none());
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(file::read(dir.path()).is_none());
}

#[test]
fn lists_longer_than_any_the_program_writes_are_refused_before_they_take_memory() {
    #[derive(serde::Deserialize)]
    struct Short {
        #[serde(deserialize_with = "bounded::at_most::<3, _, _>")]
        list: Vec<u64>,
    }
    let read = |bytes: &[u8]| postcard::from_bytes::<Short>(bytes).map(|s| s.list);
    assert_eq!(
        read(&postcard::to_stdvec(&vec![1u64, 2, 3]).unwrap()).unwrap(),
        [1, 2, 3]
    );
    assert!(read(&postcard::to_stdvec(&vec![1u64; 4]).unwrap()).is_err());
    // An announced length without the bytes.
    assert!(read(&postcard::to_stdvec(&u64::MAX).unwrap()).is_err());
}

#[test]
fn a_reader_that_read_much_leaves_a_file_and_one_that_may_not_is_silent() {
    let lines = Story::new(6000).lines;
    assert!(lines.len() > 1 << 20);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.jsonl"), &lines).unwrap();
    open::load(dir.path()).unwrap();
    assert_eq!(file::offset(dir.path()), Some(lines.len() as u64));
    let leftovers = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(leftovers, 2, "the journal and series.bin");
    let (state, from) = opened(dir.path());
    assert_eq!((state, from), (folded(dir.path()), lines.len() as u64));
    // Where the file cannot be created: its name is taken.
    fs::remove_file(file::path(dir.path())).unwrap();
    fs::create_dir(file::path(dir.path())).unwrap();
    let state = open::load(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert!(state.seq > 0);
}

#[test]
fn a_short_journal_is_not_worth_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.jsonl"), Story::new(60).lines).unwrap();
    open::load(dir.path()).unwrap();
    assert!(!file::path(dir.path()).exists());
}

#[test]
fn nothing_is_written_for_a_journal_that_has_been_replaced_meanwhile() {
    let lines = Story::new(6000).lines;
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("events.jsonl");
    fs::write(&journal, &lines).unwrap();
    let (mut tail, mut state, _) = open::open(dir.path());
    while !tail.caught_up() {
        for item in tail.poll().unwrap() {
            item.apply_to(&mut state);
        }
    }
    fs::write(&journal, lines.replacen("started", "running", 1)).unwrap();
    let mut writer = SeriesWriter::new(dir.path(), 0);
    assert!(!writer.maybe_write(&state, &tail.position()));
    assert!(!file::path(dir.path()).exists());
}

#[test]
fn a_file_that_reaches_further_is_not_overwritten() {
    let lines = Story::new(6000).lines;
    let cut = lines[..lines.len() / 2].rfind('\n').unwrap() + 1;
    let half = kept(&lines[..cut]);
    append(half.path(), &lines[cut..]);
    let (tail, state, _) = open::open(half.path());
    let position = tail.position();
    open::load(half.path()).unwrap();
    let mut late = SeriesWriter::new(half.path(), 0);
    assert!(!late.maybe_write(&state, &position));
    assert_eq!(file::offset(half.path()), Some(lines.len() as u64));
}

#[test]
fn a_keeper_follows_a_journal_that_grows_and_writes_at_its_end() {
    let lines = Story::new(3000).lines;
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("events.jsonl");
    fs::write(&journal, "").unwrap();
    let mut keeper = SeriesKeeper::new(dir.path());
    for part in lines.as_bytes().chunks(lines.len() / 7) {
        let mut journal = OpenOptions::new().append(true).open(&journal).unwrap();
        journal.write_all(part).unwrap();
        keeper.tend().unwrap();
    }
    keeper.finish().unwrap();
    let (state, from) = opened(dir.path());
    assert_eq!(from, lines.len() as u64);
    assert!(state == folded(dir.path()));
}

#[test]
fn a_list_of_runs_does_not_wait_for_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let line = Story::new(1).lines.lines().next().unwrap().to_string() + "\n";
    let short = line.repeat((8 << 20) / line.len());
    fs::write(dir.path().join("events.jsonl"), &short).unwrap();
    let none = open::Budget::of(std::time::Duration::ZERO);
    open::brief(dir.path(), &none).unwrap();
    fs::write(dir.path().join("events.jsonl"), short.repeat(3)).unwrap();
    let error = open::brief(dir.path(), &none).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(
        error
            .to_string()
            .contains("`heirloom show` reads all of it")
    );
    open::brief(dir.path(), &open::Budget::of_one()).unwrap();
}
