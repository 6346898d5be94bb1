//! Rows of JSON, compared with what other programs read.

use super::*;

/// A case of `readers.json`: a file, and what other programs read of it ([`tests/fixtures/make_reader_fixture.py`]).
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    bytes: String,
    #[serde(default)]
    zeros: usize,
    #[serde(flatten)]
    programs: std::collections::HashMap<String, Read>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Read {
    Texts(Vec<Option<serde_json::Value>>),
    Refused(#[expect(dead_code, reason = "the word itself")] String),
}

/// The expected result of reading a file: its rows, or an error with these words.
enum Want {
    As(&'static str),
    Refused(&'static str),
}

#[rustfmt::skip]
const WANTED: &[(&str, Want)] = {
    use Want::{As, Refused};
    &[
        ("mark.jsonl", As("pyarrow")),
        ("mark-crlf.jsonl", As("pyarrow")),
        ("mark-alone.jsonl", As("python")),
        ("mark-inside.jsonl", Refused("mark-inside.jsonl:2: a byte order mark is here")),
        ("mark.jsonl.gz", As("gzip")),
        ("mark.ndjson", As("datasets")),
        ("mark.json", As("datasets")),
        ("utf16.jsonl", Refused("utf16.jsonl is UTF-16 text, and only UTF-8 is read; convert it: iconv -f UTF-16 -t UTF-8")),
        ("utf16-big.jsonl", Refused("is UTF-16 text")),
        ("utf16-no-mark.jsonl", Refused("is UTF-16LE text")),
        ("utf32.jsonl", Refused("is UTF-32 text")),
        ("nan.jsonl", As("pyarrow")),
        ("infinity.jsonl", As("pyarrow")),
        ("inf.jsonl", As("pyarrow")),
        ("nan-nested.jsonl", As("python")),
        ("nan-quoted.jsonl", As("pyarrow")),
        ("nan-key.jsonl", As("pyarrow")),
        ("nan-minus.jsonl", As("pyarrow")),
        ("nan-and-cut.jsonl", Refused("nan-and-cut.jsonl:1: not valid JSON: EOF while parsing a string at column 24")),
        ("nan-and-comma.jsonl", Refused("nan-and-comma.jsonl:1: not valid JSON: key must be a string at column 35")),
        ("nan-and-word.jsonl", Refused("nan-and-word.jsonl:1: not valid JSON: expected ident at column 23")),
        ("nan-as-key.jsonl", Refused("nan-as-key.jsonl:1: not valid JSON: key must be a string at column 17")),
        ("nan-small.jsonl", Refused("nan-small.jsonl:1: not valid JSON: expected ident at column 23")),
        ("nan-text.jsonl", As("datasets")),
        ("nan.json", As("datasets")),
        ("null.jsonl", As("pyarrow")),
        ("null-all.jsonl", As("pyarrow")),
        ("null-row.jsonl", As("pyarrow")),
        ("missing.jsonl", As("pyarrow")),
        ("missing-all.jsonl", Refused("missing-all.jsonl:1: no string field \"text\" here, nor in any other row; the fields are id, content")),
        ("number.jsonl", Refused("number.jsonl:2: no string field \"text\": it is a number")),
        ("object.jsonl", Refused("object.jsonl:2: no string field \"text\": it is an object")),
        ("twice.jsonl", As("python")),
        ("twice-null.jsonl", As("python")),
        ("twice-other.jsonl", As("python")),
        ("twice-nan.jsonl", As("python")),
        ("escaped-key.jsonl", As("pyarrow")),
        ("array.jsonl", Refused("array.jsonl:1: no string field \"text\": the line is an array")),
        ("array-later.jsonl", Refused("array-later.jsonl:2: no string field \"text\": the line is an array")),
        ("array-of-object.jsonl", Refused("a file that is one JSON array has the ending .json")),
        ("array-empty.jsonl", Refused("array-empty.jsonl:2: no string field")),
        ("string.jsonl", Refused("string.jsonl:1: no string field \"text\": the row is a string")),
        ("word.jsonl", Refused("word.jsonl:2: no string field \"text\": the row is true or false")),
        ("returns.jsonl", Refused("returns.jsonl:1: not valid JSON: trailing characters at column 17; a file with several rows on a line has the ending .json")),
        ("joined.jsonl", Refused("joined.jsonl:1: not valid JSON: trailing characters at column 16; a file with several rows on a line has the ending .json")),
        ("spaced.jsonl", Refused("spaced.jsonl:1: not valid JSON: trailing characters at column 17; a file with several rows on a line has the ending .json")),
        ("pretty.jsonl", Refused("pretty.jsonl:1: not valid JSON: EOF while parsing an object at column 1; a file with a row on several lines has the ending .json")),
        ("pretty-later.jsonl", Refused("pretty-later.jsonl:2: not valid JSON: EOF while parsing a value at column 9; a file with a row on several lines has the ending .json")),
        ("behind.jsonl", Refused("behind.jsonl:1: not valid JSON: trailing characters at column 16")),
        ("empty.jsonl", As("python")),
        ("blank.jsonl", As("python")),
        ("empty.jsonl.gz", As("gzip")),
        ("nothing.jsonl.gz", As("python")),
        ("empty.json", As("python")),
        ("text-empty.jsonl", As("pyarrow")),
        ("padded.jsonl.gz", As("gzip")),
        ("padded-by-one.jsonl.gz", As("gzip")),
        ("padded-far.jsonl.gz", As("gzip")),
        ("members.jsonl.gz", As("gzip")),
        ("members-within-a-line.jsonl.gz", As("gzip")),
        ("members-empty.jsonl.gz", As("gzip")),
        ("members-padded.jsonl.gz", As("python")),
        ("garbage.jsonl.gz", Refused("garbage.jsonl.gz beyond its first 16 bytes of text: its gzip data ends there")),
        ("header-only.jsonl.gz", Refused("header-only.jsonl.gz beyond its first 16 bytes of text")),
        ("cut.jsonl.gz", Refused("cut.jsonl.gz beyond its first")),
        ("plain.jsonl.gz", Refused("plain.jsonl.gz: it does not begin as a file packed with gzip does")),
        ("gzip.jsonl", As("datasets")),
        ("array.json", As("datasets")),
        ("array-pretty.json", As("datasets")),
        ("lines.json", As("datasets")),
        ("object.json", As("datasets")),
        ("objects-pretty.json", As("datasets")),
        ("objects-joined.json", As("datasets")),
        ("comma-last.json", Refused("comma-last.json:1: not valid JSON")),
        ("comma-missing.json", Refused("comma-missing.json:1: not valid JSON: a comma or ] is missing")),
        ("cut.json", Refused("cut.json:1: not valid JSON: the file ends within the value")),
        ("open.json", Refused("open.json:1: not valid JSON: the file ends within its array")),
        ("behind.json", Refused("behind.json:1: not valid JSON: this follows the end of the array")),
        ("array-in-array.json", Refused("array-in-array.json:1: no string field \"text\"")),
        ("bzip2.jsonl", Refused("unpack it first: bzip2 -dk")),
        ("bzip2-empty.jsonl", Refused("unpack it first: bzip2 -dk")),
        ("xz.jsonl", Refused("unpack it first: xz -dk")),
        ("twice.jsonl.gz", Refused("packed with gzip, is packed again with gzip")),
    ]
};

#[test]
fn rows_are_read_as_other_programs_read_them() {
    use base64::Engine as _;
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts");
    let cases = std::fs::read(dir.join("readers.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    let place = Place::new();
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(
        names,
        WANTED.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (case, (name, want)) in cases.iter().zip(WANTED) {
        let engine = base64::engine::general_purpose::STANDARD;
        let mut bytes = engine.decode(&case.bytes).unwrap();
        bytes.resize(bytes.len() + case.zeros, 0);
        let (path, tally) = (place.put(name, &bytes), Arc::default());
        let pieces =
            open(&path, &how(CUTS), &tally).and_then(|all| all.collect::<Result<Vec<_>, _>>());
        match (want, pieces) {
            (Want::As(program), Ok(pieces)) => {
                let Read::Texts(texts) = &case.programs[*program] else {
                    panic!("{name}: {program} refuses it");
                };
                let have: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
                let texts: Vec<&str> = texts
                    .iter()
                    .flatten()
                    .map(|t| t.as_str().unwrap())
                    .collect();
                assert_eq!(have, texts, "{name}");
                let Read::Texts(all) = &case.programs[*program] else {
                    unreachable!()
                };
                assert_eq!(
                    tally.skipped().rows() as usize,
                    all.len() - texts.len(),
                    "{name}"
                );
            }
            (Want::Refused(words), Err(error)) => {
                let error = error.to_string();
                assert!(error.contains(words), "{name}: {error}");
                // Where another ending is advised, it helps.
                assert_eq!(
                    error.contains("a file with"),
                    words.contains("a file with"),
                    "{name}: {error}"
                );
                if let Read::Texts(texts) = &case.programs["datasets"]
                    && words.contains("a file with")
                {
                    let texts: Vec<_> = texts.iter().flatten().filter_map(|t| t.as_str()).collect();
                    let path = place.put(&format!("{name}.json"), &bytes);
                    assert_eq!(said(&path, CUTS).unwrap(), texts.join("|") + "|", "{name}");
                }
            }
            (Want::As(program), Err(error)) => {
                panic!("{name} is not read as by {program}: {error}")
            }
            (Want::Refused(_), Ok(pieces)) => panic!("{name} is read: {pieces:?}"),
        }
    }
}

#[test]
fn rows_without_a_text_are_counted_by_reason_and_another_field_may_be_named() {
    let place = Place::new();
    let read = |name: &str, field: &str| {
        let tally = Arc::new(Tally::default());
        let how = ReadOptions {
            cuts: CUTS,
            field: field.into(),
        };
        let pieces = open(name, &how, &tally).map_err(|e| e.to_string())?;
        let texts: Result<Vec<String>, _> = pieces.map(|p| p.map(|p| p.text)).collect();
        Ok::<_, String>((texts.map_err(|e| e.to_string())?, tally.skipped()))
    };
    let rows =
        b"{\"text\": \"a\", \"content\": \"b\"}\n{\"text\": null}\n{}\nnull\n{\"text\": NaN}\n";
    let name = place.put("r.jsonl", rows);
    let (texts, skipped) = read(&name, "text").unwrap();
    assert_eq!(
        (texts, skipped),
        (
            vec!["a".to_string()],
            Skipped {
                null: 3,
                missing: 1
            }
        )
    );
    assert_eq!(
        skipped.to_string(),
        "4 rows without a text skipped (3 null, 1 without the field)"
    );
    let (texts, skipped) = read(&name, "content").unwrap();
    assert_eq!(
        (texts, skipped),
        (
            vec!["b".to_string()],
            Skipped {
                null: 1,
                missing: 3
            }
        )
    );
    assert!(
        read(&name, "body")
            .unwrap_err()
            .contains("no string field \"body\" here")
    );
    #[cfg(feature = "parquet")]
    {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts");
        let file = |name: &str| dir.join(name).display().to_string();
        // Every seventh of 600 rows is null, from the fourth on.
        assert_eq!(
            read(&file("zstd.parquet"), "text").unwrap().1,
            Skipped {
                null: 86,
                missing: 0
            }
        );
        assert_eq!(read(&file("nocolumn.parquet"), "content").unwrap().0, ["x"]);
        assert!(
            read(&file("zstd.parquet"), "score")
                .unwrap_err()
                .contains("column \"score\" does not hold texts")
        );
    }
}
