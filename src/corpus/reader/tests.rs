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

const CUTS: Cuts = Cuts {
    at_lines: Some(1 << 18),
    at_most: 1 << 25,
};

/// Pieces, `|` where a document ends; or the error.
fn said(name: &str, cuts: Cuts) -> Result<String, String> {
    let mut all = String::new();
    let pieces = open(name, cuts, &Default::default()).map_err(|e| e.to_string())?;
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
    let lines = b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n";
    assert!(error(&place.put("l.jsonl", lines)).contains("l.jsonl:2: no string field"));
    let lines = b"{\"text\": \"a\"}\n\n{\"text\": 5}\n";
    assert!(error(&place.put("m.jsonl", lines)).contains("m.jsonl:3: no string field"));
    assert!(error(&place.put("n.jsonl", b"{\"text")).contains("n.jsonl:1: no JSON"));
    assert!(error("/nowhere/x.txt").contains("cannot read /nowhere/x.txt"));
    assert!(error("data.csv").contains("unknown kind"));
    assert!(error("data.parquet.gz").contains("unknown kind"));

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
    assert!(error(&place.put("b.txt.zst", &bent)).contains("b.txt.zst beyond"));
    assert!(error(&place.put("b.jsonl.gz", b"no gzip")).contains("b.jsonl.gz beyond"));
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
    let all: String = open("builtin:tinyshakespeare", CUTS, &Default::default())
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
    for packing in ["none", "snappy", "zstd", "gzip"] {
        let name = dir.join(format!("{packing}.parquet")).display().to_string();
        let want: String = (0..600)
            .filter(|i| i % 7 != 3)
            .map(|i| format!("row {i} é|"))
            .collect();
        assert_eq!(said(&name, CUTS).unwrap(), want, "{packing}");
        found += 1;
    }
    assert_eq!(found, 4);
    for (name, what) in [
        (
            "nocolumn",
            "has no column \"text\"; its columns are id, content",
        ),
        ("numbers", "holds no text"),
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
        let pieces = open(&name, CUTS, &Default::default()).unwrap();
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
    let pieces = open(&name, CUTS, &Default::default()).unwrap();
    assert_eq!(
        pieces.map(|p| p.unwrap().text.len()).sum::<usize>(),
        200_000_000
    );
    assert!(super::compressed::check_ratio(10 << 20, 2000 << 20).is_ok());
    assert!(super::compressed::check_ratio(10 << 20, 2001 << 20).is_err());
}
