mod bounds;
mod gguf;
mod places;

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

/// SmolLM2's own vocabulary on books; scripts/smollm2_tokenizer.py describes how to run it.
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
