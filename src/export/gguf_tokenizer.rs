//! A tokenizer as GGUF's metadata: `tokenizer.ggml.*`, as llama.cpp reads them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value as Json;

use super::ExportError;
use super::tokens::{Tokens, spellings};
use crate::corpus::tokenizer::kinds::{BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use crate::corpus::tokenizer::{self, GgufVocabulary, Pattern};
use crate::locate;
use crate::model::family::gguf::Architecture;
use crate::tensors::gguf::{Array, Value};

/// The keys of a tokenizer for a model with `vocab` rows.
///
/// # Errors
/// When it has more ids than the model has rows, or is of a kind that llama.cpp does not have.
pub fn metadata(
    tokens: &Tokens,
    path: &Path,
    vocab: usize,
    architecture: Architecture,
    changes: &mut Vec<String>,
) -> Result<Vec<(String, Value)>, ExportError> {
    if let Some(ids) = tokens.ids.filter(|&ids| ids > vocab) {
        return Err(ExportError::Tokenizer {
            path: path.into(),
            what: format!(
                "its tokenizer has {ids} ids, its vocabulary {vocab} rows; GGUF readers need equal numbers"
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
    if !byte_level && !sentencepiece {
        return Err(refused(
            "its BPE works on characters, which llama.cpp does not have; use --format hf",
        ));
    }
    let (names, types) = vocabulary(json, vocab, !byte_level);
    let merges = merges(model);
    let special = &tokens.special;
    let mut written = GgufVocabulary {
        tokens: names,
        token_types: types,
        bos: special.bos.filter(|&id| (id as usize) < vocab),
        eos: special.eos.filter(|&id| (id as usize) < vocab),
        unknown: special.unknown.filter(|&id| (id as usize) < vocab),
        // llama.cpp adds it to sentencepiece's texts by default.
        add_bos: Some(special.add_bos.unwrap_or(false)),
        ..GgufVocabulary::default()
    };
    if byte_level {
        written.model = "gpt2".into();
        written.pre = splitting(json).map(String::from);
        written.merges = merges.iter().map(joined).collect();
    } else {
        written.model = "llama".into();
        written.pre = Some("default".into());
        written.scores = scores(&written.tokens, &merges);
        written.add_space_prefix = Some(prefixes_space(json));
    }
    if !says_all(&written, json, &merges) {
        written.hugging_face = Some(json.to_string());
        changes.push(match byte_level && written.pre.is_none() {
            true => "llama.cpp has no name for the way the tokenizer splits text, so it takes another: feed it tokens, not text. Heirloom reads the tokenizer.json, which is in the file.".into(),
            false => "llama.cpp's keys cannot describe this tokenizer completely: llama.cpp may tokenize texts \
             differently. Heirloom reads the tokenizer.json, which is in the file.".into(),
        });
    }
    let mut all = keys(written);
    if let Some(id) = special.pad.filter(|&id| (id as usize) < vocab) {
        all.push(key("padding_token_id", Value::U32(id)));
    }
    if architecture != Architecture::Gpt2 {
        all.push(key("add_eos_token", Value::Bool(false)));
    }
    if let Some(template) = &tokens.chat_template {
        let template = Value::Str(template.clone());
        all.push(("tokenizer.chat_template".into(), template));
    }
    Ok(all)
}

/// The keys of a vocabulary, as [`locate::vocabulary`] reads them.
fn keys(v: GgufVocabulary) -> Vec<(String, Value)> {
    let texts = |texts| Value::Array(Array::Str(texts));
    let mut all = vec![key("model", Value::Str(v.model))];
    all.extend(v.pre.map(|pre| key("pre", Value::Str(pre))));
    all.push(key("tokens", texts(v.tokens)));
    match v.add_space_prefix {
        Some(prefix) => {
            all.push(key("scores", Value::Array(Array::F32(v.scores))));
            all.push(key("add_space_prefix", Value::Bool(prefix)));
        }
        None => all.push(key("merges", texts(v.merges))),
    }
    all.push(key("token_type", Value::Array(Array::I32(v.token_types))));
    for (name, id) in [
        ("bos_token_id", v.bos),
        ("eos_token_id", v.eos),
        ("unknown_token_id", v.unknown),
    ] {
        all.extend(id.map(|id| key(name, Value::U32(id))));
    }
    all.extend(v.add_bos.map(|add| key("add_bos_token", Value::Bool(add))));
    all.extend(
        v.hugging_face
            .map(|json| (locate::HUGGING_FACE.into(), Value::Str(json))),
    );
    all
}

/// Returns whether the GGUF keys encode every text to the same token ids as the tokenizer in `json`.
fn says_all(v: &GgufVocabulary, json: &Json, merges: &[(String, String)]) -> bool {
    let Ok(made) = v.json() else { return false };
    let (model, made_model) = (&json["model"], &made["model"]);
    let on = |value: &Json| *value == true;
    let absent = |value: &Json| value.is_null() || *value == "" || *value == 0.0;
    let pre = &json["pre_tokenizer"];
    let whole_words = on(&model["ignore_merges"]);
    let (splits, joins) = match v.model == "gpt2" {
        true => {
            let same = tokenizer::read_split(pre) == tokenizer::read_split(&made["pre_tokenizer"]);
            // Without merges, the splitting has no effect on the ids.
            let shows = whole_words || !merges.is_empty();
            (
                same && v.pre.is_some() || !shows,
                !on(&model["byte_fallback"]),
            )
        }
        false => {
            let read = self::merges(made_model);
            let unknown = ["unk_token", "fuse_unk", "byte_fallback"];
            let same = unknown.iter().all(|key| model[*key] == made_model[*key]);
            (pre.is_null(), read == merges && same)
        }
    };
    let added = json["added_tokens"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let strips = |token: &Json| {
        ["lstrip", "rstrip", "single_word"]
            .iter()
            .any(|key| on(&token[*key]))
    };
    // Normalized tokens are looked for after the others, in the normalized text.
    let one_pass = |normalized| {
        added
            .iter()
            .all(|token| on(&token["normalized"]) == normalized)
    };
    let normal = &json["normalizer"];
    splits
        && joins
        && *normal == made["normalizer"]
        && whole_words == on(&made_model["ignore_merges"])
        && ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]
            .iter()
            .all(|key| absent(&model[*key]))
        && !added.iter().any(strips)
        && (one_pass(false) || normal.is_null() && one_pass(true))
}

/// `left right`; a space within them, which separates them here, as byte-level tokens spell it.
fn joined((left, right): &(String, String)) -> String {
    let spell = |part: &str| part.replace(' ', "Ġ");
    format!("{} {}", spell(left), spell(right))
}

fn key(name: &str, value: Value) -> (String, Value) {
    (format!("tokenizer.ggml.{name}"), value)
}

/// Spellings and kinds by id; ids that the tokenizer lacks are unused.
fn vocabulary(json: &Json, vocab: usize, sentencepiece: bool) -> (Vec<String>, Vec<i32>) {
    let spellings = spellings(json);
    let taken: HashSet<&str> = spellings.iter().map(|(token, _)| token.as_str()).collect();
    let names = (0..vocab).map(|id| tokenizer::filler(id, |name| taken.contains(name)));
    let mut names: Vec<String> = names.collect();
    let mut types = vec![UNUSED; vocab];
    for (token, id) in &spellings {
        let id = *id as usize;
        types[id] = match sentencepiece && is_byte(token) {
            true => BYTE,
            false => NORMAL,
        };
        names[id].clone_from(token);
    }
    let added = json["added_tokens"].as_array().into_iter().flatten();
    for token in added {
        // A token without a spelling is left out of the table, whatever its id.
        let id = token["id"].as_u64().map(|id| id as usize);
        let Some(kind) = id.and_then(|id| types.get_mut(id)) else {
            continue;
        };
        let unknown = sentencepiece && token["content"] == json["model"]["unk_token"];
        let looks_special = token["content"].as_str().is_some_and(looks_special);
        *kind = match token["special"] == true || looks_special {
            _ if unknown => UNKNOWN,
            true => CONTROL,
            false => USER_DEFINED,
        };
    }
    (names, types)
}

/// Whether llama.cpp's converter takes a token for a control token that its authors forgot to mark (its
/// `does_token_look_special`).
fn looks_special(token: &str) -> bool {
    let within = |start: &str, end: &str| token.starts_with(start) && token.ends_with(end);
    matches!(token, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || within("<|", "|>")
        || within("<｜", "｜>")
        || within("<unused", ">")
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

/// Sentencepiece's scores: the piece that is merged first has the highest. Pieces that are not the result of a merge, except single
/// characters, have the lowest, since readers join any pieces of the vocabulary.
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
    let split = tokenizer::read_split(&json["pre_tokenizer"])?;
    match (split.digits_apart, split.pattern) {
        (false, Pattern::Gpt2) => Some("gpt-2"),
        (true, Pattern::Gpt2) => Some("smollm"),
        (false, Pattern::Lines { most_digits: 3 }) => Some("llama-bpe"),
        (false, Pattern::Lines { most_digits: 1 }) => Some("qwen2"),
        // Without merges, the splitting has no effect on the ids.
        (false, Pattern::Whole) if merges(&json["model"]).is_empty() => Some("gpt-2"),
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
        let all = metadata(
            &tokens(json),
            Path::new("m"),
            5,
            Architecture::Llama,
            &mut changes,
        );
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

    /// Made by tests/fixtures/make_special_tokens_fixture.py.
    const SPECIAL_TOKENS: &str = include_str!("../../tests/fixtures/special_tokens.json");

    #[test]
    fn types_and_special_ids_are_those_of_llama_cpps_converter() {
        let fixture: Json = serde_json::from_str(SPECIAL_TOKENS).unwrap();
        let mut n = 0;
        for case in fixture["cases"].as_array().unwrap() {
            let (name, kind) = (
                case["name"].as_str().unwrap(),
                case["tokenizer"].as_str().unwrap(),
            );
            let dir = tempfile::tempdir().unwrap();
            let mut json = fixture["tokenizers"][kind].clone();
            let added = json["added_tokens"].as_array_mut().unwrap();
            added.extend(case["added"].as_array().unwrap().iter().cloned());
            std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
            for (file, json) in case["files"].as_object().unwrap() {
                std::fs::write(dir.path().join(file), json.to_string()).unwrap();
            }
            let tokens = Tokens::of_directory(dir.path(), &case["files"]["config.json"]).unwrap();
            let rows = case["rows"].as_u64().unwrap() as usize;
            let mut changes = Vec::new();
            let made = |rows, changes: &mut Vec<String>| {
                metadata(&tokens, dir.path(), rows, Architecture::Llama, changes)
            };
            let got = made(rows, &mut changes);
            if kind == "unigram" {
                assert!(got.unwrap_err().to_string().contains("use --format hf"));
                continue;
            }
            let got: HashMap<_, _> = got.unwrap().into_iter().collect();
            let (Value::Array(Array::Str(names)), Value::Array(Array::I32(types))) = (
                &got["tokenizer.ggml.tokens"],
                &got["tokenizer.ggml.token_type"],
            ) else {
                panic!("{name}: {got:?}")
            };
            let all = names.iter().zip(types).enumerate();
            let all: Json = all
                .filter(|(_, (_, kind))| **kind != NORMAL)
                .map(|(id, (name, kind))| json!([id, name, kind]))
                .collect();
            assert_eq!(all, case["gguf"]["tokens"], "{name}");
            let id = |key: &str| match got.get(&format!("tokenizer.ggml.{key}_token_id")) {
                Some(Value::U32(id)) => Json::from(*id),
                _ => Json::Null,
            };
            // Without a word on it, <|endoftext|> ends texts and begins them here.
            let or = |wanted: &Json, other: Json| {
                if wanted.is_null() {
                    other
                } else {
                    wanted.clone()
                }
            };
            let eos = or(&case["gguf"]["eos"], 0.into());
            let bos = or(
                &case["gguf"]["bos"],
                if eos == 0 { 0.into() } else { Json::Null },
            );
            assert_eq!(
                (id("eos"), id("bos"), id("padding")),
                (eos, bos, case["gguf"]["pad"].clone()),
                "{name}"
            );
            // As many rows as ids are enough, fewer are not.
            let ids = tokens.ids.unwrap();
            assert_eq!(ids, rows - 2, "{name}");
            assert!(made(ids, &mut changes).is_ok());
            let error = made(ids - 1, &mut changes).unwrap_err().to_string();
            assert!(
                error.contains(&format!("has {ids} ids, its vocabulary {} rows", ids - 1)),
                "{error}"
            );
            n += 1;
        }
        assert!(n > 40);
    }
}
