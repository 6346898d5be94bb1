use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// Made with the npm package gpt-3-encoder by tests/fixtures/make_tokenizer_fixture.cjs.
const FIXTURE: &str = include_str!("../../../tests/fixtures/tokenizer.json");

/// Made by tests/fixtures/make_tokenizers_fixture.py.
fn fixture(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    dir.join(format!("{name}.json"))
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn agrees(name: &str, tokenizer: &Tokenizer, exact: bool) {
    let cases = std::fs::read(fixture(&format!("{name}.expected"))).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 100);
    for Case { text, ids, decoded } in cases {
        assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{name}: {text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), decoded, "{name}: {text:?}");
        if exact {
            assert_eq!(decoded, text, "{name}");
        }
        let mut stream = tokenizer.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        streamed += &stream.finish().unwrap();
        assert_eq!(streamed, decoded, "{name}: {text:?}");
    }
}

#[test]
fn ids_are_those_of_the_reference_implementations() {
    let cases: Vec<Value> = serde_json::from_str(FIXTURE).unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        for tokenizer in [Tokenizer::byte(), Tokenizer::gpt2()] {
            let want: Vec<u32> = serde_json::from_value(case[tokenizer.name()].clone()).unwrap();
            assert_eq!(
                tokenizer.encode(text).unwrap(),
                want,
                "{tokenizer:?} of {text:?}"
            );
            assert_eq!(tokenizer.decode(&want).unwrap(), text);
        }
    }
}

#[test]
fn byte_level_tokenizers_give_pythons_ids_and_the_text_again() {
    for name in ["gpt2-like", "smollm-like", "llama3-like", "added-tokens"] {
        let tokenizer = Tokenizer::from_name(&fixture(name).display().to_string()).unwrap();
        assert!(
            tokenizer.cuts_at_lines(),
            "{name} goes through our own encoder"
        );
        agrees(name, &tokenizer, true);
    }
    // NFC changes texts, and bytes without a token are lost.
    for name in ["qwen2-like", "fewer-bytes"] {
        let tokenizer = Tokenizer::from_name(&fixture(name).display().to_string()).unwrap();
        assert!(tokenizer.cuts_at_lines(), "{name}");
        agrees(name, &tokenizer, false);
    }
}

#[test]
fn other_tokenizers_give_pythons_ids() {
    for name in ["prefix-space", "stripping-tokens", "llama2-like", "unigram"] {
        let tokenizer = Tokenizer::from_name(&fixture(name).display().to_string()).unwrap();
        assert!(!tokenizer.cuts_at_lines(), "{name}");
        agrees(name, &tokenizer, false);
    }
}

#[derive(Deserialize)]
struct Ggml {
    model: String,
    pre: Option<String>,
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<i32>,
    merges: Vec<String>,
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    add_space_prefix: Option<bool>,
}

fn ggml(path: &Path) -> GgufVocabulary {
    let ggml: Ggml = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    GgufVocabulary {
        model: ggml.model,
        pre: ggml.pre,
        tokens: ggml.tokens,
        scores: ggml.scores,
        token_types: ggml.token_types,
        merges: ggml.merges,
        bos: ggml.bos,
        eos: ggml.eos,
        unknown: ggml.unknown,
        add_bos: None,
        add_space_prefix: ggml.add_space_prefix,
    }
}

#[test]
fn a_gguf_vocabulary_is_the_tokenizer_it_was_made_of() {
    for (name, twin, end) in [
        ("gguf-smollm", "smollm-like", None),
        ("gguf-llama", "llama2-like", Some(2)),
    ] {
        let vocabulary = ggml(&fixture(name));
        let tokenizer = Tokenizer::from_gguf(&vocabulary).unwrap();
        agrees(name, &tokenizer, false);
        let twin = Tokenizer::from_name(&fixture(twin).display().to_string()).unwrap();
        assert_eq!(tokenizer.fingerprint(), twin.fingerprint());
        assert_eq!(tokenizer.end_of_text(), vocabulary.eos);
        let parts = tokenizer.encode("<|endoftext|>").unwrap();
        let wanted = if parts.len() == 1 {
            Some(parts[0])
        } else {
            vocabulary.eos
        };
        assert_eq!(tokenizer.document_end(), wanted);
        assert!(end.is_none() || end == tokenizer.end_of_text());
    }
}

#[test]
fn a_gguf_vocabulary_that_does_not_hold_together_is_refused() {
    let good = ggml(&fixture("gguf-llama"));
    let refused = |change: &dyn Fn(&mut GgufVocabulary), what: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = Tokenizer::from_gguf(&bad).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(&|v| v.tokens.clear(), "0 tokens");
    refused(&|v| v.scores.truncate(9), "scores");
    refused(&|v| v.token_types.truncate(9), "token types");
    refused(&|v| v.eos = Some(1 << 20), "eos id 1048576 is outside");
    refused(
        &|v| v.tokens[5] = v.tokens[6].clone(),
        "tokens 5 and 6 are both",
    );
    let long = "its tokens are too long, up to 200000 bytes";
    refused(&|v| v.tokens[5] = "x".repeat(200_000), long);
    refused(&|v| v.model = "bert".into(), "its model is \"bert\"");
    refused(&|v| v.model = "gpt2".into(), "no merges");
    let pre = |v: &mut GgufVocabulary| {
        v.model = "gpt2".into();
        v.pre = Some("tekken".into());
    };
    refused(&pre, "is \"tekken\"");
}

#[test]
fn the_same_file_comes_out_again_and_reads_as_the_same_tokenizer() {
    let path = fixture("smollm-like");
    let tokenizer = Tokenizer::from_name(&path.display().to_string()).unwrap();
    let json = tokenizer.tokenizer_json();
    assert_eq!(&json[..], std::fs::read(&path).unwrap());
    assert_eq!(tokenizer.name(), "smollm-like");

    let dir = tempfile::tempdir().unwrap();
    for ours in [Tokenizer::byte(), Tokenizer::gpt2()] {
        std::fs::write(dir.path().join("tokenizer.json"), ours.tokenizer_json()).unwrap();
        let read = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(read.fingerprint(), ours.fingerprint());
        assert_eq!(read.end_of_text(), ours.end_of_text());
        assert_eq!(read.size(), ours.size());
    }
    assert_ne!(
        Tokenizer::byte().fingerprint(),
        Tokenizer::gpt2().fingerprint()
    );
}

#[test]
fn the_files_beside_it_say_what_ends_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::copy(fixture("smollm-like"), dir.path().join("tokenizer.json")).unwrap();
    let end = || Tokenizer::from_dir(dir.path()).unwrap().end_of_text();
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let id = |token: &str| tokenizer.encode(token).unwrap()[0];
    assert_eq!(end(), Some(id("<|endoftext|>")));
    put(
        "config.json",
        &format!("{{\"eos_token_id\": {}}}", id("<|im_start|>")),
    );
    assert_eq!(end(), Some(id("<|im_start|>")));
    put("generation_config.json", "{\"eos_token_id\": [7, 8]}");
    assert_eq!(end(), Some(7));
    put(
        "tokenizer_config.json",
        "{\"eos_token\": {\"content\": \"<|im_end|>\"}}",
    );
    assert_eq!(end(), Some(id("<|im_end|>")));
    put(
        "tokenizer_config.json",
        "{\"eos_token\": \"<|not there|>\"}",
    );
    assert_eq!(end(), Some(7));
}

#[test]
fn a_tokenizer_that_does_not_fit_is_told() {
    assert_eq!(Tokenizer::byte().padded_vocab(), 320);
    assert_eq!(Tokenizer::gpt2().padded_vocab(), 50304);
    assert!(Tokenizer::gpt2().fits(50304).is_ok());
    let error = Tokenizer::gpt2().fits(49152).unwrap_err().to_string();
    assert!(
        error.contains("gpt2") && error.contains("50257") && error.contains("49152"),
        "{error}"
    );
    let error = Tokenizer::from_name("llama").unwrap_err().to_string();
    assert!(error.contains("unknown tokenizer \"llama\""), "{error}");
}

#[test]
fn damaged_tokenizer_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |text: &str, what: &str| {
        std::fs::write(dir.path().join("tokenizer.json"), text).unwrap();
        let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused("", "no tokenizer.json");
    refused("{\"model\": 5}", "no tokenizer.json");
    refused(
        "{\"model\": {\"type\": \"WordPiece\"}}",
        "BPE and Unigram are supported",
    );
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(fixture("gpt2-like")).unwrap()).unwrap();
    json["added_tokens"][0]["id"] = 4_000_000_000u32.into();
    refused(&json.to_string(), "token with id 4000000000");
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(fixture("llama2-like")).unwrap()).unwrap();
    json["model"]["unk_token"] = "<nowhere>".into();
    refused(&json.to_string(), "<nowhere>");
}

#[test]
fn a_text_of_spaces_is_no_harder_than_another() {
    let began = std::time::Instant::now();
    let tokenizer = Tokenizer::gpt2();
    let text = " ".repeat(3_000_000) + "x";
    assert_eq!(
        tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(),
        text
    );
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Cutting where [`Tokenizer::cuts_at_lines`] allows it changes no id.
#[test]
fn a_cut_at_a_line_break_between_words_changes_nothing() {
    let text = include_str!("../tinyshakespeare.txt");
    let text = text[..200_000].replace("\n\n", "\n\n \t1990's\r\n.(x)\n");
    for name in ["gpt2-like", "smollm-like", "llama3-like", "qwen2-like"] {
        let tokenizer = Tokenizer::from_name(&fixture(name).display().to_string()).unwrap();
        let cuts = crate::corpus::reader::Cuts {
            at_lines: Some(100),
            at_most: 1 << 20,
        };
        let (mut rest, mut parts, mut n) = (text.as_str(), Vec::new(), 0);
        while let Some(at) = cuts.first(rest) {
            parts.extend(tokenizer.encode(&rest[..at]).unwrap());
            rest = &rest[at..];
            n += 1;
        }
        parts.extend(tokenizer.encode(rest).unwrap());
        assert!(n > 500, "{n}");
        assert_eq!(parts, tokenizer.encode(&text).unwrap(), "{name}");
    }
}

/// SmolLM2's own vocabulary on books; scripts/smollm2_tokenizer.py says how to run it.
#[test]
#[ignore = "needs SMOLLM2_TOKENIZER, made by scripts/smollm2_tokenizer.py"]
fn smollm2s_ids_of_books_are_pythons() {
    #[derive(Deserialize)]
    struct Expected {
        documents: Vec<String>,
        ids: Vec<Vec<u32>>,
    }
    let dir = PathBuf::from(std::env::var_os("SMOLLM2_TOKENIZER").expect("SMOLLM2_TOKENIZER"));
    let expected = std::fs::read(dir.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let from_gguf = Tokenizer::from_gguf(&ggml(&dir.join("ggml.json"))).unwrap();
    let from_file = Tokenizer::from_dir(&dir).unwrap();
    assert!(from_gguf.cuts_at_lines() && from_file.cuts_at_lines());
    assert_eq!(from_gguf.size(), 49_152);
    assert_eq!(from_gguf.fingerprint(), from_file.fingerprint());
    let mut n = 0;
    for (text, ids) in expected.documents.iter().zip(&expected.ids) {
        assert_eq!(&from_gguf.encode(text).unwrap(), ids);
        assert_eq!(&from_file.encode(text).unwrap(), ids);
        assert_eq!(&from_gguf.decode(ids).unwrap(), text);
        n += ids.len();
    }
    assert!(n > 100_000);
}

/// A byte-level `tokenizer.json` with one part replaced, in a directory of its own.
fn with_part(dir: &Path, part: &str, value: &Value) -> PathBuf {
    let mut json: Value = serde_json::from_slice(&Tokenizer::byte().tokenizer_json()).unwrap();
    json[part] = value.clone();
    let path = dir.join(format!("{part}.json"));
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
    ];
    for (part, value, wanted) in cases {
        let path = with_part(tmp.path(), part, &value).display().to_string();
        let told = Tokenizer::from_name(&path).unwrap_err().to_string();
        assert!(
            told.contains(wanted) && told.contains(&path),
            "{wanted}: {told}"
        );
    }
    // What no probe shows is refused when it is met.
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
