//! A Hugging Face `tokenizer.json`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::bounded::{self, Bounded};
use super::bpe::{AddedToken, ByteBpe, Parts};
use super::common::PROBE;
use super::split::{LLAMA3, Pattern, QWEN2, Split};
use super::watch::{Part, Watch};
use super::{Backend, MOST_IDS, Places, Tokenizer, letters};
use crate::corpus::CorpusError;
use crate::file;
use crate::text;

/// A larger file is not a tokenizer.
pub const LARGEST: u64 = 256 << 20;

/// The file of a tokenizer in a model's directory.
pub const TOKENIZER: &str = "tokenizer.json";
/// Files that may be next to it, and are copied with it.
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

/// Reads a `tokenizer.json`, with the tokens and special ids that the files next to it add.
pub fn read(path: &Path) -> Result<Tokenizer, CorpusError> {
    let fail = |what: String| CorpusError::Tokenizer {
        name: path.display().to_string(),
        what,
    };
    let read = |path: &Path| {
        file::read_bytes(path, LARGEST).map_err(|source| CorpusError::Read {
            path: path.into(),
            source,
        })
    };
    let bytes = read(path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match dir.canonicalize().unwrap_or_default().file_name() {
        Some(dir) if stem == "tokenizer" => dir.to_string_lossy().into_owned(),
        _ => stem.into_owned(),
    };
    let places = Places::read(|name| match read(&dir.join(name)) {
        // The file itself may have any name.
        _ if path.file_name() == Some(name.as_ref()) => Ok(None),
        Ok(bytes) => Ok(Some(bytes)),
        Err(CorpusError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    });
    let places = places.map_err(fail)?;
    let tokenizer = build(&name, bytes, places).map_err(fail)?;
    Ok(tokenizer.with_source(&text::exact::to_text(path)))
}

/// Seconds that reading a file may take, in addition to those for its bytes.
const MOST_SECONDS: u64 = 60;

/// A tokenizer from the text of a `tokenizer.json`, completed from `places`.
pub fn build(name: &str, bytes: Vec<u8>, places: Places) -> Result<Tokenizer, String> {
    let shown = crate::text::clean(name).into_owned();
    let describe = move |_: &Part| format!("{shown} cannot be used: reading it takes too long");
    let watch = Watch::start([bytes.len()], MOST_SECONDS, describe);
    let watch = watch.map_err(|e| format!("it needs a thread: {e}"))?;
    watch.run(0, |_| build_here(name, bytes, &places))
}

fn build_here(name: &str, mut bytes: Vec<u8>, places: &Places) -> Result<Tokenizer, String> {
    let parsed = text::check_mark(&bytes).and_then(|()| serde_json::from_slice(&bytes));
    let mut value: Value = parsed.map_err(|e| format!("it is not a tokenizer.json: {e}"))?;
    if let Some(kind) = value["model"]["type"].as_str()
        && !matches!(kind, "BPE" | "Unigram")
    {
        return Err(format!(
            "its model is {kind:?}; BPE and Unigram are supported"
        ));
    }
    let (largest, count) = ids(&value);
    // A few ids may be unused, but no table is made for ids most of which have no token.
    if largest >= (MOST_IDS as u64).min(4 * count + 65_536) {
        return Err(format!(
            "it has a token with id {largest} among {count} tokens"
        ));
    }
    let completed = places.complete(&mut value)?;
    if completed.changed {
        bytes = value.to_string().into_bytes();
    }
    let model = &value["model"];
    bounded::check(&value)?;
    let mut library = tokenizers::Tokenizer::from_bytes(&bytes)
        .map_err(|e| format!("it is not a tokenizer.json: {e}"))?;
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
    let way = match own(&value, Bounded::new(library)?) {
        Ok(own) => Backend::Own(Box::new(own)),
        Err(library) => Backend::Library(library),
    };
    let tokenizer =
        Tokenizer::new(name, size, completed.ids, way).with_vocabulary(completed.vocabulary);
    // A part that makes too much of every text is reported here, before a text is read.
    tokenizer.encode_here(PROBE, &bounded::Stage::default())?;
    Ok(tokenizer.with_json(bytes.into()))
}

/// Returns the largest id in the file and the number of tokens, before they are used.
fn ids(value: &Value) -> (u64, u64) {
    let added = value["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| token["id"].as_u64());
    let vocab = value["model"]["vocab"].as_object().into_iter().flatten();
    let vocab = vocab.filter_map(|(_, id)| id.as_u64());
    let all = added.chain(vocab);
    all.fold((0, 0), |(largest, n), id| (largest.max(id), n + 1))
}

/// Returns the native encoder, if this is byte-level BPE with a splitting known here and no unsupported settings.
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
    let split = read_split(&value["pre_tokenizer"])?;
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
        added: added(&value["added_tokens"], !value["normalizer"].is_null())?,
        split,
        passes_over: model["unk_token"].is_null(),
        whole_words: model["ignore_merges"] == true,
        normalizing: None,
    })
}

/// Returns the added tokens, if all can be searched for; with `nfc`, normalized ones are in the normal form of the
/// texts.
fn added(tokens: &Value, nfc: bool) -> Option<Vec<AddedToken>> {
    let tokens = tokens.as_array().map_or(&[][..], Vec::as_slice);
    let one = |token: &Value| {
        let plain = ["lstrip", "rstrip", "single_word"]
            .iter()
            .all(|key| token[*key] != true);
        let content = token["content"].as_str()?;
        (plain && !content.is_empty()).then_some(())?;
        let normalized = token["normalized"] == true;
        Some(AddedToken {
            content: match nfc && normalized {
                true => content.nfc().collect(),
                false => content.into(),
            },
            id: u32::try_from(token["id"].as_u64()?).ok()?,
            normalized,
        })
    };
    tokens.iter().map(one).collect()
}

/// Returns the splitting that a byte-level pre-tokenizer specifies; `None` for an unknown one.
pub fn read_split(pre: &Value) -> Option<Split> {
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

impl Tokenizer {
    fn with_vocabulary(mut self, vocabulary: usize) -> Self {
        // It is not shared yet.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.vocabulary = vocabulary;
        }
        self
    }

    fn with_json(self, json: Arc<[u8]>) -> Self {
        // The value has not been requested yet.
        let _ = self.0.json.set(json);
        self
    }

    fn with_source(self, file: &str) -> Self {
        // It has none yet.
        let _ = self.0.source.set(crate::text::clean(file).into_owned());
        self
    }
}
