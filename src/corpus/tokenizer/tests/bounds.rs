//! Bounds on what a tokenizer from an untrusted file can make of a text.

use super::*;

/// A byte-level `tokenizer.json` with one part replaced, in `dir`.
fn with_part(dir: &Path, part: &str, value: &Value) -> PathBuf {
    let mut json: Value = serde_json::from_slice(&Tokenizer::byte().tokenizer_json()).unwrap();
    json[part] = value.clone();
    // Not a name that means something next to it.
    let path = dir.join(format!("with-{part}.json"));
    std::fs::write(&path, json.to_string()).unwrap();
    path
}

#[test]
fn what_a_tokenizer_makes_of_a_text_is_bounded() {
    let tmp = tempfile::tempdir().unwrap();
    let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let string = |text: &str| json!({"String": text});
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let many =
        |n: usize, key: &str, step: &Value| json!({"type": "Sequence", key: vec![step.clone(); n]});
    let doubling = replace(string("e"), "ee");
    let cases = [
        (
            "normalizer",
            replace(string("e"), &"b".repeat(100_000)),
            "its normalizer (Replace) makes more than 16 bytes",
        ),
        (
            "normalizer",
            replace(json!({"Regex": "(?=e)|x"}), &"b".repeat(100_000)),
            "its normalizer (Replace)",
        ),
        (
            "normalizer",
            json!({"type": "Prepend", "prepend": "b".repeat(5_000_000)}),
            "its normalizer (Prepend)",
        ),
        (
            "normalizer",
            many(30, "normalizers", &doubling),
            "its normalizer (Replace)",
        ),
        (
            "normalizer",
            many(30, "normalizers", &json!({"type": "ByteLevel"})),
            "its normalizer (ByteLevel)",
        ),
        (
            "normalizer",
            many(65, "normalizers", &json!({"type": "NFC"})),
            "its normalizer has 65 steps",
        ),
        (
            "pre_tokenizer",
            many(30, "pretokenizers", &level),
            "its pre_tokenizer (its steps together)",
        ),
        (
            "pre_tokenizer",
            many(65, "pretokenizers", &level),
            "its pre_tokenizer has 65 steps",
        ),
        (
            "decoder",
            many(65, "decoders", &json!({"type": "Fuse"})),
            "its decoder has 65 steps",
        ),
        (
            "added_tokens",
            json!([{"id": 300, "content": "x".repeat(70_000), "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}]),
            "it has a token of 70000 bytes",
        ),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "/////wAA"}),
            "its normalizer (Precompiled) has a damaged table",
        ),
    ];
    for (part, value, wanted) in cases {
        let path = with_part(tmp.path(), part, &value).display().to_string();
        let told = Tokenizer::from_name(&path).unwrap_err().to_string();
        assert!(
            told.contains(wanted) && told.contains(&path),
            "{wanted}: {told}"
        );
    }
    // Growth that no probe shows is refused when it occurs.
    let path = with_part(
        tmp.path(),
        "normalizer",
        &replace(string("~"), &"b".repeat(2000)),
    );
    let tokenizer = Tokenizer::from_name(&path.display().to_string()).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), [97]);
    let told = tokenizer.encode(&"~".repeat(100)).unwrap_err().to_string();
    assert!(
        told.contains("its normalizer (Replace)") && told.contains("normalizer.json"),
        "{told}"
    );
    let path = with_part(
        tmp.path(),
        "decoder",
        &replace(string("a"), &"b".repeat(100_000)),
    );
    let tokenizer = Tokenizer::from_name(&path.display().to_string()).unwrap();
    let told = tokenizer
        .decode(&[u32::from(b'a')])
        .unwrap_err()
        .to_string();
    assert!(told.contains("its decoder (Replace)"), "{told}");
}

/// Every step that grows texts in published tokenizers, on the texts that grow most.
#[test]
fn tokenizers_in_use_stay_within_the_bound() {
    let tmp = tempfile::tempdir().unwrap();
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let sequence = |steps: &[Value]| json!({"type": "Sequence", "normalizers": steps});
    let texts = [
        " ",
        &" ".repeat(10_000),
        &"\u{fdfa}".repeat(5_000),
        &"각".repeat(5_000),
        "a",
    ];
    for normalizer in [
        sequence(&[prepend.clone(), spaces.clone()]),
        sequence(&[json!({"type": "NFKC"}), prepend, spaces]),
        sequence(&[
            json!({"type": "NFKD"}),
            json!({"type": "Lowercase"}),
            json!({"type": "StripAccents"}),
        ]),
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
    ] {
        let path = with_part(tmp.path(), "normalizer", &normalizer);
        let tokenizer = Tokenizer::from_name(&path.display().to_string()).unwrap();
        for text in texts {
            tokenizer.encode(text).unwrap();
        }
    }
}
