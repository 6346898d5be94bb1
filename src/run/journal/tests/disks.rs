//! Disks that are full, or lose bytes that a failing flush was to write.

use super::*;

/// A disk that loses the bytes of failing flushes, as Linux does: they can be read until the machine stops.
#[derive(Clone, Default)]
struct LosingDisk(Arc<Mutex<Losing>>);

#[derive(Default)]
struct Losing {
    /// The contents that readers see.
    seen: Vec<u8>,
    /// The contents of the disk, byte by byte.
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
    /// Returns the contents that readers see; after a successful flush all of it must be on disk.
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
    // Another writer has appended to the file: its end is not what this journal wrote last.
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

/// The bytes are rewritten in the file itself, which is open for appending.
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

/// As above, on a real full file system.
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
