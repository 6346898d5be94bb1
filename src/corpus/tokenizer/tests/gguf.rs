//! Vocabularies of GGUF files.

use super::*;

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
    let file = include_str!("../../../../tests/fixtures/gguf_splitting.json");
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
