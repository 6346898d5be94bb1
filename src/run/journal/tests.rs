use super::*;
use crate::run::event::{Done, Gap, Log, TrainMetrics, Warning};
use crate::run::event::{Outcome, finite};
use crate::run::tail;
use std::fs::OpenOptions;
use std::sync::{Arc, Mutex};

fn at(step: u64) -> Stamp {
    Stamp {
        step,
        phase: Phase::Round(1),
        phase_step: step,
        branch: 0,
    }
}

fn train(loss: f64) -> Body {
    let (loss, nonfinite) = finite(loss);
    Body::Train(TrainMetrics {
        loss,
        nonfinite,
        lr: 1e-3,
        grad_norm: Some(1.0),
        tokens: 1024,
        tokens_per_second: 100.0,
    })
}

fn log(text: &str) -> Body {
    Body::Log(Log {
        message: text.into(),
    })
}

fn warning(text: &str) -> Body {
    Body::Warning(Warning {
        message: text.into(),
    })
}

fn done() -> Body {
    Body::Done(Done {
        outcome: Some(Outcome::Matched),
        failed: false,
        message: "over".into(),
    })
}

fn lines(dir: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|l| Event::from_line(l).unwrap()).collect()
}

/// A disk with room for `room` bytes.
#[derive(Clone, Default)]
struct SmallDisk(Arc<Mutex<(Vec<u8>, usize, usize)>>);

impl SmallDisk {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), room, 0))))
    }
    fn add_room(&self, room: usize) {
        self.0.lock().unwrap().1 += room;
    }
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
    }
    fn syncs(&self) -> usize {
        self.0.lock().unwrap().2
    }
}

impl Sink for SmallDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, room, _) = &mut *self.0.lock().unwrap();
        let n = bytes.len().min(*room);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        text.extend_from_slice(&bytes[..n]);
        *room -= n;
        Ok(n)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().2 += 1;
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }
    fn rewrite(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        panic!("no flush of this disk fails")
    }
}

/// A disk that loses what its failing flushes were to write, as Linux does: they can be read until the machine stops.
#[derive(Clone, Default)]
struct LosingDisk(Arc<Mutex<Losing>>);

#[derive(Default)]
struct Losing {
    /// What readers see.
    seen: Vec<u8>,
    /// What is on disk, byte by byte.
    kept: Vec<Option<u8>>,
    /// Bytes that the next flush writes.
    dirty: Vec<usize>,
    flushes_to_fail: usize,
}

impl LosingDisk {
    /// Lets the next flushes fail.
    fn fail(&self, flushes: usize) {
        self.0.lock().unwrap().flushes_to_fail = flushes;
    }
    /// What readers see, which must be on disk in whole after a flush that succeeded.
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().seen.clone()).unwrap()
    }
    fn after_a_power_failure(&self) -> Vec<Option<u8>> {
        self.0.lock().unwrap().kept.clone()
    }
}

impl Sink for LosingDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.size()?;
        self.rewrite(at, bytes)?;
        Ok(bytes.len())
    }
    fn sync(&mut self) -> io::Result<()> {
        let disk = &mut *self.0.lock().unwrap();
        let dirty = std::mem::take(&mut disk.dirty);
        if disk.flushes_to_fail > 0 {
            disk.flushes_to_fail -= 1;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        for at in dirty {
            disk.kept[at] = Some(disk.seen[at]);
        }
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = &mut *self.0.lock().unwrap();
        let at = at as usize;
        let end = disk.seen.len().max(at + bytes.len());
        disk.seen.resize(end, 0);
        disk.kept.resize(end, None);
        disk.seen[at..at + bytes.len()].copy_from_slice(bytes);
        disk.dirty.extend(at..at + bytes.len());
        Ok(())
    }
}

#[test]
fn lines_wait_for_a_flush_and_durable_ones_do_not() {
    let disk = SmallDisk::with_room(1 << 20);
    let mut journal = Journal::over(Box::new(disk.clone()));
    journal.emit(at(1), train(2.0));
    assert_eq!((disk.text().len(), disk.syncs()), (0, 0));
    assert!(journal.flush());
    assert_eq!((disk.text().lines().count(), disk.syncs()), (1, 0));
    journal.emit(at(2), train(1.9));
    journal.emit(at(2), done());
    assert_eq!((disk.text().lines().count(), disk.syncs()), (3, 1));
    assert_eq!(journal.problem(), None);
}

#[test]
fn observers_see_every_event_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut journal = Journal::over(Box::new(SmallDisk::with_room(0)));
    let here = seen.clone();
    journal.subscribe(Box::new(move |e| here.lock().unwrap().push(e.clone())));
    let a = journal.emit(at(1), train(2.0));
    let b = journal.emit(at(2), done());
    assert_eq!(*seen.lock().unwrap(), [a, b]);
}

#[test]
fn a_new_journal_refuses_an_existing_file() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path()).unwrap();
    let message = Journal::create(dir.path()).err().unwrap().to_string();
    assert!(message.contains("events.jsonl"), "{message}");
}

#[test]
fn a_resumed_journal_goes_on_counting_and_timing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.elapsed_before = 100.0;
    for step in 1..=3 {
        journal.emit(at(step), train(2.0));
    }
    let last = journal.emit(at(3), log("bye"));
    drop(journal);
    let (mut journal, warning) = Journal::open(dir.path()).unwrap();
    assert_eq!(warning, None);
    assert_eq!(journal.next_seq(), 5);
    let next = journal.emit(at(4), train(1.9));
    drop(journal);
    assert!(next.elapsed >= last.elapsed && next.elapsed < last.elapsed + 50.0);
    let seqs: Vec<u64> = lines(dir.path()).iter().map(|e| e.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[test]
fn an_empty_or_absent_journal_opens_at_one() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    assert_eq!((journal.next_seq(), warning), (1, None));
}

#[test]
fn a_torn_last_line_is_cut_off_and_kept_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(2.0));
    journal.emit(at(2), train(1.9));
    drop(journal);
    let path = dir.path().join("events.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    let (mut journal, warning) = Journal::open(dir.path()).unwrap();
    assert!(warning.unwrap().contains("torn last line"));
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    assert!(log.contains("\"seq\":2"), "{log}");
    assert_eq!(journal.next_seq(), 2);
    journal.emit(at(2), train(1.8));
    drop(journal);
    assert_eq!(lines(dir.path()).len(), 2);
}

#[test]
fn a_journal_of_one_torn_line_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events.jsonl"), "{\"v\":1,\"se").unwrap();
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    assert_eq!(journal.next_seq(), 1);
    assert!(warning.is_some());
}

#[test]
fn a_last_line_that_only_lacks_its_newline_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(2.0));
    drop(journal);
    let path = dir.path().join("events.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 1]).unwrap();
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    assert_eq!((journal.next_seq(), warning), (2, None));
    assert_eq!(lines(dir.path()).len(), 1);
}

#[test]
fn unreadable_lines_at_the_end_keep_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(2.0));
    // Longer than a block, so that the scan crosses one.
    journal.emit(at(1), log(&"x".repeat(3 * BATCH_BYTES)));
    drop(journal);
    let path = dir.path().join("events.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("rubbish\n\nmore rubbish\n");
    std::fs::write(&path, text).unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    assert_eq!(journal.next_seq(), 5);
}

#[test]
fn a_journal_that_ends_in_a_line_without_end_is_mended_without_reading_it_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(2.0));
    drop(journal);
    let path = dir.path().join("events.jsonl");
    let whole = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // Zeros that take no room on disk.
    file.set_len(whole + (1 << 30)).unwrap();
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    let warning = warning.unwrap();
    assert!(warning.contains("too long to be kept"), "{warning}");
    assert_eq!(journal.next_seq(), 2);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
}

#[test]
fn a_torn_line_that_would_draw_is_kept_as_text() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events.jsonl"), "torn\u{1b}[2J\u{202e}x").unwrap();
    drop(Journal::open(dir.path()).unwrap());
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    assert_eq!(log, "torn last line cut off events.jsonl: tornx\n");
}

#[test]
fn a_journal_that_leads_elsewhere_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    std::fs::write(&precious, "no journal").unwrap();
    std::os::unix::fs::symlink(&precious, dir.path().join("events.jsonl")).unwrap();
    assert!(Journal::open(dir.path()).is_err());
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "no journal");
}

#[test]
fn a_full_disk_loses_nothing_and_tears_no_line() {
    let disk = SmallDisk::with_room(250);
    let mut journal = Journal::over(Box::new(disk.clone()));
    for step in 1..=10 {
        journal.emit(at(step), train(2.0));
        journal.flush();
    }
    let problem = journal.problem().unwrap();
    assert!(problem.contains("cannot be written"), "{problem}");
    assert_eq!(journal.problem(), None, "told once");
    journal.emit(at(10), warning(&problem));
    assert!(!journal.flush());
    assert_eq!(disk.text().len(), 250);
    assert!(
        !disk.text().ends_with('\n'),
        "the last line is half written"
    );

    disk.add_room(1 << 20);
    assert!(journal.flush());
    let news = journal.problem().unwrap();
    assert!(news.contains("no event is missing"), "{news}");
    assert_eq!(journal.problem(), None);
    let text = disk.text();
    let seqs: Vec<u64> = text
        .lines()
        .map(|l| Event::from_line(l).unwrap().seq)
        .collect();
    assert_eq!(seqs, (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_disk_full_for_long_drops_metrics_only_and_counts_them() {
    let disk = SmallDisk::with_room(0);
    let mut journal = Journal::over(Box::new(disk.clone()));
    journal.flush();
    for step in 1..=(METRICS_WAITING as u64 + 500) {
        journal.emit(at(step), train(2.0));
        journal.flush();
        if step % 1000 == 0 {
            journal.emit(at(step), warning("kept"));
        }
    }
    let dropped_at_least = 499;
    disk.add_room(1 << 24);
    assert!(journal.flush());
    journal.emit(at(9999), done());
    let text = disk.text();
    let events: Vec<Event> = text.lines().map(|l| Event::from_line(l).unwrap()).collect();
    let kept = events.iter().filter(|e| matches!(e.body, Body::Warning(_)));
    assert_eq!(kept.count(), 4);
    let gap = events.iter().find_map(|e| match e.body {
        Body::Gap(Gap { dropped }) => Some(dropped),
        _ => None,
    });
    let metrics = events.iter().filter(|e| e.body.is_metric()).count() as u64;
    assert!(gap.unwrap() >= dropped_at_least, "{gap:?}");
    assert_eq!(metrics + gap.unwrap(), METRICS_WAITING as u64 + 500);
    assert!(events.is_sorted_by(|a, b| a.seq < b.seq));
}

#[test]
fn what_a_failed_flush_may_have_lost_is_written_again() {
    let disk = LosingDisk::default();
    let mut journal = Journal::over(Box::new(disk.clone()));
    journal.emit(at(1), train(2.0));
    journal.emit(at(1), done());
    let whole = |disk: &LosingDisk| {
        let kept = disk.after_a_power_failure();
        let kept: Vec<u8> = kept.into_iter().flatten().collect();
        kept == disk.text().into_bytes()
    };
    assert!(whole(&disk) && journal.problem().is_none());
    journal.emit(at(2), train(1.9));
    disk.fail(3);
    journal.emit(at(2), done());
    let problem = journal.problem().unwrap();
    assert!(problem.contains("is written again"), "{problem}");
    journal.emit(at(3), train(1.8));
    assert!(!journal.flush() && !journal.flush());
    assert!(!whole(&disk), "the disk has lost it");
    assert_eq!(
        disk.text().lines().count(),
        4,
        "nothing new was written yet"
    );
    assert!(journal.flush());
    let news = journal.problem().unwrap();
    assert!(news.contains("written a second time"), "{news}");
    journal.emit(at(4), done());
    assert!(whole(&disk), "all of it is on disk now");
    let seqs = |text: &str| -> Vec<u64> {
        let events = text.lines().map(|l| Event::from_line(l).unwrap());
        events.map(|e| e.seq).collect()
    };
    assert_eq!(seqs(&disk.text()), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn bytes_that_cannot_be_written_again_are_not_called_safe() {
    let disk = LosingDisk::default();
    let mut journal = Journal::over(Box::new(disk.clone()));
    disk.fail(1);
    journal.emit(at(1), done());
    // Something else has written to the file: its end is not what this journal wrote last.
    disk.0.lock().unwrap().seen.extend_from_slice(b"\n");
    disk.0.lock().unwrap().kept.push(None);
    assert!(journal.flush());
    let told: Vec<String> = std::iter::from_fn(|| journal.problem()).collect();
    assert!(told[0].contains("may be missing"), "{told:?}");
}

#[test]
fn a_long_journal_without_durable_events_is_flushed_now_and_then() {
    let disk = SmallDisk::with_room(usize::MAX);
    let mut journal = Journal::over(Box::new(disk.clone()));
    let line = "x".repeat(1000);
    for step in 0..3000 {
        journal.emit(at(step), log(&line));
    }
    assert!(journal.flush());
    assert_eq!(disk.syncs(), disk.text().len() / unsynced::MOST_BYTES);
    assert_eq!(disk.text().lines().count(), 3000);
}

/// In the file itself, which is open for appending.
#[test]
fn a_file_is_written_again_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), done());
    journal.emit(at(2), train(1.9));
    journal.flush();
    let path = dir.path().join("events.jsonl");
    let before = std::fs::read(&path).unwrap();
    let mut sink = OpenOptions::new().append(true).open(&path).unwrap();
    let half = before.len() / 2;
    sink.rewrite(half as u64, &before[half..]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    Sink::rewrite(&mut sink, 0, b"X").unwrap();
    assert_eq!(sink.append(b"after").unwrap(), 5);
    let after = std::fs::read(&path).unwrap();
    assert_eq!(after[0], b'X');
    assert!(after.ends_with(b"after"), "it appends again");
    assert_eq!(after.len(), before.len() + 5);
}

/// The same on a real full file system.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root, to mount a small file system: cargo test -- --ignored _disk_"]
fn a_really_full_disk_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|o| o.status.success());
    assert!(mounted, "no file system mounted");
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0).status();
        }
    }
    let guard = Unmount(dir.path());
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 10]).unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    for step in 1..=200 {
        journal.emit(at(step), train(2.0));
        journal.flush();
    }
    assert!(journal.problem().unwrap().contains("cannot be written"));
    std::fs::remove_file(ballast).unwrap();
    for step in 201..=210 {
        journal.emit(at(step), warning("filler"));
        if journal.flush() {
            break;
        }
    }
    drop(journal);
    let state = tail::load(dir.path()).unwrap();
    let points = state.live().train.stretches();
    let steps: Vec<u64> = points.iter().map(|s| s.last.step).collect();
    assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
    assert!(steps.len() > 30, "{}", steps.len());
    drop(guard);
}
