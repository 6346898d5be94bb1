//! A tokenizer as GGUF's metadata: `tokenizer.ggml.*`, as llama.cpp reads them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;

use super::ExportError;
use super::tokens::{Tokens, spellings};
use crate::corpus::tokenizer::kinds::{BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use crate::corpus::tokenizer::{LLAMA3, QWEN2};
use crate::tensors::gguf::{Array, Value};

/// The keys of a tokenizer for a model with `vocab` rows.
///
/// # Errors
/// When it has more ids than the model has rows, or is of a kind that llama.cpp does not have.
pub fn metadata(
    tokens: &Tokens,
    path: &Path,
    vocab: usize,
    architecture: &str,
    changes: &mut Vec<String>,
) -> Result<Vec<(String, Value)>, ExportError> {
    if let Some(ids) = tokens.ids.filter(|&ids| ids > vocab) {
        return Err(ExportError::Tokenizer {
            path: path.into(),
            what: format!(
                "its tokenizer has {ids} ids, its vocabulary {vocab} rows; GGUF readers need as many"
            ),
        });
    }
    if !tokens.metadata.is_empty() {
        return Ok(tokens.metadata.clone());
    }
    let Some(json) = &tokens.json else {
        changes.push("There is no tokenizer: the model came without a tokenizer.json.".into());
        return Ok(vec![key("model", Value::Str("none".into()))]);
    };
    let refused = |what: &str| ExportError::Tokenizer {
        path: path.join("tokenizer.json"),
        what: what.into(),
    };
    let model = &json["model"];
    // Older files do not name the type.
    let bpe = model["type"] == "BPE" || (model["type"].is_null() && model["merges"].is_array());
    if !bpe {
        return Err(refused(
            "llama.cpp has no tokenizer of its kind; byte-level and sentencepiece's BPE are written, use --format hf",
        ));
    }
    let byte_level =
        mentions(&json["pre_tokenizer"], "ByteLevel") || mentions(&json["decoder"], "ByteLevel");
    let sentencepiece = model["byte_fallback"] == true || mentions_underline(json);
    let mut all = Vec::new();
    match (byte_level, sentencepiece) {
        (true, _) => {
            all.push(key("model", Value::Str("gpt2".into())));
            match splitting(json) {
                Some(name) => all.push(key("pre", Value::Str(name.into()))),
                None => changes.push(
                    "llama.cpp has no name for the way the tokenizer splits text, so it takes another: feed it tokens, not text.".into(),
                ),
            }
        }
        (false, true) => {
            all.push(key("model", Value::Str("llama".into())));
            all.push(key("pre", Value::Str("default".into())));
        }
        (false, false) => {
            return Err(refused(
                "its BPE works on characters, which llama.cpp does not have; use --format hf",
            ));
        }
    }
    let (names, types) = vocabulary(json, vocab, !byte_level);
    let merges = merges(model);
    if !byte_level {
        let scores = scores(&names, &merges);
        all.push(key("scores", Value::Array(Array::F32(scores))));
        let prefix = prefixes_space(json);
        all.push(key("add_space_prefix", Value::Bool(prefix)));
    } else {
        let joined = merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        all.push(key("merges", Value::Array(Array::Str(joined))));
    }
    all.insert(
        2.min(all.len()),
        key("tokens", Value::Array(Array::Str(names))),
    );
    all.push(key("token_type", Value::Array(Array::I32(types))));
    let special = &tokens.special;
    for (name, id) in [
        ("bos_token_id", special.bos),
        ("eos_token_id", special.eos),
        ("unknown_token_id", special.unknown),
        ("padding_token_id", special.pad),
    ] {
        if let Some(id) = id.filter(|&id| (id as usize) < vocab) {
            all.push(key(name, Value::U32(id)));
        }
    }
    // llama.cpp adds it to sentencepiece's texts unless told otherwise.
    let add_bos = special.add_bos.unwrap_or(false);
    all.push(key("add_bos_token", Value::Bool(add_bos)));
    if architecture != "gpt2" {
        all.push(key("add_eos_token", Value::Bool(false)));
    }
    if let Some(template) = &tokens.chat_template {
        let template = Value::Str(template.clone());
        all.push(("tokenizer.chat_template".into(), template));
    }
    Ok(all)
}

fn key(name: &str, value: Value) -> (String, Value) {
    (format!("tokenizer.ggml.{name}"), value)
}

/// Spellings and kinds by id; ids that the tokenizer lacks are unused.
fn vocabulary(json: &Json, vocab: usize, sentencepiece: bool) -> (Vec<String>, Vec<i32>) {
    let mut names: Vec<String> = (0..vocab).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; vocab];
    for (token, id) in spellings(json) {
        let id = id as usize;
        types[id] = match sentencepiece && is_byte(&token) {
            true => BYTE,
            false => NORMAL,
        };
        names[id] = token;
    }
    let added = json["added_tokens"].as_array().into_iter().flatten();
    for token in added {
        // What has no spelling has no place in the table either, whatever its id.
        let id = token["id"].as_u64().map(|id| id as usize);
        let Some(kind) = id.and_then(|id| types.get_mut(id)) else {
            continue;
        };
        let unknown = sentencepiece && token["content"] == json["model"]["unk_token"];
        *kind = match token["special"] == true {
            _ if unknown => UNKNOWN,
            true => CONTROL,
            false => USER_DEFINED,
        };
    }
    (names, types)
}

/// `<0x0A>`.
fn is_byte(token: &str) -> bool {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok())
}

/// Pairs by rank, written as `"a b"` or `["a", "b"]`.
fn merges(model: &Json) -> Vec<(String, String)> {
    let pair = |merge: &Json| match merge {
        Json::String(joined) => {
            let (a, b) = joined.split_once(' ')?;
            Some((a.to_string(), b.to_string()))
        }
        _ => Some((merge[0].as_str()?.into(), merge[1].as_str()?.into())),
    };
    let all = model["merges"].as_array().into_iter().flatten();
    all.filter_map(pair).collect()
}

/// Sentencepiece's scores: the piece that is merged first has the highest; pieces that no merge makes, but for single
/// characters, the lowest, since readers join whatever is in the vocabulary.
fn scores(names: &[String], merges: &[(String, String)]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::with_capacity(merges.len());
    for (a, b) in merges {
        let next = ranks.len();
        ranks.entry(format!("{a}{b}")).or_insert(next);
    }
    let lowest = -(ranks.len() as f32) - 1.0;
    let score = |name: &String| match ranks.get(name) {
        Some(&rank) => -(rank as f32),
        None if name.chars().nth(1).is_none() => 0.0,
        None => lowest,
    };
    names.iter().map(score).collect()
}

/// Whether a component, or one within it, is of this type.
fn mentions(component: &Json, kind: &str) -> bool {
    let within = ["pretokenizers", "decoders", "normalizers"];
    component["type"] == kind
        || within
            .iter()
            .filter_map(|key| component[*key].as_array())
            .flatten()
            .any(|inner| mentions(inner, kind))
}

fn mentions_underline(json: &Json) -> bool {
    let metaspace = |key: &str| mentions(&json[key], "Metaspace");
    metaspace("pre_tokenizer") || metaspace("decoder")
}

/// Whether a space is put before a text.
fn prefixes_space(json: &Json) -> bool {
    let pre = &json["pre_tokenizer"];
    let metaspace = pre["type"] == "Metaspace"
        && pre["prepend_scheme"] != "never"
        && pre["add_prefix_space"] != false;
    metaspace || mentions(&json["normalizer"], "Prepend")
}

/// llama.cpp's name for the way a byte-level tokenizer splits text before it merges.
fn splitting(json: &Json) -> Option<&'static str> {
    let pre = &json["pre_tokenizer"];
    let parts = match pre["type"] == "Sequence" {
        true => pre["pretokenizers"].as_array()?.iter().collect(),
        false => vec![pre],
    };
    let by_words = |level: &Json| {
        level["type"] == "ByteLevel"
            && level["use_regex"] != false
            && level["add_prefix_space"] != true
    };
    let plain = |level: &Json| level["type"] == "ByteLevel" && level["use_regex"] == false;
    match parts[..] {
        [level] if by_words(level) => Some("gpt-2"),
        // Without merges no splitting shows.
        [level] if plain(level) && merges(&json["model"]).is_empty() => Some("gpt-2"),
        [digits, level]
            if digits["type"] == "Digits"
                && digits["individual_digits"] == true
                && by_words(level) =>
        {
            Some("smollm")
        }
        [split, level] if split["type"] == "Split" && plain(level) => {
            match split["pattern"]["Regex"].as_str()? {
                LLAMA3 => Some("llama-bpe"),
                QWEN2 => Some("qwen2"),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokens(json: Json) -> Tokens {
        Tokens {
            ids: Some(4),
            json: Some(json),
            ..Tokens::default()
        }
    }

    fn made(json: Json) -> Result<HashMap<String, Value>, String> {
        let mut changes = Vec::new();
        let all = metadata(&tokens(json), Path::new("m"), 5, "llama", &mut changes);
        all.map(|all| all.into_iter().collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn byte_level_tokens_keep_ids_kinds_and_merges() {
        let level = json!({"type": "ByteLevel", "use_regex": true, "add_prefix_space": false});
        let got = made(json!({
            "added_tokens": [{"id": 3, "content": "<|end|>", "special": true}],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, level]},
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
        }))
        .unwrap();
        let texts = |texts: &[&str]| {
            Value::Array(Array::Str(texts.iter().map(|t| t.to_string()).collect()))
        };
        assert_eq!(got["tokenizer.ggml.model"], Value::Str("gpt2".into()));
        assert_eq!(got["tokenizer.ggml.pre"], Value::Str("smollm".into()));
        assert_eq!(
            got["tokenizer.ggml.tokens"],
            texts(&["a", "b", "ab", "<|end|>", "[PAD4]"])
        );
        assert_eq!(got["tokenizer.ggml.merges"], texts(&["a b"]));
        let types = Value::Array(Array::I32(vec![NORMAL, NORMAL, NORMAL, CONTROL, UNUSED]));
        assert_eq!(got["tokenizer.ggml.token_type"], types);
    }

    #[test]
    fn sentencepieces_merges_become_scores() {
        let got = made(json!({
            "added_tokens": [{"id": 0, "content": "<unk>", "special": true}],
            "normalizer": {"type": "Prepend", "prepend": "▁"},
            "model": {
                "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
                "vocab": {"<unk>": 0, "<0x0A>": 1, "a": 2, "aa": 3}, "merges": ["a a"]
            },
        }))
        .unwrap();
        assert_eq!(got["tokenizer.ggml.model"], Value::Str("llama".into()));
        assert_eq!(got["tokenizer.ggml.add_space_prefix"], Value::Bool(true));
        let types = Value::Array(Array::I32(vec![UNKNOWN, BYTE, NORMAL, NORMAL, UNUSED]));
        assert_eq!(got["tokenizer.ggml.token_type"], types);
        let merges: Vec<_> = [("a", "a"), ("b", "c"), ("aa", "a"), ("a", "aa")]
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .into();
        let names = ["a", "aa", "bc", "aaa", "xyz"].map(String::from);
        assert_eq!(scores(&names, &merges), [0.0, 0.0, -1.0, -2.0, -4.0]);
    }

    #[test]
    fn added_tokens_without_a_spelling_are_passed_over_whatever_their_ids() {
        let got = made(json!({
            "added_tokens": [{"id": 999_999_999, "special": true}, {"id": u64::MAX, "content": "x"}],
            "pre_tokenizer": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        }))
        .unwrap();
        let types = Value::Array(Array::I32(vec![NORMAL, UNUSED, UNUSED, UNUSED, UNUSED]));
        assert_eq!(got["tokenizer.ggml.token_type"], types);
    }

    #[test]
    fn kinds_that_llama_cpp_lacks_are_refused() {
        let unigram = json!({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}});
        assert!(made(unigram).unwrap_err().contains("use --format hf"));
        let level = json!({"type": "ByteLevel"});
        let unnamed = json!({"pre_tokenizer": level, "model": {"vocab": {"a": 0}, "merges": []}});
        assert!(made(unnamed).is_ok());
        let letters = json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}});
        assert!(made(letters).unwrap_err().contains("works on characters"));
    }
}
