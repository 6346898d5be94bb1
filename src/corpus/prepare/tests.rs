use super::*;
use crate::corpus::token_file;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn job(&self, inputs: &[String]) -> Job {
        Job::new(inputs, &self.0.path().join("o.bin"), Tokenizer::byte())
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let mut files: Vec<String> = files
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

fn ids(path: &Path) -> String {
    let tokens = token_file::open(path, &Tokenizer::byte()).unwrap();
    let ids: Vec<u32> = (0..tokens.len()).map(|i| tokens.get(i)).collect();
    Tokenizer::byte()
        .decode(&ids)
        .unwrap()
        .replace("<|endoftext|>", "|")
}

fn go(job: &Job) -> Result<Prepared, String> {
    prepare(job, &mut |_| true).map_err(|e| e.to_string())
}

#[test]
fn every_document_and_every_file_ends_with_the_end_of_text() {
    let place = Place::new();
    let inputs = [
        place.put("a.txt", "ab<|endoftext|>c"),
        place.put("b.txt", "d<|endoftext|>"),
        place.put("c.jsonl", "{\"text\": \"e\"}\n{\"text\": \"\"}\n"),
    ];
    let job = place.job(&inputs);
    let made = go(&job).unwrap();
    assert_eq!(ids(&job.out), "ab|c|d|e||");
    assert_eq!((made.tokens, made.bytes, made.documents), (10, 5, 5));
    let left = ["a.txt", "b.txt", "c.jsonl", "o.bin", "o.bin.json"];
    assert_eq!(place.files(), left);
    assert!(go(&job).unwrap_err().contains("--force overwrites"));
}

#[test]
fn a_failure_at_the_start_leaves_nothing_behind() {
    let place = Place::new();
    let missing = place.job(&[place.0.path().join("no.txt").display().to_string()]);
    assert!(go(&missing).is_err());
    assert!(place.files().is_empty());
    let empty = place.job(&[place.put("e.txt", "")]);
    assert!(go(&empty).unwrap_err().contains("is empty"));
    assert_eq!(place.files(), ["e.txt"]);
}

#[test]
fn a_preparation_that_was_stopped_goes_on_where_it_was() {
    let place = Place::new();
    let line = |i: usize| format!("{{\"text\": \"document {i}\"}}\n");
    let text: String = (0..40_000).map(line).collect();
    let inputs = [place.put("a.jsonl", &text), place.put("b.txt", "end")];
    let whole = place.job(&inputs);
    let made = go(&whole).unwrap();
    let wanted = std::fs::read(&whole.out).unwrap();

    let again = Job {
        out: place.0.path().join("p.bin"),
        ..whole.clone()
    };
    // Stopped after each batch in turn.
    let mut calls = 0;
    let stopped = loop {
        let mut batches = 0;
        calls += 1;
        let part = prepare(&again, &mut |p| {
            batches += u32::from(!p.checking);
            batches < 2
        });
        let part = part.unwrap();
        if part.done {
            break part;
        }
        assert!(!again.out.exists() && part.files.is_empty());
    };
    assert!(calls >= 3 && stopped.kept > 0, "{calls}");
    assert_eq!(std::fs::read(&again.out).unwrap(), wanted);
    assert_eq!(
        (stopped.tokens, stopped.documents),
        (made.tokens, made.documents)
    );
    assert!(!State::path(&again.out).exists());
}

#[test]
fn what_was_begun_with_something_else_is_not_continued() {
    let place = Place::new();
    let text: String = (0..40_000)
        .map(|i| format!("{{\"text\": \"{i}\"}}\n"))
        .collect();
    let inputs = [place.put("a.jsonl", &text)];
    let job = place.job(&inputs);
    let stop = |job: &Job| prepare(job, &mut |_| false).map_err(|e| e.to_string());
    assert!(!stop(&job).unwrap().done);
    let gpt2 = Job {
        tokenizer: Tokenizer::gpt2(),
        ..job.clone()
    };
    assert!(go(&gpt2).unwrap_err().contains("another tokenizer"));
    let more = place.job(&[inputs[0].clone(), place.put("b.txt", "b")]);
    assert!(go(&more).unwrap_err().contains("other inputs"));
    place.put("a.jsonl", &text.replacen("17", "18", 1));
    for _ in 0..2 {
        assert!(go(&job).unwrap_err().contains("the text has changed"));
    }
    let forced = Job { force: true, ..job };
    assert!(go(&forced).unwrap().done);
}

#[test]
fn a_bad_line_keeps_what_came_before_it() {
    let place = Place::new();
    let good = "{\"text\": \"a\"}\n".repeat(20_000);
    let name = place.put("a.jsonl", &format!("{good}[]\n"));
    let job = place.job(&[name]);
    let error = go(&job).unwrap_err();
    assert!(error.contains("a.jsonl:20001: no string field"), "{error}");
    place.put("a.jsonl", &format!("{good}{{\"text\": \"b\"}}\n"));
    let made = go(&job).unwrap();
    assert_eq!((made.documents, made.kept), (20_001, 20_000));
}

#[test]
fn a_long_text_becomes_several_files_and_a_share_of_it_another() {
    let place = Place::new();
    let text = (0..10).map(|i| i.to_string().repeat(4));
    let text = text.collect::<Vec<_>>().join("<|endoftext|>");
    let job = Job {
        shard_tokens: 12,
        val: Some((0.2, place.0.path().join("v.bin"))),
        ..place.job(&[place.put("a.txt", &text)])
    };
    let made = go(&job).unwrap();
    let names: Vec<String> = made
        .files
        .iter()
        .map(|f| f.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        ["o_000000.bin", "o_000001.bin", "o_000002.bin", "v.bin"]
    );
    let texts: Vec<String> = made.files.iter().map(|f| ids(f)).collect();
    assert_eq!(
        texts,
        [
            "0000|1111|2222|",
            "3333|5555|6666|",
            "7777|8888|",
            "4444|9999|"
        ]
    );
    assert_eq!((made.tokens, made.val_tokens), (40, 10));
}

#[test]
fn a_bad_file_costs_neither_those_before_it_nor_the_corrected_command() {
    let place = Place::new();
    let rows = |from: usize| -> String {
        let row = |i: usize| format!("{{\"text\": \"document {i}\"}}\n");
        (from..from + 2_000).map(row).collect()
    };
    let good = [place.put("a.jsonl", &rows(0)), place.put("b.txt", "b")];
    let last = place.put("d.jsonl", &rows(90_000));
    // Returns the output of a corrected call without earlier work.
    let wanted = |job: &Job| {
        let fresh = Job {
            out: place.0.path().join("w.bin"),
            force: true,
            ..job.clone()
        };
        go(&fresh).unwrap();
        std::fs::read(&fresh.out).unwrap()
    };
    /// A correction: its name, the corrected job, and whether completed work is kept.
    type Correction<'a> = (&'a str, &'a dyn Fn(&Job) -> Job, bool);
    let corrections: [Correction; 8] = [
        (
            "the bad file corrected",
            &|job| {
                place.put("c.jsonl", &rows(40_000));
                job.clone()
            },
            true,
        ),
        (
            "the bad file left out",
            &|job| Job {
                inputs: [&good[..], std::slice::from_ref(&last)].concat(),
                ..job.clone()
            },
            true,
        ),
        (
            "another file in its place",
            &|job| Job {
                inputs: [&good[..], &[place.put("e.txt", "e"), last.clone()]].concat(),
                ..job.clone()
            },
            true,
        ),
        (
            "a file put before it",
            &|job| Job {
                inputs: [std::slice::from_ref(&last), &good[..]].concat(),
                ..job.clone()
            },
            false,
        ),
        (
            "another text in the first file",
            &|job| {
                place.put("a.jsonl", &rows(7));
                place.put("c.jsonl", &rows(40_000));
                job.clone()
            },
            false,
        ),
        (
            "another tokenizer",
            &|job| Job {
                tokenizer: Tokenizer::gpt2(),
                inputs: good.to_vec(),
                ..job.clone()
            },
            false,
        ),
        (
            "a share held out",
            &|job| Job {
                val: Some((0.5, place.0.path().join("v.bin"))),
                inputs: good.to_vec(),
                ..job.clone()
            },
            false,
        ),
        (
            "the tokens removed",
            &|job| {
                std::fs::remove_file(place.0.path().join("o.bin.part")).unwrap();
                Job {
                    inputs: good.to_vec(),
                    ..job.clone()
                }
            },
            false,
        ),
    ];
    for (what, correct, kept) in corrections {
        place.put("a.jsonl", &rows(0));
        let bad = place.put("c.jsonl", &format!("{}{{\"text\"\n", rows(40_000)));
        let job = place.job(&[&good[..], &[bad, last.clone()]].concat());
        let error = go(&job).unwrap_err();
        assert!(error.contains("c.jsonl:2001: not valid JSON"), "{error}");
        assert!(!job.out.exists());
        let job = correct(&job);
        let made = go(&job).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(made.kept > 0, kept, "{what}");
        assert_eq!(std::fs::read(&job.out).unwrap(), wanted(&job), "{what}");
        std::fs::remove_file(&job.out).unwrap();
        let left: Vec<String> = place
            .files()
            .into_iter()
            .filter(|f| f.contains(".part"))
            .collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

#[test]
fn an_empty_file_adds_nothing_and_nothing_else_is_an_error() {
    let place = Place::new();
    let texts = [
        place.put("a.txt", "a"),
        place.put("c.jsonl", "{\"text\": \"c\"}\n"),
    ];
    let empty = [
        place.put("e.txt", ""),
        place.put("f.jsonl", "\n\n"),
        place.put("g.json", "[]"),
        place.put("h.jsonl.gz", ""),
        place.put("i.jsonl", "{\"text\": null}\n"),
    ];
    for inputs in [
        [&texts[..1], &empty, &texts[1..]].concat(),
        [&empty[..], &texts].concat(),
        [&texts[..], &empty].concat(),
    ] {
        let job = Job {
            force: true,
            ..place.job(&inputs)
        };
        let made = go(&job).unwrap();
        assert_eq!(ids(&job.out), "a|c|");
        assert_eq!((made.documents, made.skipped.rows()), (2, 1));
        // A run that reads the texts itself ends the last file with nothing.
        let tokens = crate::corpus::open(&inputs, &Tokenizer::byte(), TEXT_FIELD, &|_| {}).unwrap();
        let ids: Vec<u32> = (0..tokens.len()).map(|i| tokens.get(i)).collect();
        assert_eq!(
            Tokenizer::byte().decode(&ids).unwrap(),
            "a<|endoftext|>c<|endoftext|>"
        );
    }
    let out = place.0.path().join("n.bin");
    let job = Job {
        out: out.clone(),
        ..place.job(&empty)
    };
    let error = go(&job).unwrap_err();
    assert!(
        error.contains("is empty") && error.contains("1 row without a text skipped (1 null)"),
        "{error}"
    );
    assert!(place.files().iter().all(|file| !file.starts_with("n.bin")));
    let error = crate::corpus::open(&empty, &Tokenizer::byte(), TEXT_FIELD, &|_| {});
    assert!(error.unwrap_err().to_string().contains("is empty"));
}

#[test]
fn a_state_of_an_earlier_version_is_continued() {
    let place = Place::new();
    let row = |i: usize| format!("{{\"text\": \"document {i}\"}}\n");
    let rows: String = (0..40_000).map(row).collect();
    let job = place.job(&[place.put("a.jsonl", &rows)]);
    assert!(!prepare(&job, &mut |_| false).unwrap().done);
    let path = State::path(&job.out);
    let state = std::fs::read(&path).unwrap();
    let mut state: serde_json::Map<_, _> = serde_json::from_slice(&state).unwrap();
    for new in ["failed", "files"] {
        assert!(state.remove(new).is_some());
    }
    let kept = state["bytes"].as_u64().unwrap();
    std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
    let made = go(&job).unwrap();
    assert_eq!((made.done, made.kept), (true, kept));
}
