//! Byte-level tokenizers as a `tokenizer.json`.

use serde_json::{Value, json};

use super::common::END_OF_TEXT;
use super::letters;

/// Byte-level BPE without merges.
pub(super) fn byte_json() -> Value {
    let vocab: serde_json::Map<String, Value> = (0..=255u8)
        .map(|b| (letters::spell(&[b]), u32::from(b).into()))
        .collect();
    level_json(Value::Object(vocab), Vec::new(), 256, false)
}

/// A byte-level `tokenizer.json` with one added token.
pub(super) fn level_json(
    vocab: Value,
    merges: Vec<Value>,
    end_of_text: u32,
    by_words: bool,
) -> Value {
    let level = |trim: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim, "use_regex": by_words});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": end_of_text, "content": END_OF_TEXT, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": level(true),
        "post_processor": level(false),
        "decoder": level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
            "vocab": vocab, "merges": merges
        }
    })
}
