//! Journals that are continued, torn or damaged ones among them.

use super::*;

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
