use super::*;
use crate::run::state::RunState;
use crate::run::tail::Tail;

fn line(seq: u64, elapsed: f64, step: u64, rest: &str) -> String {
    format!(
        r#"{{"v":1,"seq":{seq},"t":0,"elapsed":{elapsed},"step":{step},"phase":"round-1","phase_step":0,"branch":0,{rest}}}"#
    )
}

fn index(text: &[u8]) -> (tempfile::TempDir, JournalIndex) {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("events.jsonl"), text).unwrap();
    let index = JournalIndex::open(tmp.path()).unwrap();
    (tmp, index)
}

#[test]
fn landmarks_are_found_and_time_never_runs_back() {
    let lines = [
        line(1, 0.5, 0, r#""kind":"log","message":"a phase""#),
        line(2, 1.0, 0, r#""kind":"phase","layers":4"#),
        line(3, 2.0, 5, r#""kind":"phase","result":{"layers":4}"#),
        line(
            4,
            3.0,
            9,
            r#""kind":"resumed","from_seq":2,"checkpoint":"x""#,
        ),
        line(5, 2.5, 5, r#""kind":"grow""#),
        "not json".into(),
        line(7, 4.0, 6, r#""kind":7"#),
        line(8, 5.0, 6, r#""kind":"warning","message":"disk""#),
    ];
    let text = (lines.join("\n") + "\n{\"torn").into_bytes();
    let (_tmp, index) = index(&text);
    let times: Vec<f64> = index.entries().iter().map(|e| e.elapsed).collect();
    assert_eq!(times, [0.5, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0]);
    let steps: Vec<u64> = index.entries().iter().map(|e| e.step).collect();
    assert_eq!(steps, [0, 0, 5, 9, 5, 5, 6, 6]);
    let wanted = [
        (1, Landmark::Phase),
        (3, Landmark::Back),
        (4, Landmark::Growth),
        (7, Landmark::Warning),
    ];
    assert_eq!(index.landmarks(), wanted);
}

#[test]
fn what_is_read_by_place_is_what_a_reader_from_the_start_is_told() {
    // Several chunks, with empty lines, unreadable ones, one longer than a chunk and no newline at the end.
    let mut text = String::new();
    for i in 0..6000u64 {
        let message = "x".repeat(if i == 3000 { CHUNK + 17 } else { 700 });
        match i % 1000 {
            17 => text.push_str("{broken}\n"),
            18 => text.push('\n'),
            _ => {
                let rest = format!(r#""kind":"log","message":"{message}""#);
                text += &(line(i + 1, i as f64, i, &rest) + "\n");
            }
        }
    }
    text += "{\"v\":1";
    let (tmp, index) = index(text.as_bytes());
    assert_eq!(index.entries().len(), 6000);

    let mut tail = Tail::open(tmp.path());
    let mut told = Vec::new();
    while told.is_empty() || !tail.caught_up() {
        told.extend(tail.poll().unwrap());
    }
    let mut read = Vec::new();
    let mut at = 0;
    while at < 6000 {
        let lines = index.read(at, 6000).unwrap();
        assert!(!lines.is_empty());
        at += lines.len();
        read.extend(lines.into_iter().flatten());
    }
    assert_eq!(read, told);
    assert_eq!(index.read(3000, 3001).unwrap().len(), 1);
    assert_eq!(index.read(6000, 7000).unwrap(), []);
}

#[test]
fn a_journal_that_was_cut_meanwhile_is_an_error_and_one_that_grew_is_not() {
    let text = line(1, 0.0, 0, r#""kind":"log","message":"a""#) + "\n";
    let (tmp, index) = index((text.clone() + &text).as_bytes());
    let path = tmp.path().join("events.jsonl");
    std::fs::write(&path, text.repeat(3)).unwrap();
    assert_eq!(index.read(0, 9).unwrap().len(), 2);
    std::fs::write(&path, &text).unwrap();
    assert!(index.read(0, 2).is_err());
    let mut state = RunState::default();
    for item in index.read(0, 1).unwrap().into_iter().flatten() {
        item.apply_to(&mut state);
    }
    assert_eq!(state.seq, 1);
}
