//! Tests texts that cannot be used for training.

use super::*;

#[test]
fn texts_that_cannot_be_trained_on() {
    let place = Place::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.path().join(name), bytes).unwrap();
    write("empty.txt", b"");
    write("short.txt", b"too short");
    write("latin1.txt", b"caf\xe9 au lait");
    write("broken.jsonl", b"{\"text\": \"fine\"}\n{\"text\": 1}\n");
    let train = |file: &str, words: &[&str]| {
        let set = format!("data.train={file}");
        refused(&place, &["train", "mini.toml", "--set", &set], words);
    };
    train("missing.txt", &["missing.txt", "No such file"]);
    train("empty.txt", &["empty.txt is empty"]);
    train("short.txt", &["short.txt", "9 tokens", "33"]);
    train("latin1.txt", &["latin1.txt", "not UTF-8", "byte 3"]);
    train("broken.jsonl", &["broken.jsonl", "2", "text"]);
    std::fs::create_dir(place.path().join("nothing")).unwrap();
    train("nothing", &["nothing: no file of a supported kind"]);
    train("x_*.txt", &["x_*.txt: no file of a supported kind"]);
    train(".", &["broken.jsonl", "2", "text"]);
    write("cut.txt.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03K");
    train("cut.txt.gz", &["cut.txt.gz beyond its first 0 bytes"]);
    write("odd.npy", b"\x93NUMPY\x01\0\xff\xff{");
    train("odd.npy", &["odd.npy: it ends within its header"]);
    write("large.bin", &[1, 0, 255, 255]);
    train(
        "large.bin",
        &["large.bin: token 1 is 65535, outside the vocabulary of 257"],
    );
    write(
        "odd.bin",
        b"LITPKDS\x01\0\0\0\0\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    train("odd.bin", &["odd.bin: it is truncated"]);
    write("odd.parquet", b"PAR1....PAR1");
    train("odd.parquet", &["odd.parquet: "]);
    let mixture = "[{ path = \"short.txt\", weight = 0.5 }, { path = \"builtin:tinyshakespeare\", weight = 1 }]";
    train(mixture, &["short.txt", "9 tokens"]);
    assert!(
        !place.path().join("runs").exists(),
        "a refused run must not leave a directory"
    );
}

#[test]
fn shards_one_by_one_with_what_is_skipped_and_what_is_wrong() {
    let place = Place::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("d/a.jsonl", b"\xef\xbb\xbf{\"text\": \"\\n one \\u001b[2J\\nmore\", \"s\": NaN}\n{\"text\": null}\n{\"id\": 5}\n");
    write("d/b.jsonl", b"{\"text\": \"two\"}\n{\"text\": \n");
    write("d/c.jsonl", b"");
    write("d/e.txt", b"three<|endoftext|>four");
    write("d/.f.txt", b"hidden");
    write("d/g.jsonl.xz", b"");
    write("d/h.json", b"[{\"text\": \"five\"}]");
    let output = place.run(&["data", "info", "d", "nowhere_*.txt", "--tokenizer", "byte"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{out}{err}");
    let want = "\
        d/g.jsonl.xz: not read, it is packed in a way that heirloom does not unpack\n\
        d: 1 hidden file is not read\n\
        d: 1 .json file is not read, as files of another kind lie there; if they hold texts, name them: h.json\n\
        d/a.jsonl: text, 15 bytes in 1 document, 16 tokens, 2 rows without a text skipped (1 null, 1 without the field)\n  one\n\
        d/c.jsonl: text, 0 bytes in 0 documents, 0 tokens\n\
        d/e.txt: text, 9 bytes in 2 documents, 11 tokens\n  three\n\
        3 files, 24 bytes of text, 3 documents, 27 tokens, 2 rows without a text skipped (1 null, 1 without the field); 2 cannot be read\n";
    assert_eq!(out, want);
    assert!(err.contains("d/b.jsonl:2: not valid JSON"), "{err}");
    assert!(
        err.contains("nowhere_*.txt: no file of a supported kind"),
        "{err}"
    );

    let output = place.run(&["data", "info", "d", "--json"]);
    let (out, _) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        json["files"][0]["skipped"],
        serde_json::json!({"null": 1, "missing": 1})
    );
    assert_eq!(json["files"][1]["file"], "d/b.jsonl");
    assert!(
        json["files"][1]["error"]
            .as_str()
            .unwrap()
            .contains("d/b.jsonl:2")
    );
    assert_eq!(json["files"][3]["first_line"], "three");
    assert_eq!(json["total"]["documents"], 3);
    assert_eq!(json["left_out"].as_array().unwrap().len(), 3);

    // Without the bad text, a run starts and reports its texts.
    std::fs::remove_file(place.path().join("d/b.jsonl")).unwrap();
    let prepare = [
        "data",
        "prepare",
        "d",
        "--out",
        "o.bin",
        "--tokenizer",
        "byte",
    ];
    let out = place.expect(0, &prepare);
    assert!(
        out.contains("27 tokens from 24 bytes in 3 documents"),
        "{out}"
    );
    assert!(
        out.contains("2 rows without a text skipped (1 null, 1 without the field)"),
        "{out}"
    );
    let train = ["train", "mini.toml", "--set", "data.train=d", "--dry-run"];
    let (_, err) = texts(&place.run(&train));
    for said in [&out, &err] {
        assert!(said.contains("d/g.jsonl.xz: not read"), "{said}");
        assert!(said.contains("d: 1 hidden file is not read"), "{said}");
        assert!(
            said.contains("d: 1 .json file is not read") && said.contains(": h.json\n"),
            "{said}"
        );
    }
    let out = place.expect(0, &["data", "info", "o.bin"]);
    assert!(
        out.starts_with("o.bin: llm.c tokens, 27 ids of u16") && out.contains("3 documents"),
        "{out}"
    );
    assert!(out.ends_with("\n  one\n"), "{out}");
    let (bin, _) = (std::fs::read(place.path().join("o.bin")).unwrap(), ());
    let ids: Vec<u8> = bin[1024..]
        .chunks(2)
        .flat_map(|id| [id[0], id[1], 0, 0])
        .collect();
    write("long.bin", &ids);
    let out = place.expect(0, &["data", "info", "long.bin", "--tokenizer", "byte"]);
    assert!(
        out.contains("27 ids of u32") && out.ends_with("\n  one\n"),
        "{out}"
    );
}

#[test]
fn texts_under_another_name_are_trained_on_when_it_is_given() {
    let place = Place::new();
    let row = |i: usize| format!("{{\"content\": \"document {i} of some length\", \"text\": 5}}\n");
    let rows: String = (0..200).map(row).collect();
    let rows = rows + "{\"content\": null, \"text\": 5}\n";
    std::fs::write(place.path().join("r.ndjson"), rows).unwrap();
    let set = ["train", "mini.toml", "--set", "data.train=r.ndjson"];
    refused(
        &place,
        &set,
        &["r.ndjson:1: no string field \"text\": it is a number"],
    );
    let field = ["--set", "data.text_field=body"];
    refused(
        &place,
        &[&set[..], &field].concat(),
        &[
            "no string field \"body\" here",
            "the fields are content, text",
            "data.text_field",
        ],
    );
    let field = ["--set", "data.text_field=content", "--dry-run"];
    let output = place.run(&[&set[..], &field].concat());
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let skipped = "r.ndjson: 1 row without a text skipped (1 null)";
    assert!(err.contains(skipped), "{err}");
    let prepare = [
        "data",
        "prepare",
        "r.ndjson",
        "--out",
        "o.bin",
        "--tokenizer",
        "byte",
    ];
    refused(&place, &prepare, &["r.ndjson:1: no string field \"text\""]);
    let out = place.expect(0, &[&prepare[..], &["--text-field", "content"]].concat());
    assert!(out.contains("in 200 documents"), "{out}");
    let out = place.expect(0, &["data", "info", "r.ndjson", "--text-field", "content"]);
    assert!(out.contains("document 0 of some length"), "{out}");
}
