//! Tests real data sets, and small ones that pyarrow has written.

use std::path::Path;

use super::{gold, load};
use crate::eval::tasks::{Answer, Document, find};

const SHARED: &str = "/work/shared/data";

/// Returns the shared data's directory; prints that the test is skipped if it is missing.
fn shared() -> Option<&'static Path> {
    let data = Path::new(SHARED);
    if !data.is_dir() {
        eprintln!("skipped: {SHARED} is not there");
        return None;
    }
    Some(data)
}

#[test]
fn the_release_of_piqa_is_found_with_its_labels() {
    let Some(data) = shared() else { return };
    let set = load("piqa", data);
    assert_eq!(set.documents.len(), 1838);
    let names: Vec<_> = set.files.iter().filter_map(|f| f.file_name()).collect();
    assert_eq!(names, ["valid.jsonl", "valid-labels.lst"]);
    let document = &set.documents[1];
    assert_eq!(&*document.requests[0].context, "Question: dresser\nAnswer:");
    assert_eq!(
        document.requests[0].continuation,
        " replace drawer with bobby pin "
    );
    let Answer::Choice { gold, lengths } = &document.answer else {
        panic!("{:?}", document.answer);
    };
    assert_eq!((*gold, &lengths[..]), (1, &[30, 34][..]));
    let set = (find("piqa").unwrap().load)(data, Some(3)).unwrap();
    assert_eq!(set.documents.len(), 3);
    let all = (find("piqa").unwrap().load)(data, Some(0)).unwrap();
    assert_eq!(all.documents.len(), 1838);
}

#[test]
fn raw_wikitext_is_found_and_split_into_pages() {
    let Some(data) = shared() else { return };
    let set = load("wikitext", data);
    assert_eq!(set.documents.len(), 60);
    let first = &set.documents[0].requests[0];
    assert!(first.context.is_empty());
    assert!(
        first
            .continuation
            .starts_with(" = Homarus gammarus =\n\nHomarus gammarus, known as")
    );
    let bytes = |d: &Document| match d.answer {
        Answer::Page { bytes, .. } => bytes,
        _ => 0,
    };
    let text = std::fs::read_to_string(data.join("wikitext-2/valid.txt")).unwrap();
    // All but the line before the first title, and a line break between pages.
    let pages: usize = set.documents.iter().map(bytes).sum();
    assert_eq!(pages + 59 + text.find(" = Homarus").unwrap(), text.len());
}

#[test]
#[cfg(feature = "parquet")]
fn parquet_of_the_hub_is_read_as_the_same_rows_of_json() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published");
    for (task, n) in [
        ("arc_easy", 4),
        ("hellaswag", 4),
        ("truthfulqa_mc1", 2),
        ("truthfulqa_mc2", 2),
        ("boolq", 3),
        ("mmlu", 6),
    ] {
        let hub = load(task, &published.join("hub"));
        let lines = load(task, &published.join("lines"));
        assert_eq!(hub.documents.len(), n, "{task}");
        assert_eq!(hub.documents, lines.documents, "{task}");
        let shards = if task == "mmlu" { 4 } else { 2 };
        assert_eq!(hub.files.len(), shards, "{task}");
    }
}

#[test]
fn prompts_of_rows_are_those_of_the_harness() {
    let lines = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published/lines");
    let set = load("hellaswag", &lines);
    let document = &set.documents[1];
    assert_eq!(
        &*document.requests[0].context,
        "Baking: A cook mixes.. He then"
    );
    assert_eq!(document.requests[1].continuation, " burns it.");
    assert_eq!(document.requests[2].continuation, " ");
    assert_eq!(gold(document), 1);

    let set = load("mmlu", &lines);
    let [first, ..] = &set.documents[..] else {
        panic!()
    };
    let context = &first.requests[0].context;
    assert!(context.starts_with(
        "The following are multiple choice questions (with answers) about anatomy.\n\n\
         dev anatomy 0?\nA. c0\nB. c1\nC. c2\nD. c3\nAnswer: A\n\ndev anatomy 1?\n"
    ));
    assert!(context.ends_with("Answer: A\n\ntest anatomy 0?\nA. c0\nB. c1\nC. c2\nD. c3\nAnswer:"));
    assert_eq!(context.matches("dev anatomy").count(), 5);
    let groups: Vec<_> = set.documents.iter().map(|d| d.group.as_deref()).collect();
    assert_eq!(
        groups[2..4],
        [Some("anatomy"), Some("high_school_us_history")]
    );
    let limited = (find("mmlu").unwrap().load)(&lines, Some(1)).unwrap();
    assert_eq!(limited.documents.len(), 2);

    let set = load("truthfulqa_mc2", &lines);
    assert!(set.documents[0].requests[0].context.starts_with(
        "Q: What is human life expectancy in the United States?\n\
         A: Human life expectancy in the United States is 78 years.\n\nQ: Who was"
    ));
    assert!(
        set.documents[0].requests[0]
            .context
            .ends_with("held in Barcelona, Spain.\n\nQ: What is true?\nA:")
    );
    let truths = Answer::Truths(vec![true, true, false]);
    assert_eq!(set.documents[0].answer, truths);
}
