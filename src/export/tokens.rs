//! The tokenizer that comes with a model: its files, and their contents.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{ExportError, from_gguf};
use crate::corpus::END_OF_TEXT;
use crate::corpus::tokenizer::{COMPANIONS, LARGEST, MOST_IDS, Places, SpecialIds, TOKENIZER};
use crate::file;
use crate::file::Dir;
use crate::model::{DecoderConfig, write_synced};
use crate::tensors::{Source, gguf};
use crate::text;

const CONFIG: &str = "tokenizer_config.json";

/// A tokenizer to export with a model.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Names and bytes of its files.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// `tokenizer.json`, completed with the tokens that the other files add.
    pub json: Option<Value>,
    /// A GGUF file's own keys, `tokenizer.*`.
    pub metadata: Vec<(String, gguf::Value)>,
    /// One more than the largest id; `None` when there is no tokenizer.
    pub ids: Option<usize>,
    pub special: Special,
    pub chat_template: Option<String>,
    /// The reason why `tokenizer.json` cannot be written, if something prevents it.
    pub why_none: Option<String>,
}

/// Ids with a meaning to the model.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Special {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub pad: Option<u32>,
    /// Whether the model expects `bos` before a text.
    pub add_bos: Option<bool>,
}

impl Tokens {
    /// The tokenizer files of a model's directory; `config` is its `config.json`.
    ///
    /// # Errors
    /// When `tokenizer.json` is there and cannot be read.
    pub fn of_directory(dir: &Path, config: &Value) -> Result<Self, ExportError> {
        let mut files = Vec::new();
        let names = std::iter::once(TOKENIZER).chain(COMPANIONS);
        for name in names {
            if let Some(bytes) = read(&dir.join(name))? {
                files.push((name, bytes));
            }
        }
        Self::of_files(files, config, dir)
    }

    /// As [`Self::of_directory`], for files that have been read; errors give `dir` as their place.
    ///
    /// # Errors
    /// As [`Self::of_directory`].
    pub fn of_files(
        files: Vec<(&'static str, Vec<u8>)>,
        config: &Value,
        dir: &Path,
    ) -> Result<Self, ExportError> {
        let fail = |what: String| ExportError::Tokenizer {
            path: dir.join(TOKENIZER),
            what,
        };
        let mut tokens = Self {
            files,
            ..Self::default()
        };
        let places = Places::read(|name| match name {
            "config.json" => Ok(Some(config.to_string().into_bytes())),
            _ => Ok(tokens.file(name).map(<[u8]>::to_vec)),
        });
        let places = places.map_err(fail)?;
        let ids = match tokens.file(TOKENIZER) {
            Some(bytes) => {
                let parsed = text::check_mark(bytes).and_then(|()| serde_json::from_slice(bytes));
                let mut json: Value =
                    parsed.map_err(|e| fail(format!("it is not a tokenizer.json: {e}")))?;
                size(&json).map_err(fail)?;
                let ids = places.complete(&mut json).map_err(fail)?.ids;
                tokens.ids = Some(size(&json).map_err(fail)?);
                tokens.json = Some(json);
                ids
            }
            // Without a tokenizer only the numbers are known.
            None => places.numbers(),
        };
        tokens.read_special(ids, places.words());
        Ok(tokens)
    }

    /// Returns the tokenizer in a GGUF file's metadata, also converted to the equivalent `tokenizer.json`.
    pub fn of_gguf(metadata: &gguf::Metadata) -> Self {
        let all = metadata.iter();
        let all = all.filter(|(key, _)| key.starts_with("tokenizer."));
        let id = |name: &str| metadata.u32(&format!("tokenizer.ggml.{name}")).ok();
        let template = metadata.str("tokenizer.chat_template").ok();
        let mut tokens = Self {
            ids: metadata.strs("tokenizer.ggml.tokens").ok().map(<[_]>::len),
            special: Special {
                bos: id("bos_token_id"),
                eos: id("eos_token_id"),
                unknown: id("unknown_token_id"),
                pad: id("padding_token_id"),
                add_bos: metadata.bool("tokenizer.ggml.add_bos_token").ok(),
            },
            chat_template: template.map(str::to_string),
            metadata: all.map(|(k, v)| (k.to_string(), v.clone())).collect(),
            ..Self::default()
        };
        match from_gguf::tokenizer_json(metadata) {
            Ok(bytes) => {
                tokens.json = serde_json::from_slice(&bytes).ok();
                tokens.files.push((TOKENIZER, bytes));
            }
            Err(why) => tokens.why_none = Some(why),
        }
        tokens
    }

    /// The tokenizer of a model: of its directory, of a GGUF file, or what lies next to a safetensors file.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn of_model(path: &Path) -> Result<Self, ExportError> {
        let directory = |dir: &Path| Self::of_directory(dir, &config_json(dir));
        if path.is_dir() {
            return directory(path);
        }
        match Source::open(path)?.gguf() {
            Some(metadata) => Ok(Self::of_gguf(metadata)),
            None => directory(path.parent().unwrap_or(Path::new("."))),
        }
    }

    /// Writes the tokenizer's files, and those that they lack for transformers' `AutoTokenizer`, flushed to the disk. Adds remarks about
    /// them to `changes`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(
        &self,
        config: &DecoderConfig,
        dir: &Dir,
        changes: &mut Vec<String>,
    ) -> Result<(), ExportError> {
        for (name, bytes) in &self.files {
            write_synced(dir, name, bytes)?;
        }
        if self.json.is_none() {
            let why = self.why_none.as_deref();
            let why = why.unwrap_or("the model came without a tokenizer.json");
            changes.push(format!("AutoTokenizer finds no tokenizer.json: {why}."));
        } else if self.file(CONFIG).is_none() {
            let made = format!("{:#}\n", self.config(config));
            write_synced(dir, CONFIG, made.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the `tokenizer_config.json` with which transformers takes `tokenizer.json` unchanged.
    fn config(&self, config: &DecoderConfig) -> Value {
        let mut json = Map::new();
        let mut put = |key: &str, value: Value| json.insert(key.into(), value);
        put("tokenizer_class", "PreTrainedTokenizerFast".into());
        put("model_max_length", config.context_length.into());
        put("clean_up_tokenization_spaces", false.into());
        let spelled: HashMap<u32, String> = self
            .json
            .iter()
            .flat_map(spellings)
            .map(|(token, id)| (id, token))
            .collect();
        for (key, id) in [
            ("bos_token", self.special.bos),
            ("eos_token", self.special.eos),
            ("unk_token", self.special.unknown),
            ("pad_token", self.special.pad),
        ] {
            if let Some(token) = id.and_then(|id| spelled.get(&id)) {
                put(key, token.clone().into());
            }
        }
        if let Some(template) = &self.chat_template {
            put("chat_template", template.clone().into());
        }
        Value::Object(json)
    }

    /// Takes over everything that comes with the tokenizer of the model that this one was made from, if it is the same tokenizer.
    pub fn complete_from(&mut self, other: Self) {
        let (Some(own), Some(others)) = (&self.json, &other.json) else {
            return;
        };
        if ["model", "added_tokens"]
            .iter()
            .all(|part| own[part] == others[part])
        {
            *self = other;
        }
    }

    /// The bytes of a file.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let found = self.files.iter().find(|(n, _)| *n == name);
        found.map(|(_, bytes)| bytes.as_slice())
    }

    /// Completes the special ids, and reads the template from `words` (`tokenizer_config.json`) or a file of its own.
    fn read_special(&mut self, ids: SpecialIds, words: &Value) {
        let json = |name: &str| -> Value {
            let bytes = self.file(name).unwrap_or_default();
            serde_json::from_slice(bytes).unwrap_or_default()
        };
        let by_name: HashMap<String, u32> = self
            .json
            .as_ref()
            .map(|json| spellings(json).into_iter().collect())
            .unwrap_or_default();
        // GPT-2 begins texts with the token that ends them.
        let end = by_name.get(END_OF_TEXT).copied();
        let bos = ids.bos.or(ids.eos.filter(|_| ids.eos == end));
        let unknown = ids.unknown.or_else(|| {
            let name = self.json.as_ref()?["model"]["unk_token"].as_str()?;
            by_name.get(name).copied()
        });
        let template = self.json.as_ref().map(|json| &json["post_processor"]);
        let add_bos = words["add_bos_token"]
            .as_bool()
            .or_else(|| Some(begins_with_special(template?)));
        let template = |json: &Value| json["chat_template"].as_str().map(str::to_string);
        let jinja = self.file("chat_template.jinja");
        let chat_template = jinja
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .or_else(|| template(words))
            .or_else(|| template(&json("chat_template.json")));
        self.special = Special {
            bos,
            eos: ids.eos,
            unknown,
            pad: ids.pad,
            add_bos,
        };
        self.chat_template = chat_template;
    }
}

/// Whether a post-processor puts a special token before a text.
fn begins_with_special(processor: &Value) -> bool {
    let within = processor["processors"].as_array().into_iter().flatten();
    processor["single"][0]["SpecialToken"].is_object()
        || within
            .into_iter()
            .any(|inner| inner["single"][0]["SpecialToken"].is_object())
}

/// Every token and its id: the model's, then the added ones.
pub fn spellings(json: &Value) -> Vec<(String, u32)> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let vocab = &json["model"]["vocab"];
    let map = vocab.as_object().into_iter().flatten();
    let map = map.filter_map(|(token, value)| Some((token.clone(), id(value)?)));
    let list = vocab.as_array().into_iter().flatten().zip(0..);
    let list = list.filter_map(|(piece, at)| Some((piece[0].as_str()?.to_string(), at)));
    let added = json["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|t| Some((t["content"].as_str()?.to_string(), id(&t["id"])?)));
    map.chain(list).chain(added).collect()
}

fn size(json: &Value) -> Result<usize, String> {
    let largest = spellings(json).iter().map(|(_, id)| u64::from(*id)).max();
    match largest {
        None => Err("its vocabulary is empty".into()),
        Some(id) if id >= MOST_IDS as u64 => Err(format!("it has a token with id {id}")),
        Some(id) => Ok(id as usize + 1),
    }
}

/// The bytes of a file that may be absent.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    match file::read_bytes(path, LARGEST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ExportError::Io {
            path: path.into(),
            source,
        }),
    }
}

/// Reads a model's `config.json`. Returns `Null` where it cannot be read, since opening the model reports that error.
pub fn config_json(dir: &Path) -> Value {
    let bytes = read(&dir.join("config.json")).ok().flatten();
    text::python_json(&bytes.unwrap_or_default()).unwrap_or_default()
}
