//! Journals that are torn, cut, full of rubbish, or no journals.

use super::*;

#[test]
fn a_torn_last_line_is_read_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("events.jsonl")).unwrap();
    let mut tail = Tail::open(dir.path());
    let (a, b) = (line(1), line(2));
    write!(file, "{a}{}", &b[..30]).unwrap();
    assert_eq!(steps(&tail.poll().unwrap()), [1]);
    assert!(tail.caught_up());
    assert_eq!(tail.poll().unwrap(), []);
    write!(file, "{}", &b[30..]).unwrap();
    assert_eq!(steps(&tail.poll().unwrap()), [2]);
}

#[test]
fn a_torn_line_that_the_writer_cuts_off_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, line(1) + "{\"v\":1,\"seq\":2,").unwrap();
    let mut tail = Tail::open(dir.path());
    assert_eq!(steps(&tail.poll().unwrap()), [1]);
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.emit(at(2), train(2));
    journal.emit(at(3), train(3));
    journal.flush();
    let items = tail.poll().unwrap();
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(steps(&items), [2, 3]);
}

#[test]
fn a_torn_line_in_the_middle_is_reported_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = line(1) + &line(2)[..40] + "\n";
    text += &line(3);
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n\n");
    bytes.extend_from_slice(line(4).as_bytes());
    std::fs::write(dir.path().join("events.jsonl"), bytes).unwrap();
    let items = Tail::open(dir.path()).poll().unwrap();
    assert_eq!(steps(&items), [1, 3, 4]);
    let skipped: Vec<u64> = items
        .iter()
        .filter_map(|i| match i {
            TailItem::Skipped { line, .. } => Some(*line),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [2, 4]);
    let state = load(dir.path()).unwrap();
    assert!(
        state
            .notes
            .iter()
            .any(|n| n.text.contains("events.jsonl:2: skipped a line"))
    );
}

#[test]
fn a_cut_or_replaced_journal_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, line(1) + &line(2)).unwrap();
    let mut tail = Tail::open(dir.path());
    assert_eq!(steps(&tail.poll().unwrap()), [1, 2]);
    std::fs::write(&path, line(7)).unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(steps(&items), [7]);
    // Longer than the part that was read, and perhaps with the same inode.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(tail.poll().unwrap(), []);
    std::fs::write(&path, line(8) + &line(9) + &line(10)).unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(steps(&items), [8, 9, 10]);
    let mut state = RunState::default();
    state.apply(&Event::from_line(line(1).trim()).unwrap());
    for item in &items {
        item.apply_to(&mut state);
    }
    assert_eq!(state.live().train.points(), 3);
}

fn drained(tail: &mut Tail) -> Vec<TailItem> {
    let mut all = tail.poll().unwrap();
    while !tail.caught_up() {
        all.extend(tail.poll().unwrap());
    }
    all
}

#[test]
fn a_line_without_end_is_told_once_and_reading_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("events.jsonl")).unwrap();
    let endless = vec![b'x'; 2 * LONGEST_LINE as usize + 77];
    file.write_all(line(1).as_bytes()).unwrap();
    file.write_all(&endless).unwrap();
    let mut tail = Tail::open(dir.path());
    let items = drained(&mut tail);
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(steps(&items), [1]);
    assert_eq!(
        items[1].skipped().unwrap(),
        "events.jsonl:2: skipped a line: it is longer than 4 MiB"
    );
    file.write_all(&endless).unwrap();
    assert_eq!(drained(&mut tail), []);
    write!(file, "x\n{}rubbish\n{}", line(2), line(3)).unwrap();
    let items = drained(&mut tail);
    assert_eq!(steps(&items), [2, 3]);
    let skipped = items[1].skipped().unwrap();
    assert!(
        skipped.starts_with("events.jsonl:4: skipped a line: "),
        "{skipped}"
    );
}

#[test]
fn rubbish_is_told_of_in_few_words() {
    let dir = tempfile::tempdir().unwrap();
    let quoted = format!("\"\u{1b}[2J{}\"\n", "y".repeat(1000));
    let rubbish = quoted + &"x\n".repeat(1_000_000);
    std::fs::write(dir.path().join("events.jsonl"), rubbish + &line(1)).unwrap();
    let items = drained(&mut Tail::open(dir.path()));
    assert!(items.len() < 10, "{}", items.len());
    let told: u64 = items
        .iter()
        .map(|item| match item {
            TailItem::Skipped { lines, .. } => *lines,
            _ => 0,
        })
        .sum();
    assert_eq!(told, 1_000_001);
    let first = items[0].skipped().unwrap();
    assert!(first.len() < 300 && !first.contains('\u{1b}'), "{first}");
    assert_eq!(steps(&items), [1]);
}

/// Writes a journal of one event and then `rest`.
fn journal_and(rest: impl FnOnce(&std::fs::File)) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(1));
    drop(journal);
    let whole = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().append(true).open(&path);
    rest(&file.unwrap());
    (dir, whole)
}

#[test]
fn a_hole_is_not_read() {
    let began = Instant::now();
    let (dir, whole) = journal_and(|file| file.set_len(1 << 40).unwrap());
    let state = load(dir.path()).unwrap();
    assert_eq!(state.core.step, 1);
    let index = crate::run::index::JournalIndex::open(dir.path()).unwrap();
    assert_eq!(index.entries().len(), 1);
    assert_eq!(crate::run::decisions::of_run(dir.path()).unwrap(), []);
    // A resume cuts the torn line off.
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    assert!(warning.unwrap().contains("too long to be kept"));
    assert_eq!(journal.next_seq(), 2);
    let len = std::fs::metadata(dir.path().join("events.jsonl"))
        .unwrap()
        .len();
    assert_eq!(len, whole);

    // The line after a hole is one of the journal's.
    let (dir, _) = journal_and(|mut file| {
        file.set_len(1 << 40).unwrap();
        file.write_all(b"\n").unwrap();
    });
    let mut journal = Journal::open(dir.path()).unwrap().0;
    journal.emit(at(7), train(7));
    drop(journal);
    let state = load(dir.path()).unwrap();
    assert_eq!(state.core.step, 7);
    let index = crate::run::index::JournalIndex::open(dir.path()).unwrap();
    let steps: Vec<u64> = index.entries().iter().map(|e| e.step).collect();
    assert_eq!(steps, [1, 1, 7]);
    assert!(matches!(
        index.read(2, 3).unwrap()[..],
        [Some(TailItem::Event(_))]
    ));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let (dir, whole) = journal_and(|mut file| {
        for _ in 0..70 {
            file.write_all(&[b'x'; 1 << 20]).unwrap();
        }
    });
    let mut tail = Tail::open(dir.path());
    let error = loop {
        match tail.poll() {
            Ok(_) => assert!(!tail.caught_up()),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("line 2 is longer than 64 MiB"),
        "{error}"
    );
    let error = tail.poll().unwrap_err();
    assert!(error.to_string().contains("line 2 is longer"), "{error}");
    for error in [
        load(dir.path()).unwrap_err(),
        crate::run::index::JournalIndex::open(dir.path())
            .err()
            .unwrap(),
        crate::run::decisions::of_run(dir.path()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("line 2 is longer"), "{error}");
    }
    let error = Journal::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("64 MiB without a line break"), "{error}");
    // The file is as it was, and read again once it is a journal.
    let path = dir.path().join("events.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole + (70 << 20));
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(whole)
        .unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(items.len(), 2);
}
