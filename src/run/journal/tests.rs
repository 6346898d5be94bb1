mod continued;
mod disks;

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
        ..Default::default()
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
fn a_journal_that_leads_elsewhere_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    std::fs::write(&precious, "no journal").unwrap();
    std::os::unix::fs::symlink(&precious, dir.path().join("events.jsonl")).unwrap();
    assert!(Journal::open(dir.path()).is_err());
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "no journal");
}
