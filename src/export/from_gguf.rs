//! Converts a GGUF file's vocabulary to the equivalent `tokenizer.json`.

use serde_json::{Value, json};

use crate::corpus::Tokenizer;
use crate::locate;
use crate::tensors::gguf::Metadata;

/// Returns the bytes of `tokenizer.json`, with a post-processor that puts `bos` before a text where the file asks for it.
///
/// # Errors
/// When the vocabulary is of an unknown kind; describes the problem.
pub fn tokenizer_json(metadata: &Metadata) -> Result<Vec<u8>, String> {
    let vocabulary = locate::vocabulary(metadata).map_err(|e| e.to_string())?;
    let tokenizer = Tokenizer::from_gguf(&vocabulary).map_err(|e| e.to_string())?;
    let bytes = tokenizer.tokenizer_json();
    let bos = vocabulary.bos.filter(|_| vocabulary.begins_with_bos());
    let Some(bos) = bos else {
        return Ok(bytes.to_vec());
    };
    let mut json: Value = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    json["post_processor"] = begin_with(bos, &vocabulary.tokens[bos as usize]);
    Ok(json.to_string().into_bytes())
}

/// A post-processor that puts one token before a text.
fn begin_with(id: u32, token: &str) -> Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, text("A", 0)],
        "pair": [special, text("A", 0), text("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}
    })
}
