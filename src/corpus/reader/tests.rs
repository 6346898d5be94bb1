use std::io::Write;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

fn how(cuts: Cuts) -> ReadOptions {
    ReadOptions {
        cuts,
        field: TEXT_FIELD.into(),
    }
}

const CUTS: Cuts = Cuts {
    at_lines: Some(1 << 18),
    at_most: 1 << 25,
};

/// Pieces, `|` where a document ends; or the error.
fn said(name: &str, cuts: Cuts) -> Result<String, String> {
    let mut all = String::new();
    let pieces = open(name, &how(cuts), &Default::default()).map_err(|e| e.to_string())?;
    for piece in pieces {
        let piece = piece.map_err(|e| e.to_string())?;
        all += &piece.text;
        all += if piece.ends { "|" } else { "/" };
    }
    Ok(all)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn documents_are_the_same_whatever_they_are_packed_in() {
    let place = Place::new();
    let text = "one<|endoftext|>two é\n<|endoftext|><|endoftext|>three".as_bytes();
    let wanted = "one|two é\n||three/";
    let lines = "{\"text\": \"one\", \"id\": 5}\n\n{\"n\": [1], \"text\": \"two \\u00e9\\n\"}\n{\"text\":\"\"}\n".as_bytes();
    for (name, bytes, wanted) in [("a.txt", text, wanted), ("a.jsonl", lines, "one|two é\n||")] {
        assert_eq!(said(&place.put(name, bytes), CUTS).unwrap(), wanted);
        let zipped = place.put(&format!("{name}.gz"), &gz(bytes));
        assert_eq!(said(&zipped, CUTS).unwrap(), wanted);
        // Several members one after the other are one stream.
        let (a, b) = bytes.split_at(9);
        let members = [gz(a), gz(b)].concat();
        let zipped = place.put(&format!("m{name}.gz"), &members);
        assert_eq!(said(&zipped, CUTS).unwrap(), wanted);
        let packed = zstd::encode_all(bytes, 3).unwrap();
        let packed = place.put(&format!("{name}.zst"), &packed);
        assert_eq!(said(&packed, CUTS).unwrap(), wanted);
    }
}

#[test]
fn bad_inputs_are_named_with_their_place() {
    let place = Place::new();
    let error = |name: &str| said(name, CUTS).unwrap_err();
    assert!(error(&place.put("u.txt", b"abc\xff")).contains("u.txt is not UTF-8: byte 3"));
    // A character that the file ends in.
    assert!(error(&place.put("v.txt", b"abcd\xc3")).contains("byte 4"));
    let lines = b"\n{\"txt\": \"a\", \"id\": 5}\n{\"txt\": \"b\"}\n";
    let said = error(&place.put("l.jsonl", lines));
    assert!(said.contains("l.jsonl:2: no string field"), "{said}");
    assert!(
        said.contains("the fields are txt, id. Name one with --text-field"),
        "{said}"
    );
    let lines = b"{\"text\": \"a\"}\n\n{\"text\": 5}\n";
    assert!(error(&place.put("m.jsonl", lines)).contains("m.jsonl:3: no string field"));
    assert!(
        error(&place.put("n.jsonl", b"{\"text"))
            .contains("n.jsonl:1: not valid JSON: EOF while parsing a string at column 6")
    );
    assert!(error("/nowhere/x.txt").contains("cannot read /nowhere/x.txt"));
    assert!(error("data.csv").contains("unknown kind"));
    assert!(error("data.parquet.gz").contains("unpack it first: gzip -dk data.parquet.gz"));

    let text = "some text that is long enough to be cut off\n".repeat(2000);
    let whole = gz(text.as_bytes());
    let short = error(&place.put("t.txt.gz", &whole[..whole.len() / 2]));
    assert!(
        short.contains("cannot read") && short.contains("t.txt.gz beyond its first"),
        "{short}"
    );
    let mut bent = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let short = error(&place.put("t.txt.zst", &bent[..bent.len() / 2]));
    assert!(short.contains("t.txt.zst beyond its first"), "{short}");
    bent[0] = 0;
    assert!(error(&place.put("b.txt.zst", &bent)).contains("b.txt.zst: it does not begin as"));
    assert!(
        error(&place.put("b.jsonl.gz", b"no gzip")).contains("b.jsonl.gz: it does not begin as")
    );
    #[cfg(feature = "parquet")]
    for bytes in [&b"PAR1"[..], b"PAR1 and then nothing of use PAR1", b""] {
        assert!(error(&place.put("p.parquet", bytes)).contains("p.parquet"));
    }
}

#[test]
fn long_documents_are_cut_where_no_word_runs_on() {
    let place = Place::new();
    let cuts = Cuts {
        at_lines: Some(4),
        at_most: 1000,
    };
    let text = "ab\ncdef\n\nghij\n kl\nm<|endoftext|>nopqrs\nt";
    let name = place.put("a.txt", text.as_bytes());
    assert_eq!(
        said(&name, cuts).unwrap(),
        "ab\ncdef\n\nghij\n kl\n/m|nopqrs\n/t/"
    );
    let line = serde_json::json!({"text": text.split("<|").next()}).to_string();
    let name = place.put("a.jsonl", line.as_bytes());
    assert_eq!(said(&name, cuts).unwrap(), "ab\ncdef\n\nghij\n kl\n/m|");
    // Without such places at a bound, never within a character.
    let cuts = Cuts {
        at_lines: None,
        at_most: 5,
    };
    let name = place.put("b.txt", "ääääa\nbäää".as_bytes());
    assert_eq!(said(&name, cuts).unwrap(), "ää/ääa/\nbä/ää/");
    let cuts = Cuts {
        at_lines: None,
        at_most: 6,
    };
    let name = place.put("c.txt", b"abcd\nefg");
    assert_eq!(said(&name, cuts).unwrap(), "abcd\n/efg/");
}

#[test]
fn the_embedded_text_is_whole() {
    let all: String = open("builtin:tinyshakespeare", &how(CUTS), &Default::default())
        .unwrap()
        .map(|p| p.unwrap().text)
        .collect();
    assert_eq!(all, TINYSHAKESPEARE);
}

/// Written by pyarrow ([`tests/fixtures/make_text_fixtures.py`]), one file a compression.
#[cfg(feature = "parquet")]
#[test]
fn parquet_of_every_common_compression_is_read() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts");
    let mut found = 0;
    for packing in ["none", "snappy", "zstd", "gzip", "lz4", "brotli"] {
        let name = dir.join(format!("{packing}.parquet")).display().to_string();
        let want: String = (0..600)
            .filter(|i| i % 7 != 3)
            .map(|i| format!("row {i} é|"))
            .collect();
        assert_eq!(said(&name, CUTS).unwrap(), want, "{packing}");
        found += 1;
    }
    assert_eq!(found, 6);
    let file = |name: &str| dir.join(name).display().to_string();
    assert_eq!(said(&file("norows.parquet"), CUTS).unwrap(), "");
    let old = said(&file("lz4-old.parquet"), CUTS).unwrap();
    assert_eq!(old, "one|two é|".repeat(20));
    // Shards without a text, whose column need not be one of texts: pyarrow reads them next to others, with these nulls.
    for (name, nulls) in [
        ("null-type", 2),
        ("null-ints", 3),
        ("null-texts", 3),
        ("norows-null-type", 0),
        ("norows-floats", 0),
        ("norows-lists", 0),
        ("norows-nocolumn", 0),
    ] {
        let tally = Arc::default();
        let path = file(&format!("{name}.parquet"));
        let pieces = open(&path, &how(CUTS), &tally).map(|pieces| pieces.count());
        assert_eq!(pieces.unwrap(), 0, "{name}");
        assert_eq!(
            (tally.skipped().null, tally.skipped().missing),
            (nulls, 0),
            "{name}"
        );
    }
    for (name, what) in [
        (
            "nocolumn",
            "has no column \"text\"; its columns are id, content",
        ),
        ("numbers", "does not hold texts"),
        ("list", "has no column \"text\""),
    ] {
        let error = said(
            &dir.join(format!("{name}.parquet")).display().to_string(),
            CUTS,
        );
        assert!(error.clone().unwrap_err().contains(what), "{error:?}");
    }
    let whole = std::fs::read(dir.join("snappy.parquet")).unwrap();
    let place = Place::new();
    for n in [10, whole.len() / 2, whole.len() - 1] {
        assert!(said(&place.put("cut.parquet", &whole[..n]), CUTS).is_err());
    }
}

#[test]
fn a_packed_file_may_unpack_to_what_texts_come_to() {
    let place = Place::new();
    // 400 MB of one letter: 1000 times the file with gzip, more with zstd.
    let block = "a".repeat(999) + "\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstandard = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    for _ in 0..400_000 {
        gzip.write_all(block.as_bytes()).unwrap();
        zstandard.write_all(block.as_bytes()).unwrap();
    }
    for (name, bytes) in [
        ("a.txt.gz", gzip.finish().unwrap()),
        ("a.txt.zst", zstandard.finish().unwrap()),
    ] {
        let name = place.put(name, &bytes);
        let pieces = open(&name, &how(CUTS), &Default::default()).unwrap();
        let (mut read, mut error) = (0, None);
        for piece in pieces {
            match piece {
                Ok(piece) => read += piece.text.len(),
                Err(e) => error = Some(e.to_string()),
            }
        }
        let error = error.unwrap();
        assert!(
            error.contains("unpacks to more than 200 times its size"),
            "{error}"
        );
        assert!(read <= 257 << 20, "{read}");
    }
    // 200 MB of it are a text like any other.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..200_000).for_each(|_| gzip.write_all(block.as_bytes()).unwrap());
    let name = place.put("b.txt.gz", &gzip.finish().unwrap());
    let pieces = open(&name, &how(CUTS), &Default::default()).unwrap();
    assert_eq!(
        pieces.map(|p| p.unwrap().text.len()).sum::<usize>(),
        200_000_000
    );
    assert!(super::compressed::check_ratio(10 << 20, 2000 << 20).is_ok());
    assert!(super::compressed::check_ratio(10 << 20, 2001 << 20).is_err());
}

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

/// What is read of a file: as this program does, or a refusal in these words.
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
        ("garbage.jsonl.gz", Refused("garbage.jsonl.gz beyond its first 16 bytes of text: all of its gzip data is unpacked there")),
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
        ("behind.json", Refused("behind.json:1: not valid JSON: this is behind the end of the array")),
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

#[test]
fn marks_and_encodings_of_plain_texts_are_no_text() {
    let place = Place::new();
    for (bytes, want) in [
        (&b"\xef\xbb\xbfone"[..], Ok("one/")),
        (b"\xef\xbb\xbf", Ok("")),
        ("one\u{feff}two".as_bytes(), Ok("one\u{feff}two/")),
        (b"\xef\xbb\xbf\xef\xbb\xbfone", Ok("\u{feff}one/")),
        (b"", Ok("")),
        (b"\xff\xfeo\0", Err("is UTF-16 text")),
        (b"\xfe\xff\0o", Err("is UTF-16 text")),
        (b"o\0n\0e\0", Err("is UTF-16LE text")),
        (b"\0o\0n\0e", Err("is UTF-16BE text")),
        (b"\xef\xbb\xbfab\xff", Err("byte 5 does not belong")),
    ] {
        for packed in [false, true] {
            let name = match packed {
                false => place.put("a.txt", bytes),
                true => place.put("a.txt.gz", &gz(bytes)),
            };
            match (said(&name, CUTS), want) {
                (Ok(have), Ok(want)) => assert_eq!(have, want),
                (Err(have), Err(want)) => assert!(have.contains(want), "{have}"),
                (have, want) => panic!("{have:?} instead of {want:?}"),
            }
        }
    }
}

#[test]
fn what_is_packed_in_other_ways_is_named_with_what_unpacks_it() {
    let place = Place::new();
    let head = |bytes: &[u8]| [bytes, &[7; 600]].concat();
    let mut tar = vec![0; 600];
    tar[0] = b'a';
    tar[257..262].copy_from_slice(b"ustar");
    // By their content, whatever the name says.
    for (bytes, command) in [
        (head(b"\x04\x22\x4d\x18"), "lz4 -d"),
        (head(b"\x02\x21\x4c\x18"), "lz4 -d"),
        (head(b"PK\x03\x04"), "unzip"),
        (head(b"7z\xbc\xaf\x27\x1c"), "7z x"),
        (head(b"Rar!\x1a\x07\x01"), "unrar x"),
        (head(b"\x1f\x9d"), "gzip -dk"),
        (head(b"\x5d\0\0\x80\0"), "xz -dk --format=lzma"),
        (head(b"PAR1\x15\x04"), "give it the ending .parquet"),
        (tar.clone(), "tar -xf"),
    ] {
        for name in ["a.txt", "b.jsonl", "c.json"] {
            let error = said(&place.put(name, &bytes), CUTS).unwrap_err();
            assert!(error.contains(command) && error.contains(name), "{error}");
        }
    }
    let error = said(&place.put("a.jsonl.gz", &gz(&tar)), CUTS).unwrap_err();
    assert!(
        error.contains("packed with gzip, is packed again with tar"),
        "{error}"
    );
    // By their endings.
    for (name, command) in [
        ("a.jsonl.bz2", "bzip2 -dk a.jsonl.bz2"),
        ("a.txt.XZ", "xz -dk a.txt.XZ"),
        ("a.txt.lz4", "lz4 -d a.txt.lz4"),
        ("a b.zip", "unzip 'a b.zip'"),
        ("a.tar", "tar -xf a.tar"),
        ("a.tar.gz", "tar -xf a.tar.gz"),
        ("a.tgz", "tar -xf a.tgz"),
        ("a.parquet.zst", "zstd -d a.parquet.zst"),
        ("a.jsonl.br", "brotli -d a.jsonl.br"),
        ("a.7z", "7z x a.7z"),
    ] {
        let error = kind(name).unwrap_err().to_string();
        assert!(error.ends_with(command), "{error}");
    }
    // Texts like any other.
    for text in [
        "BZh9 is how bzip2 begins",
        "PAR1 is a name",
        "PK",
        "7z is a program",
        "LZIP too",
        "Rar!",
    ] {
        assert_eq!(
            said(&place.put("t.txt", text.as_bytes()), CUTS).unwrap(),
            format!("{text}/")
        );
    }
    // A zstd file whose first frame is to be skipped, as pzstd writes it.
    let frames = [
        &b"\x50\x2a\x4d\x18\x04\0\0\0abcd"[..],
        &zstd::encode_all(&b"one"[..], 3).unwrap(),
    ]
    .concat();
    assert_eq!(
        said(&place.put("p.txt.zst", &frames), CUTS).unwrap(),
        "one/"
    );
}

#[test]
fn hidden_files_and_descriptions_are_left_out_of_directories_and_patterns() {
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    let names = |input: &str| -> Vec<String> {
        let found = find(input).unwrap().files;
        found
            .iter()
            .map(|f| f.rsplit('/').next().unwrap().to_string())
            .collect()
    };
    for name in [
        "a.txt",
        "._a.txt",
        ".b.txt",
        "_c.txt",
        "e.txt~",
        "_SUCCESS",
        "x.json",
        "README.md",
        "d.txt.bz2",
        ".h.zip",
    ] {
        place.put(name, b"text");
    }
    std::fs::create_dir(place.0.path().join(".dir")).unwrap();
    place.put(".dir/z.txt", b"text");
    // As `datasets` and the shell have it.
    assert_eq!(names(&dir), ["_c.txt", "a.txt"]);
    assert_eq!(names(&format!("{dir}/*.txt")), ["_c.txt", "a.txt"]);
    assert_eq!(names(&format!("{dir}/?.txt")), ["a.txt"]);
    assert_eq!(names(&format!("{dir}/.*.txt")), ["._a.txt", ".b.txt"]);
    assert_eq!(names(&format!("{dir}/.b.txt")), [".b.txt"]);
    assert_eq!(names(&format!("{dir}/.d*/*.txt")), ["z.txt"]);
    assert_eq!(names(&format!("{dir}/./[ab].txt")), ["a.txt"]);
    assert!(find(&format!("{dir}/*/*.txt")).is_err());
    assert_eq!(names(&format!("{dir}/**/*.txt")), ["_c.txt", "a.txt"]);
    let found = find(&dir).unwrap();
    assert_eq!((found.hidden, found.packed.len()), (2, 1));
    let left_out = [
        format!("{dir}/d.txt.bz2: not read, it is packed in a way that heirloom does not unpack"),
        format!("{dir}: 2 hidden files are not read"),
        format!(
            "{dir}: 1 .json file is not read, as files of another kind lie there; if they hold texts, name them: x.json"
        ),
    ];
    assert_eq!(found.left_out(&dir), left_out);

    // Rows in .json files are meant where there is nothing else.
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    for name in ["b.json", "a.json", "dataset_infos.json", "config.json"] {
        place.put(name, b"[]");
    }
    assert_eq!(names(&dir), ["a.json", "b.json"]);
    // Sidecars of token files are neither.
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    for name in ["a.bin", "a.bin.json", "b.npy", "b.npy.json"] {
        place.put(name, b"[]");
    }
    assert_eq!(names(&dir), ["a.bin", "b.npy"]);
    assert!(find(&dir).unwrap().left_out(&dir).is_empty());
    for name in [
        "config.json",
        "d.json.gz",
        "c.json",
        "c.bin.json",
        ".e.json",
    ] {
        place.put(name, b"[]");
    }
    let left_out = find(&dir).unwrap().left_out(&dir).concat();
    assert!(
        left_out.contains("3 .json files are not read")
            && left_out.ends_with(": c.bin.json, c.json, d.json.gz"),
        "{left_out}"
    );
    assert_eq!(names(&format!("{dir}/a*")), ["a.bin"]);
    // Packed files alone are named with what unpacks them.
    let place = Place::new();
    place.put("a.jsonl.xz", b"");
    let error = find(&place.0.path().display().to_string())
        .unwrap_err()
        .to_string();
    assert!(error.contains("unpack it first: xz -dk"), "{error}");
}
