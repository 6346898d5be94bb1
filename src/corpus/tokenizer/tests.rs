use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

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
        add_space_prefix: ggml.add_space_prefix,
        ..GgufVocabulary::default()
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
        assert_eq!(tokenizer.document_end(), vocabulary.eos);
        assert!(end.is_none() || end == tokenizer.end_of_text());
    }
}

/// Made by tests/fixtures/make_gguf_splitting_fixture.py.
#[test]
fn every_kind_of_splitting_in_a_gguf_file_is_transformers() {
    let file = include_str!("../../../tests/fixtures/gguf_splitting.json");
    let expected: Value = serde_json::from_str(file).unwrap();
    let text = expected["text"].as_str().unwrap();
    let kinds = expected["ids"].as_object().unwrap();
    assert!(kinds.len() > 15);
    for (kind, ids) in kinds {
        let vocabulary = GgufVocabulary {
            pre: Some(kind.clone()),
            ..ggml(&fixture("gguf-smollm"))
        };
        let tokenizer = Tokenizer::from_gguf(&vocabulary).unwrap();
        let wanted: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), wanted, "{kind}");
        assert_eq!(tokenizer.decode(&wanted).unwrap(), text, "{kind}");
    }
}

/// The members of the kinds that llama.cpp and its converters write.
#[test]
fn a_gguf_vocabulary_without_merges_or_types_is_read() {
    let bytes = GgufVocabulary {
        model: "gpt2".into(),
        tokens: (0..=255u8).map(|b| letters::spell(&[b])).collect(),
        ..GgufVocabulary::default()
    };
    for pre in [
        None,
        Some("gpt-2"),
        Some("llama-bpe"),
        Some("qwen2"),
        Some("tekken"),
    ] {
        let vocabulary = GgufVocabulary {
            pre: pre.map(String::from),
            ..bytes.clone()
        };
        let tokenizer = Tokenizer::from_gguf(&vocabulary).unwrap();
        let ids = [104, 195, 169, 32, 120];
        assert_eq!(tokenizer.encode("hé x").unwrap(), ids, "{pre:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), "hé x");
        assert_eq!((tokenizer.size(), tokenizer.end_of_text()), (256, None));
    }
    // Rows without a token, several ends, a token that is matched whole.
    let mut vocabulary = bytes;
    vocabulary
        .tokens
        .extend(["<|end|>", "<think>", "[PAD258]", "[PAD7]", "[PAD260]"].map(String::from));
    vocabulary.token_types = [
        vec![kinds::NORMAL; 256],
        vec![
            kinds::CONTROL,
            kinds::USER_DEFINED,
            kinds::UNUSED,
            kinds::NORMAL,
            kinds::UNUSED,
        ],
    ]
    .concat();
    vocabulary.eos = Some(256);
    vocabulary.other_ends = vec![255];
    let tokenizer = Tokenizer::from_gguf(&vocabulary).unwrap();
    assert_eq!(tokenizer.encode("a<think><|end|>").unwrap(), [97, 257, 256]);
    assert_eq!(tokenizer.size(), 260);
    assert_eq!(
        (tokenizer.end_of_text(), tokenizer.stops()),
        (Some(256), &[256, 255][..])
    );
}

#[test]
fn a_gguf_vocabulary_that_does_not_hold_together_is_refused() {
    let good = ggml(&fixture("gguf-llama"));
    // Rows that no token has may have any name of their kind, a token's too: nothing finds them.
    let row = |name: &str, kind| {
        let mut rows = good.clone();
        let end = rows.tokens.len();
        rows.tokens.push(name.replace('N', &end.to_string()));
        rows.tokens.push(format!("[PAD{end}]"));
        rows.token_types.extend([kind, 1]);
        rows.scores.extend([-1e9; 2]);
        Tokenizer::from_gguf(&rows).map(|read| {
            (
                read.size() - end,
                read.encode(&format!("[PAD{end}]")).unwrap(),
            )
        })
    };
    let wanted = row("[PADN-1]", 5).unwrap();
    assert_eq!(row("[PADN]", 5).unwrap(), wanted);
    assert!(
        row("[PADN]", 1)
            .unwrap_err()
            .to_string()
            .contains("are both \"[PAD")
    );
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
    let whole = std::fs::read_to_string(fixture("smollm-like")).unwrap();
    refused(
        &|v| {
            v.tokens.truncate(300);
            v.scores.truncate(300);
            v.token_types.truncate(300);
            v.hugging_face = Some(whole.clone());
        },
        "its tokenizer.huggingface.json has 702 ids, its tokenizer.ggml.tokens 300",
    );
    let pre = |v: &mut GgufVocabulary| {
        v.model = "gpt2".into();
        v.pre = Some("viking".into());
    };
    refused(&pre, "is \"viking\"");
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

/// What transformers reads from the places where Hugging Face directories keep tokens; made by
/// tests/fixtures/make_special_tokens_fixture.py.
const SPECIAL_TOKENS: &str = include_str!("../../../tests/fixtures/special_tokens.json");

#[derive(Deserialize)]
struct Places {
    tokenizers: HashMap<String, Value>,
    cases: Vec<PlacesCase>,
}

#[derive(Deserialize)]
struct PlacesCase {
    name: String,
    tokenizer: String,
    added: Vec<Value>,
    files: HashMap<String, Value>,
    /// Two more than the largest id and one.
    rows: usize,
    eos: Option<u32>,
    texts: Vec<(String, Vec<u32>)>,
}

/// A directory with the files of a case.
fn directory(case: &PlacesCase, tokenizers: &HashMap<String, Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut json = tokenizers[&case.tokenizer].clone();
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.extend(case.added.iter().cloned());
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    for (name, json) in &case.files {
        std::fs::write(dir.path().join(name), json.to_string()).unwrap();
    }
    dir
}

#[test]
fn tokens_and_ids_are_autotokenizers_wherever_they_are_kept() {
    let fixture: Places = serde_json::from_str(SPECIAL_TOKENS).unwrap();
    assert!(fixture.cases.len() > 40);
    for case in &fixture.cases {
        let name = &case.name;
        let dir = directory(case, &fixture.tokenizers);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.size(), case.rows - 2, "{name}");
        for (text, ids) in &case.texts {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
        }
        // Where transformers knows of no end, these do not have it by name: config.json's number, <|endoftext|>.
        let number = case.files["config.json"]["eos_token_id"].as_u64();
        let without = number.map_or(0, |id| id as u32);
        assert_eq!(
            tokenizer.end_of_text(),
            case.eos.or(Some(without)),
            "{name}"
        );
        assert_eq!(tokenizer.document_end(), tokenizer.end_of_text());
        // What a checkpoint keeps is the same tokenizer without the other files.
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.tokenizer_json()).unwrap();
        let read = Tokenizer::from_dir(copy.path()).unwrap();
        assert_eq!(read.fingerprint(), tokenizer.fingerprint(), "{name}");
        for (text, ids) in &case.texts {
            assert_eq!(&read.encode(text).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn a_tokenizer_that_is_complete_is_kept_as_it_is() {
    let fixture: Places = serde_json::from_str(SPECIAL_TOKENS).unwrap();
    for case in fixture
        .cases
        .iter()
        .filter(|case| case.name == "nothing else" || case.name == "class of GPT-2")
    {
        let dir = directory(case, &fixture.tokenizers);
        let bytes = std::fs::read(dir.path().join("tokenizer.json")).unwrap();
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.tokenizer_json()[..], bytes, "{}", case.name);
    }
}

#[test]
fn the_places_of_special_ids_have_an_order() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::copy(fixture("smollm-like"), dir.path().join("tokenizer.json")).unwrap();
    let ends = || {
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        (tokenizer.end_of_text(), tokenizer.stops().to_vec())
    };
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let id = |token: &str| tokenizer.encode(token).unwrap()[0];
    let (end, im_start, im_end) = (id("<|endoftext|>"), id("<|im_start|>"), id("<|im_end|>"));
    assert_eq!(ends(), (Some(end), vec![end]));
    put(
        "generation_config.json",
        "{\"eos_token_id\": [7, 8, 99999]}",
    );
    assert_eq!(ends(), (Some(7), vec![7, 8]));
    put("config.json", &format!("{{\"eos_token_id\": {im_start}}}"));
    assert_eq!(ends(), (Some(im_start), vec![7, 8]));
    put(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"GPT2TokenizerFast\"}",
    );
    assert_eq!(ends(), (Some(end), vec![7, 8]));
    put(
        "tokenizer_config.json",
        "{\"eos_token\": {\"content\": \"<|im_end|>\"}}",
    );
    assert_eq!(ends(), (Some(im_end), vec![7, 8]));
    put(
        "special_tokens_map.json",
        "{\"eos_token\": \"<|endoftext|>\"}",
    );
    assert_eq!(ends(), (Some(end), vec![7, 8]));
    // Generation ends where the model's files say; where they say nothing, with the tokenizer's token.
    put("generation_config.json", "{\"eos_token_id\": null}");
    assert_eq!(ends(), (Some(end), vec![im_start]));
    put("config.json", "{}");
    assert_eq!(ends(), (Some(end), vec![end]));

    let refused = |name: &str, text: &str, what: &str| {
        put(name, text);
        let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        std::fs::remove_file(dir.path().join(name)).unwrap();
    };
    refused(
        "special_tokens_map.json",
        "{",
        "special_tokens_map.json next to it is not JSON",
    );
    for name in [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
    ] {
        let wanted = format!("{name} next to it is not JSON: it begins with a byte order mark");
        refused(name, "\u{feff}{}", &wanted);
    }
    refused(
        "added_tokens.json",
        "{\"<x>\": \"1\"}",
        "added_tokens.json next to it: \"<x>\" has \"1\", not an id",
    );
    refused(
        "tokenizer_config.json",
        "{\"added_tokens_decoder\": {\"x\": {\"content\": \"<x>\"}}}",
        "added_tokens_decoder has \"x\"",
    );
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
    assert!(Tokenizer::gpt2().vocabulary_fits(49152).is_err());
    // smollm-like: 700 ids of the model's own and added ones.
    let smollm = Tokenizer::from_name(&fixture("smollm-like").display().to_string()).unwrap();
    let vocabulary = smollm.size() - 2;
    assert!(smollm.vocabulary_fits(vocabulary).is_ok() && smollm.fits(vocabulary).is_err());
    assert!(smollm.vocabulary_fits(vocabulary - 1).is_err());
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
    refused("", "not a tokenizer.json");
    refused("\u{feff}{}", "it begins with a byte order mark");
    refused("{\"model\": 5}", "not a tokenizer.json");
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
