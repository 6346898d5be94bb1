//! Original releases, packed files, and where data lies.

use std::io::Write;

use super::{Data, continuations, gold};
use crate::eval::tasks::find;

const PIQA: &str = r#"{"goal": "g", "sol1": "one", "sol2": "two", "label": 1}"#;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn original_forms_are_read() {
    let data = Data::new();
    data.put(
        "ARC-V1-Feb2018/ARC-Easy/ARC-Easy-Test.jsonl",
        r#"{"id": "x", "question": {"stem": "Why?", "choices": [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]}, "answerKey": "2"}"#,
    );
    let set = data.load("arc_easy");
    assert_eq!(
        &*set.documents[0].requests[0].context,
        "Question: Why?\nAnswer:"
    );
    assert_eq!(continuations(&set.documents[0]), [" a", " b"]);
    assert_eq!(gold(&set.documents[0]), 1);

    data.put(
        "OpenBookQA-V1-Sep2018/Data/Main/test.jsonl",
        r#"{"question": {"stem": "The sun", "choices": [{"text": "a", "label": "A"}]}, "answerKey": " A"}"#,
    );
    let set = data.load("openbookqa");
    assert_eq!(&*set.documents[0].requests[0].context, "The sun");

    data.put(
        "TruthfulQA/mc_task.json",
        r#"[{"question": "q", "mc1_targets": {"b": 1, "a": 0}, "mc2_targets": {"z": 0, "y": 1}}]"#,
    );
    let set = data.load("truthfulqa_mc1");
    assert_eq!(continuations(&set.documents[0]), [" b", " a"]);
    let set = data.load("truthfulqa_mc2");
    assert_eq!(continuations(&set.documents[0]), [" z", " y"]);

    data.put(
        "boolq/dev.jsonl",
        r#"{"question": "is it", "title": "t", "answer": true, "passage": "p"}"#,
    );
    let set = data.load("boolq");
    assert_eq!(gold(&set.documents[0]), 1);
    assert_eq!(
        &*set.documents[0].requests[0].context,
        "p\nQuestion: is it?\nAnswer:"
    );

    data.put(
        "sciq/test.json",
        r#"[{"support": "\n s ", "question": "q", "distractor1": "1", "distractor2": "2", "distractor3": "3", "correct_answer": "4"}]"#,
    );
    let set = data.load("sciq");
    assert_eq!(
        &*set.documents[0].requests[0].context,
        "s \nQuestion: q\nAnswer:"
    );
    assert_eq!(continuations(&set.documents[0]), [" 1", " 2", " 3", " 4"]);

    data.put(
        "winogrande_1.1/dev.jsonl",
        r#"{"sentence": "Ann hit Bob so _ cried _ .", "option1": "Ann", "option2": "Bob", "answer": "2"}"#,
    );
    let set = data.load("winogrande");
    let contexts: Vec<&str> = set.documents[0]
        .requests
        .iter()
        .map(|r| &*r.context)
        .collect();
    assert_eq!(contexts, ["Ann hit Bob so Ann", "Ann hit Bob so Bob"]);
    assert_eq!(continuations(&set.documents[0]), [" cried _ ."; 2]);

    data.put(
        "lambada_test.jsonl",
        "{\"text\": \"a b  c\"}\n{\"text\": \"word\"}\n{\"text\": \"x \"}",
    );
    let set = data.load("lambada_openai");
    let requests = set.documents.iter().map(|d| &d.requests[0]);
    let pairs: Vec<_> = requests.map(|r| (&*r.context, &*r.continuation)).collect();
    assert_eq!(pairs, [("a b ", " c"), ("", " word"), ("x", " ")]);
}

#[test]
fn tables_of_glue_are_read() {
    let data = Data::new();
    data.put(
        "glue/WNLI/dev.tsv",
        "index\tsentence1\tsentence2\tlabel\r\n0\tA \"b\ttwo\t1\r\n",
    );
    let set = data.load("wnli");
    let request = &set.documents[0].requests[1];
    assert_eq!(
        &*request.context,
        "A \"b\nQuestion: two True or False?\nAnswer:"
    );
    assert_eq!(continuations(&set.documents[0]), [" False", " True"]);
    assert_eq!(gold(&set.documents[0]), 1);

    data.put(
        "glue/QNLI/dev.tsv",
        "index\tquestion\tsentence\tlabel\n0\tq\ts\tnot_entailment\n",
    );
    let set = data.load("qnli");
    assert_eq!(gold(&set.documents[0]), 1);

    data.put(
        "glue/MNLI/dev_matched.tsv",
        "index\tsentence1\tsentence2\tgold_label\n0\tp\th. \tneutral\n1\tp\th\t-\n2\tp\t h\tcontradiction\n",
    );
    let set = data.load("mnli");
    assert_eq!((set.documents.len(), set.skipped), (2, 1));
    let context = |i: usize| &*set.documents[i].requests[0].context;
    assert_eq!(
        context(0),
        "p\nQuestion: h. True, False or Neither?\nAnswer:"
    );
    assert_eq!(
        context(1),
        "p\nQuestion: h. True, False or Neither?\nAnswer:"
    );
    assert_eq!((gold(&set.documents[0]), gold(&set.documents[1])), (1, 2));
}

#[test]
fn tables_of_mmlu_are_read() {
    let data = Data::new();
    let row = |q: &str| format!("\"{q}\",1,\"2, or\",\"say \"\"3\"\"\",,C\n");
    data.put("mmlu/data/test/us_history_test.csv", row("two\nlines"));
    data.put("mmlu/data/dev/us_history_dev.csv", row("e").repeat(5));
    let set = data.load("mmlu");
    let context = &set.documents[0].requests[0].context;
    assert!(context.starts_with(
        "The following are multiple choice questions (with answers) about us history.\n\ne\n"
    ));
    assert!(
        context.ends_with("Answer: C\n\ntwo\nlines\nA. 1\nB. 2, or\nC. say \"3\"\nD. \nAnswer:")
    );
    assert_eq!(gold(&set.documents[0]), 2);
    assert_eq!(set.documents[0].group.as_deref(), Some("us_history"));
    // A folder for each subject.
    let data = Data::new();
    let row = r#"{"question": "q", "choices": ["a", "b", "c", "d"], "answer": 3}"#;
    for subject in ["virology", "anatomy"] {
        data.put(
            &format!("mmlu/{subject}/test.jsonl"),
            format!("{row}\n{row}"),
        );
        data.put(
            &format!("mmlu/{subject}/dev.jsonl"),
            format!("{row}\n").repeat(7),
        );
    }
    let set = data.load("mmlu");
    let groups: Vec<_> = set
        .documents
        .iter()
        .filter_map(|d| d.group.as_deref())
        .collect();
    assert_eq!(groups, ["anatomy", "anatomy", "virology", "virology"]);
    data.put("mmlu/anatomy/dev.jsonl", format!("{row}\n").repeat(4));
    assert_eq!(
        data.error("mmlu"),
        "DATA/mmlu/anatomy/dev.jsonl: 4 examples of subject \"anatomy\", 5 are needed"
    );
    std::fs::remove_file(data.path().join("mmlu/anatomy/dev.jsonl")).unwrap();
    assert!(data.error("mmlu").contains("no dev split next to it"));
}

#[test]
fn logiqa_is_read_as_text() {
    let data = Data::new();
    data.put(
        "LogiQA-dataset/Test.txt",
        "\nb\nOne.Two.\nWhich?\nA.x.y\nB. z \nC.u\nD.v\n\nd\nc\nq\nA.1\nB.2\nC.3\nD.4\n",
    );
    let set = data.load("logiqa");
    assert_eq!(set.documents.len(), 2);
    assert_eq!(
        &*set.documents[0].requests[0].context,
        "Passage: One. Two.\nQuestion: Which?\nChoices:\nA. x. y\nB. z\nC. u\nD. v\nAnswer:"
    );
    assert_eq!(
        continuations(&set.documents[0]),
        [" x. y", " z", " u", " v"]
    );
    assert_eq!((gold(&set.documents[0]), gold(&set.documents[1])), (1, 3));
    data.put("LogiQA-dataset/Test.txt", "b\nOne.\n");
    assert!(
        data.error("logiqa")
            .starts_with("DATA/LogiQA-dataset/Test.txt:1: expected a label")
    );
}

#[test]
fn options_of_wsc_take_the_form_of_the_pronoun() {
    let data = Data::new();
    let rows = [
        // In a sentence, a possessive: lower case and 's.
        r#"{"text": "Jo saw the man and took his hat.", "pronoun": "his", "pronoun_loc": 24, "options": ["The man", "Jo"], "label": 0}"#,
        // At the beginning of a sentence the capital stays.
        r#"{"text": "It fell. It broke.", "pronoun": "It", "pronoun_loc": 9, "options": ["The cup", "A A"], "label": 1}"#,
        // Before position 2 characters are counted from the end, where there is a full stop at the last place but one.
        r#"{"text": "It fell.!", "pronoun": "It", "pronoun_loc": 0, "options": ["The cup", "A A"], "label": 1}"#,
        // Characters, not bytes.
        r#"{"text": "Zoë said it.", "pronoun": "it", "pronoun_loc": 9, "options": ["A pie", "They A"], "label": 1}"#,
    ];
    data.put("wsc273.jsonl", rows.join("\n"));
    let set = data.load("wsc273");
    let context = |i: usize, j: usize| &*set.documents[i].requests[j].context;
    assert_eq!(context(0, 0), "Jo saw the man and took the man's");
    assert_eq!(context(0, 1), "Jo saw the man and took Jo's");
    assert_eq!(continuations(&set.documents[0]), ["  hat."; 2]);
    assert_eq!(context(1, 0), "It fell. The cup");
    assert_eq!(context(2, 1), "A A");
    assert_eq!(context(3, 0), "Zoë said a pie");
    assert_eq!(context(3, 1), "Zoë said they A");
}

#[test]
fn files_are_found_by_name() {
    // The first existing one counts; each later name is found when those before it are gone.
    let data = Data::new();
    let names = [
        "piqa/validation.jsonl",
        "piqa/validation.jsonl.gz",
        "piqa/validation.json.zst",
        "piqa/plain_text/validation/0000.ndjson",
        "piqa/valid.jsonl",
        "sets/datasets--baber--piqa/snapshots/0f/data/Valid-00000-of-00001.jsonl",
        "piqa_dev.jsonl",
    ];
    for name in names {
        let bytes = match name.rsplit_once('.') {
            Some((_, "gz")) => gz(PIQA.as_bytes()),
            Some((_, "zst")) => zstd::encode_all(format!("[{PIQA}]").as_bytes(), 1).unwrap(),
            _ => PIQA.into(),
        };
        data.put(name, bytes);
    }
    // Not of the task, hidden, too deep, or with another ending.
    for name in [
        "valid.jsonl",
        ".piqa/valid.jsonl",
        "a/b/c/piqa/valid.jsonl",
        "piqa/valid.arrow",
        "copa/valid.jsonl",
    ] {
        data.put(name, "no row");
    }
    for name in names {
        let set = data.load("piqa");
        assert_eq!(set.files, [data.path().join(name)]);
        assert_eq!(gold(&set.documents[0]), 1);
        std::fs::remove_file(data.path().join(name)).unwrap();
    }
    assert_eq!(
        data.error("piqa"),
        "no documents of piqa under DATA: looked for validation, valid, val or dev with the ending .jsonl, .json or .parquet \
         (also .gz, .zst) in a folder named piqa, up to 2 levels below, and for piqa_validation in the directory itself"
    );
    // The data directory may be the task's own.
    data.put("PIQA/val.jsonl", PIQA);
    let own = data.path().join("PIQA");
    assert_eq!(super::load("piqa", &own).files, [own.join("val.jsonl")]);
}

#[test]
fn all_shards_are_read_in_order() {
    let data = Data::new();
    let shard = |i: usize, of: usize| format!("piqa/validation-{i:05}-of-{of:05}.jsonl");
    for i in (0..11).rev() {
        data.put(&shard(i, 11), PIQA.replace("\"g\"", &format!("\"g{i}\"")));
    }
    let set = data.load("piqa");
    let contexts: Vec<&str> = set
        .documents
        .iter()
        .map(|d| &*d.requests[0].context)
        .collect();
    assert_eq!(contexts.len(), 11);
    assert_eq!(contexts[10], "Question: g10\nAnswer:");
    let limited = (find("piqa").unwrap().load)(data.path(), Some(2)).unwrap();
    assert_eq!(
        &*limited.documents[1].requests[0].context,
        "Question: g1\nAnswer:"
    );
    std::fs::remove_file(data.path().join(shard(4, 11))).unwrap();
    assert_eq!(
        data.error("piqa"),
        "DATA/piqa/validation-00000-of-00011.jsonl: part 4 of its split is missing; copy all parts"
    );
}

#[test]
fn the_test_split_of_wikitext_comes_before_the_validation_split() {
    let data = Data::new();
    let text = " \n = A = \n \n b \n";
    data.put("wikitext-2/valid.txt", text);
    let set = data.load("wikitext");
    assert_eq!(set.files, [data.path().join("wikitext-2/valid.txt")]);
    data.put("wikitext-2/wiki.test.tokens", text);
    let set = data.load("wikitext");
    assert_eq!(set.files, [data.path().join("wikitext-2/wiki.test.tokens")]);
    // Lines and pages of the hub mean the same.
    let lines =
        ["", " = A = \n", "", " b \n"].map(|line| serde_json::json!({"text": line}).to_string());
    data.put("wikitext/wikitext-2-raw-v1/test.jsonl", lines.join("\n"));
    assert_eq!(data.load("wikitext").documents, set.documents);
    let page = serde_json::json!({"page": " = A = \n \n b \n"}).to_string();
    data.put("wikitext/wikitext-2-raw-v1/test.jsonl", page);
    assert_eq!(data.load("wikitext").documents, set.documents);
}
