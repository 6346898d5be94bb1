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
        assert_eq!(tokenizer.encode(&text), ids, "{name}: {text:?}");
        assert_eq!(tokenizer.decode(&ids), decoded, "{name}: {text:?}");
        if exact {
            assert_eq!(decoded, text, "{name}");
        }
        let mut stream = tokenizer.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed += &stream.finish();
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
            assert_eq!(tokenizer.encode(text), want, "{tokenizer:?} of {text:?}");
            assert_eq!(tokenizer.decode(&want), text);
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
        let parts = tokenizer.encode("<|endoftext|>");
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
    let id = |token: &str| tokenizer.encode(token)[0];
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
    assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), text);
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
            parts.extend(tokenizer.encode(&rest[..at]));
            rest = &rest[at..];
            n += 1;
        }
        parts.extend(tokenizer.encode(rest));
        assert!(n > 500, "{n}");
        assert_eq!(parts, tokenizer.encode(&text), "{name}");
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
        assert_eq!(&from_gguf.encode(text), ids);
        assert_eq!(&from_file.encode(text), ids);
        assert_eq!(&from_gguf.decode(ids), text);
        n += ids.len();
    }
    assert!(n > 100_000);
}
