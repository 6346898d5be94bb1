mod inputs;
mod packed;
mod rows;

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
    // Without such places at a bound, but never within a character.
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
        (b"\xef\xbb\xbfab\xff", Err("byte 5 is invalid")),
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
