//! Packed files and Parquet.

use super::*;

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
    // 200 MB are accepted.
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

#[test]
fn what_is_packed_in_other_ways_is_named_with_what_unpacks_it() {
    let place = Place::new();
    let head = |bytes: &[u8]| [bytes, &[7; 600]].concat();
    let mut tar = vec![0; 600];
    tar[0] = b'a';
    tar[257..262].copy_from_slice(b"ustar");
    // Recognised by their content, whatever the file's name.
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
    // Recognised by their endings.
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
    // Plain texts.
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
    // A zstd file whose first frame is a skippable one, as pzstd writes it.
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
