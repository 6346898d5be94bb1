//! Tasks on published files, and errors in data.

use std::path::Path;

use super::{Answer, find, parse};

const SHARED: &str = "/work/shared/data";

/// Skips a test, saying so, where the shared data is not there.
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
    let set = (find("piqa").unwrap().load)(data, None).unwrap();
    assert_eq!(set.documents.len(), 1838);
    let names: Vec<_> = set.files.iter().filter_map(|f| f.file_name()).collect();
    assert_eq!(names, ["valid.jsonl", "valid-labels.lst"]);
    let document = &set.documents[1];
    assert_eq!(document.requests[0].context, "Question: dresser\nAnswer:");
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
}

#[test]
fn raw_wikitext_is_found_and_split_into_pages() {
    let Some(data) = shared() else { return };
    let set = (find("wikitext").unwrap().load)(data, None).unwrap();
    assert_eq!(set.documents.len(), 60);
    let first = &set.documents[0].requests[0];
    assert!(first.context.is_empty());
    assert!(
        first
            .continuation
            .starts_with(" = Homarus gammarus =\n\nHomarus gammarus, known as")
    );
    let bytes = |d: &super::Document| match d.answer {
        Answer::Page { bytes, .. } => bytes,
        _ => 0,
    };
    let text = std::fs::read_to_string(data.join("wikitext-2/valid.txt")).unwrap();
    // All but the line before the first title, and a line break between pages.
    let pages: usize = set.documents.iter().map(bytes).sum();
    assert_eq!(pages + 59 + text.find(" = Homarus").unwrap(), text.len());
}

#[test]
fn an_unknown_task_is_named_with_its_neighbour() {
    let error = |names| parse(names).unwrap_err().to_string();
    assert_eq!(
        error("piqa,arc_esy"),
        "unknown task \"arc_esy\"; did you mean \"arc_easy\"?"
    );
    assert!(error("zzz").contains("the tasks are arc_easy, piqa"));
    assert!(error(" , ").contains("no task is named"));
    let names: Vec<&str> = parse("piqa, sciq,piqa")
        .unwrap()
        .iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["piqa", "sciq"]);
}
