//! Errors in data.

use super::Data;

/// Returns the error of loading a task whose only file has this content.
fn error(task: &str, name: &str, content: &str) -> String {
    let data = Data::new();
    data.put(name, content);
    data.error(task)
}

#[test]
fn a_fault_is_named_with_its_place_and_what_was_expected() {
    let row = r#"{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}"#;
    let piqa = |bad: &str| error("piqa", "piqa/valid.jsonl", &format!("{row}\n\n{bad}\n"));
    assert_eq!(
        piqa(r#"{"goal": "g", "sol1": "a", "label": 0}"#),
        "DATA/piqa/valid.jsonl:3: no field \"sol2\"; the fields are goal, sol1, label"
    );
    assert_eq!(
        piqa(r#"{"goal": ["g"], "sol1": "a", "sol2": "b", "label": 0}"#),
        "DATA/piqa/valid.jsonl:3: expected a text in field \"goal\", found a list of 1"
    );
    for label in ["2", "-1", "0.5", "\"x\"", "null"] {
        let found = match label {
            "\"x\"" => "the text \"x\"",
            label => label,
        };
        assert_eq!(
            piqa(&row.replace("0}", &format!("{label}}}"))),
            format!(
                "DATA/piqa/valid.jsonl:3: expected a label from 0 to 1 in field \"label\", found {found}"
            )
        );
    }
    assert_eq!(
        piqa("[1]"),
        "DATA/piqa/valid.jsonl:3: the row is an array, not an object; a file that is one JSON array has the ending .json"
    );
    assert!(piqa("{\"goal\": ").starts_with("DATA/piqa/valid.jsonl:3: not valid JSON: EOF"));
    assert_eq!(
        error("piqa", "piqa/valid.jsonl", "\n"),
        "piqa: no documents in DATA/piqa/valid.jsonl"
    );
    assert_eq!(
        error("piqa", "piqa/valid.json", "[]"),
        "piqa: no documents in DATA/piqa/valid.json"
    );
}

#[test]
fn answers_must_be_among_the_choices() {
    let row = r#"{"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}"#;
    assert_eq!(
        error("arc_easy", "arc_easy/test.jsonl", row),
        "DATA/arc_easy/test.jsonl:1: the answer \"C\" is not the label of a choice; the labels are A, B"
    );
    assert_eq!(
        error(
            "arc_easy",
            "arc_easy/test.jsonl",
            &row.replace("\"A\", ", "")
        ),
        "DATA/arc_easy/test.jsonl:1: 2 choices have 1 labels"
    );
    let row = r#"{"sentence": "a _ b", "option1": "x", "option2": "y", "answer": ""}"#;
    assert_eq!(
        error("winogrande", "winogrande/dev.jsonl", row),
        "DATA/winogrande/dev.jsonl:1: expected \"1\" or \"2\" in field \"answer\", found the text \"\""
    );
    let row = row.replace(" _ ", " ").replace("\"\"", "\"1\"");
    assert_eq!(
        error("winogrande", "winogrande/dev.jsonl", &row),
        "DATA/winogrande/dev.jsonl:1: expected a blank (_) in field \"sentence\", found none"
    );
    let row =
        r#"{"activity_label": "", "ctx_a": "", "ctx_b": "", "endings": ["a", 1], "label": "0"}"#;
    assert_eq!(
        error("hellaswag", "hellaswag_val.jsonl", row),
        "DATA/hellaswag_val.jsonl:1: expected a list of texts in field \"endings\", found 1"
    );
    let row = row.replace("[\"a\", 1]", "[]");
    assert_eq!(
        error("hellaswag", "hellaswag_val.jsonl", &row),
        "DATA/hellaswag_val.jsonl:1: field \"endings\" is an empty list"
    );
    let row = r#"{"text": "ab it.", "pronoun": "it", "pronoun_loc": 5, "options": ["a", "b"], "label": 0}"#;
    assert_eq!(
        error("wsc273", "wsc273/test.jsonl", row),
        "DATA/wsc273/test.jsonl:1: the pronoun ends at 7, behind the text's 6 characters"
    );
    let row = row.replace("5", "18446744073709551615");
    assert!(error("wsc273", "wsc273/test.jsonl", &row).contains("behind the text's 6 characters"));
}

#[test]
fn labels_of_piqa_must_fit() {
    let data = Data::new();
    let row = r#"{"goal": "g", "sol1": "a", "sol2": "b"}"#;
    data.put("piqa/valid.jsonl", format!("{row}\n{row}\n"));
    assert!(
        data.error("piqa")
            .contains("piqa/valid.jsonl:1: no field \"label\"; the fields are goal")
    );
    data.put("piqa/valid-labels.lst", "0\n2\n");
    assert_eq!(
        data.error("piqa"),
        "DATA/piqa/valid-labels.lst:2: expected a label from 0 to 1, found \"2\""
    );
    data.put("piqa/valid-labels.lst", "0\n");
    assert_eq!(
        data.error("piqa"),
        "DATA/piqa/valid-labels.lst: only 1 labels, fewer than documents"
    );
}

#[test]
fn damaged_files_are_reported() {
    let data = Data::new();
    data.put("piqa/valid.jsonl.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b");
    assert!(
        data.error("piqa")
            .starts_with("cannot read DATA/piqa/valid.jsonl.gz beyond its first")
    );
    let data = Data::new();
    let whole = std::fs::read(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/published/hub/ai2_arc/ARC-Easy/test-00000-of-00002.parquet"),
    )
    .unwrap();
    // Cut off, and with one byte changed: an error or the same kind of rows, never a panic.
    for at in (0..whole.len()).step_by(7) {
        data.put("arc_easy/test.parquet", &whole[..at]);
        assert!(
            data.error("arc_easy")
                .starts_with("DATA/arc_easy/test.parquet: "),
            "{at}"
        );
    }
    for at in (0..whole.len()).step_by(5) {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        data.put("arc_easy/test.parquet", &broken);
        let _ = (crate::eval::tasks::find("arc_easy").unwrap().load)(data.path(), None);
    }
    let data = Data::new();
    data.put("wnli/dev.tsv", "sentence1\tsentence2\tlabel\na\tb\n");
    assert_eq!(
        data.error("wnli"),
        "DATA/wnli/dev.tsv:2: 2 values in 3 columns"
    );
    data.put("mmlu/test/x_test.csv", "\"open\n");
    data.put("mmlu/dev/x_dev.csv", "q,a,b,c,d,A\n".repeat(5));
    assert_eq!(
        data.error("mmlu"),
        "DATA/mmlu/test/x_test.csv:1: the file ends within the quotes that begin here"
    );
}

#[test]
fn a_data_directory_must_be_one() {
    let data = Data::new();
    let file = data.put("file", "");
    for path in [file, data.path().join("absent")] {
        let task = crate::eval::tasks::find("piqa").unwrap();
        let error = (task.load)(&path, None).unwrap_err().to_string();
        assert!(
            error.contains("not a directory; give the directory that holds"),
            "{error}"
        );
        let task = crate::eval::tasks::find("mmlu").unwrap();
        assert_eq!((task.load)(&path, None).unwrap_err().to_string(), error);
    }
}
