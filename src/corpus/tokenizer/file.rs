//! A Hugging Face `tokenizer.json`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::bounded::{self, Bounded};
use super::bpe::{AddedToken, ByteBpe, Parts};
use super::split::{LLAMA3, Pattern, QWEN2, Split};
use super::watch::{Part, Watch};
use super::{END_OF_TEXT, MOST_IDS, PROBE, Tokenizer, Way, letters};
use crate::corpus::CorpusError;
use crate::file;
use crate::text;

/// A larger file is no tokenizer.
pub const LARGEST: u64 = 256 << 20;

/// A tokenizer's own file in a model's directory.
pub const TOKENIZER: &str = "tokenizer.json";
/// What may stand beside it, and is taken along with it.
pub const COMPANIONS: [&str; 9] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// Names that models without a word on it give the end of a text.
pub const WELL_KNOWN_ENDS: [&str; 5] = [
    END_OF_TEXT,
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|eot_id|>",
];

/// Reads a `tokenizer.json`; the files beside it say which token ends a text.
pub fn read(path: &Path) -> Result<Tokenizer, CorpusError> {
    let fail = |what: String| CorpusError::Tokenizer {
        name: path.display().to_string(),
        what,
    };
    let bytes = file::read_bytes(path, LARGEST).map_err(|source| CorpusError::Read {
        path: path.into(),
        source,
    })?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match dir.canonicalize().unwrap_or_default().file_name() {
        Some(dir) if stem == "tokenizer" => dir.to_string_lossy().into_owned(),
        _ => stem.into_owned(),
    };
    let tokenizer = build(&name, bytes).map_err(fail)?;
    let end = end_of_text(dir, &tokenizer).or(tokenizer.end_of_text());
    Ok(tokenizer
        .with_end_of_text(end)
        .with_source(&text::exact::to_text(path)))
}

/// Seconds that reading a file may take, in addition to those for its bytes.
const MOST_SECONDS: u64 = 60;

/// A tokenizer from the text of a `tokenizer.json`, with an end of text of a well-known name.
pub fn build(name: &str, bytes: Vec<u8>) -> Result<Tokenizer, String> {
    let shown = crate::text::clean(name).into_owned();
    let describe = move |_: &Part| format!("{shown} cannot be used: reading it takes too long");
    let watch = Watch::start([bytes.len()], MOST_SECONDS, describe);
    let watch = watch.map_err(|e| format!("it needs a thread: {e}"))?;
    watch.run(0, |_| build_here(name, bytes))
}

fn build_here(name: &str, bytes: Vec<u8>) -> Result<Tokenizer, String> {
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|e| format!("it is no tokenizer.json: {e}"))?;
    let model = &value["model"];
    if let Some(kind) = model["type"].as_str()
        && !matches!(kind, "BPE" | "Unigram")
    {
        return Err(format!(
            "its model is {kind:?}; BPE and Unigram are supported"
        ));
    }
    let (largest, count) = ids(&value);
    // A few numbers may be left out, but no table is made for ids that hardly any token has.
    if largest >= (MOST_IDS as u64).min(4 * count + 65_536) {
        return Err(format!(
            "it has a token with id {largest} among {count} tokens"
        ));
    }
    bounded::check(&value)?;
    let mut library = tokenizers::Tokenizer::from_bytes(&bytes)
        .map_err(|e| format!("it is no tokenizer.json: {e}"))?;
    library.with_padding(None);
    let untruncated = library.with_truncation(None).map(|_| ());
    untruncated.map_err(|e| e.to_string())?;
    let vocabulary = library.get_vocab(true);
    let Some(size) = vocabulary.values().max().map(|&id| id as usize + 1) else {
        return Err("its vocabulary is empty".into());
    };
    let unknown = match &model["unk_token"] {
        Value::String(unknown) => Some(unknown),
        _ => None,
    };
    if let Some(unknown) = unknown
        && model["vocab"].get(unknown).is_none()
    {
        return Err(format!(
            "its unknown token {unknown:?} is not in its vocabulary"
        ));
    }
    if model["type"] == "Unigram" && model["unk_id"].as_u64().is_none() {
        return Err("its Unigram model has no unk_id".into());
    }
    let end = WELL_KNOWN_ENDS
        .iter()
        .find_map(|name| vocabulary.get(*name).copied());
    let way = match own(&value, Bounded::new(library)?) {
        Ok(own) => Way::Own(Box::new(own)),
        Err(library) => Way::Library(library),
    };
    let tokenizer = Tokenizer::new(name, size, end, way);
    // A part that makes too much of every text is reported here, before a text is read.
    tokenizer.encode_here(PROBE, &bounded::Stage::default())?;
    Ok(tokenizer.with_json(bytes.into()))
}

/// The largest id that is written anywhere and the number of tokens, before anything is made of them.
fn ids(value: &Value) -> (u64, u64) {
    let added = value["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| token["id"].as_u64());
    let vocab = value["model"]["vocab"].as_object().into_iter().flatten();
    let vocab = vocab.filter_map(|(_, id)| id.as_u64());
    let all = added.chain(vocab);
    all.fold((0, 0), |(largest, n), id| (largest.max(id), n + 1))
}

/// The encoder of our own, when this is byte-level BPE with a splitting known here and nothing else in the way.
fn own(value: &Value, library: Bounded) -> Result<ByteBpe, Box<Bounded>> {
    let library = Box::new(library);
    let Some(mut parts) = parts(value) else {
        return Err(library);
    };
    if !value["normalizer"].is_null() {
        parts.normalizing = Some(library.clone());
    }
    ByteBpe::new(parts).ok_or(library)
}

fn parts(value: &Value) -> Option<Parts> {
    let model = &value["model"];
    let absent = |v: &Value| v.is_null() || *v == false || *v == "" || *v == 0.0;
    let off = [
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "byte_fallback",
    ];
    let normal = value["normalizer"].is_null() || value["normalizer"]["type"] == "NFC";
    let plain = value["decoder"]["type"] == "ByteLevel";
    if !normal || !plain || off.iter().any(|key| !absent(&model[*key])) {
        return None;
    }
    let split = split(&value["pre_tokenizer"])?;
    let vocab = model["vocab"].as_object()?;
    let id = |token: &str| vocab.get(token)?.as_u64().map(|id| id as u32);
    let mut tokens = HashMap::with_capacity(vocab.len());
    for token in vocab.keys() {
        let bytes = letters::bytes(token).unwrap_or_else(|| token.clone().into_bytes());
        tokens.insert(id(token)?, bytes);
    }
    let merge = |merge: &Value| {
        let (left, right) = match merge {
            Value::String(both) => both.split_once(' ')?,
            _ => (merge[0].as_str()?, merge[1].as_str()?),
        };
        Some((id(left)?, id(right)?, id(&format!("{left}{right}"))?))
    };
    let merges = model["merges"].as_array()?;
    Some(Parts {
        tokens,
        merges: merges.iter().map(merge).collect::<Option<_>>()?,
        added: added(&value["added_tokens"])?,
        split,
        passes_over: model["unk_token"].is_null(),
        whole_words: model["ignore_merges"] == true,
        normalizing: None,
    })
}

fn added(tokens: &Value) -> Option<Vec<AddedToken>> {
    let tokens = tokens.as_array().map_or(&[][..], Vec::as_slice);
    let one = |token: &Value| {
        let plain = ["lstrip", "rstrip", "single_word"]
            .iter()
            .all(|key| token[*key] != true);
        let content = token["content"].as_str()?;
        (plain && !content.is_empty()).then_some(())?;
        Some(AddedToken {
            content: content.into(),
            id: u32::try_from(token["id"].as_u64()?).ok()?,
            normalized: token["normalized"] == true,
        })
    };
    tokens.iter().map(one).collect()
}

/// The splitting that a pre-tokenizer means.
fn split(pre: &Value) -> Option<Split> {
    let steps = match pre["type"].as_str()? {
        "Sequence" => pre["pretokenizers"].as_array()?.iter().collect(),
        _ => vec![pre],
    };
    let (level, before) = steps.split_last()?;
    if level["type"] != "ByteLevel" || level["add_prefix_space"] == true {
        return None;
    }
    let by_words = level["use_regex"] != false;
    let digits = |step: &Value| step["type"] == "Digits" && step["individual_digits"] == true;
    match before {
        [] => Some(Split {
            digits_apart: false,
            pattern: if by_words {
                Pattern::Gpt2
            } else {
                Pattern::Whole
            },
        }),
        [first] if digits(first) && by_words => Some(Split {
            digits_apart: true,
            pattern: Pattern::Gpt2,
        }),
        [first] if first["type"] == "Split" && !by_words => {
            let whole = first["behavior"] == "Isolated" && first["invert"] != true;
            let most_digits = match first["pattern"]["Regex"].as_str()? {
                LLAMA3 => 3,
                QWEN2 => 1,
                _ => return None,
            };
            whole.then_some(Split {
                digits_apart: false,
                pattern: Pattern::Lines { most_digits },
            })
        }
        _ => None,
    }
}

/// What the files beside a `tokenizer.json` call the end of a text.
fn end_of_text(dir: &Path, tokenizer: &Tokenizer) -> Option<u32> {
    let json = |name: &str| -> Value {
        let path = dir.join(name);
        let text = file::read_text(&path, LARGEST).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let files = [
        &json("tokenizer_config.json"),
        &json("generation_config.json"),
        &json("config.json"),
    ];
    special_id("eos", files, |name| tokenizer.id(name), tokenizer.size())
}

/// The id of a special token (`bos`, `eos`, `unk`, `pad`): by its name in `tokenizer_config.json`, or by its number in
/// `generation_config.json` or `config.json`, which come in this order. Numbers from `size` on mean nothing.
pub fn special_id(
    what: &str,
    [words, generation, config]: [&Value; 3],
    id: impl Fn(&str) -> Option<u32>,
    size: usize,
) -> Option<u32> {
    let token = &words[format!("{what}_token")];
    let name = token.as_str().or_else(|| token["content"].as_str());
    let numbered = |json: &Value| {
        let id = &json[format!("{what}_token_id")];
        let id = u32::try_from(id.as_u64().or_else(|| id[0].as_u64())?).ok()?;
        ((id as usize) < size).then_some(id)
    };
    name.and_then(id)
        .or_else(|| numbered(generation))
        .or_else(|| numbered(config))
}

impl Tokenizer {
    fn with_json(self, json: Arc<[u8]>) -> Self {
        // Nobody has asked for it yet.
        let _ = self.0.json.set(json);
        self
    }

    fn with_source(self, file: &str) -> Self {
        // It has none yet.
        let _ = self.0.source.set(crate::text::clean(file).into_owned());
        self
    }

    /// Not shared yet, or left as it is.
    pub(super) fn with_end_of_text(mut self, id: Option<u32>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.end_of_text = id;
        }
        self
    }
}
