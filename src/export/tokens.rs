//! The tokenizer that a model brings along, as files and as what they say.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{ExportError, from_gguf};
use crate::run::file;
use crate::tensors::{Source, gguf};

/// Files beside `tokenizer.json` that Hugging Face's tokenizers read.
const COMPANIONS: [&str; 9] = [
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
const TOKENIZER: &str = "tokenizer.json";
/// A larger one is no tokenizer.
const LARGEST: u64 = 256 << 20;
/// No vocabulary has ids from here on.
const MOST_IDS: u64 = 1 << 24;

/// Names that models without a word on it give the end of a text.
const ENDS: [&str; 5] = [
    "<|endoftext|>",
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|eot_id|>",
];

/// A tokenizer to take along.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Names and bytes of its files.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// `tokenizer.json`, read.
    pub json: Option<Value>,
    /// A GGUF file's own keys, `tokenizer.*`.
    pub metadata: Vec<(String, gguf::Value)>,
    /// One more than the largest id; `None` when there is no tokenizer.
    pub ids: Option<usize>,
    pub special: Special,
    pub chat_template: Option<String>,
    /// Why there is no `tokenizer.json`, where something stands in its way.
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
    /// The tokenizer files of a model's directory.
    ///
    /// # Errors
    /// When `tokenizer.json` is there and cannot be read.
    pub fn of_directory(dir: &Path) -> Result<Self, ExportError> {
        let mut files = Vec::new();
        let names = std::iter::once(TOKENIZER).chain(COMPANIONS);
        for name in names {
            if let Some(bytes) = read(&dir.join(name))? {
                files.push((name, bytes));
            }
        }
        let fail = |what: String| ExportError::Tokenizer {
            path: dir.join(TOKENIZER),
            what,
        };
        let mut tokens = Self {
            files,
            ..Self::default()
        };
        if let Some(bytes) = tokens.file(TOKENIZER) {
            let json: Value = serde_json::from_slice(bytes)
                .map_err(|e| fail(format!("it is no tokenizer.json: {e}")))?;
            tokens.ids = Some(size(&json).map_err(fail)?);
            tokens.json = Some(json);
        }
        let config = read(&dir.join("config.json"))?.unwrap_or_default();
        let config = serde_json::from_slice(&config).unwrap_or_default();
        tokens.read_special(&config);
        Ok(tokens)
    }

    /// The tokenizer in a GGUF file's metadata, and as the `tokenizer.json` that it stands for.
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

    /// The tokenizer of a model's directory or GGUF file; `None` where nothing is to be had.
    pub fn of_model(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Self::of_directory(path).ok();
        }
        let source = Source::open(path).ok()?;
        source.gguf().map(Self::of_gguf)
    }

    /// Takes over all that comes with the tokenizer of the model that this one was made from, if it is the same.
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

    /// A token's spelling.
    pub fn spelling(&self, id: u32) -> Option<String> {
        let all = self.json.as_ref().map(spellings)?;
        all.into_iter().find(|(_, i)| *i == id).map(|(s, _)| s)
    }

    /// Ids and template from the model's config and the files beside the tokenizer, or from well-known names.
    fn read_special(&mut self, config: &Value) {
        let json = |name: &str| -> Value {
            let bytes = self.file(name).unwrap_or_default();
            serde_json::from_slice(bytes).unwrap_or_default()
        };
        let generation = json("generation_config.json");
        let words = json("tokenizer_config.json");
        let by_name: HashMap<String, u32> = self
            .json
            .as_ref()
            .map(|json| spellings(json).into_iter().collect())
            .unwrap_or_default();
        let named = |what: &str| -> Option<u32> {
            let token = &words[format!("{what}_token")];
            let name = token.as_str().or_else(|| token["content"].as_str())?;
            by_name.get(name).copied()
        };
        let numbered = |json: &Value, what: &str| -> Option<u32> {
            let id = &json[format!("{what}_token_id")];
            let id = id.as_u64().or_else(|| id[0].as_u64())?;
            u32::try_from(id).ok()
        };
        let id = |what: &str| {
            named(what)
                .or_else(|| numbered(config, what))
                .or_else(|| numbered(&generation, what))
        };
        let end = ENDS.iter().find_map(|name| by_name.get(*name).copied());
        let eos = id("eos").or(end);
        // GPT-2 begins texts with the token that ends them.
        let begins_with_end = end.is_some() && end == by_name.get(ENDS[0]).copied();
        let bos = id("bos").or(eos.filter(|_| begins_with_end));
        let unknown = id("unk").or_else(|| {
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
            .or_else(|| template(&words))
            .or_else(|| template(&json("chat_template.json")));
        let pad = id("pad");
        self.special = Special {
            bos,
            eos,
            unknown,
            pad,
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
        Some(id) if id >= MOST_IDS => Err(format!("it has a token with id {id}")),
        Some(id) => Ok(id as usize + 1),
    }
}

/// The bytes of a file that may be absent.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    let io = |source| ExportError::Io {
        path: path.into(),
        source,
    };
    let opened = match file::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let mut bytes = Vec::new();
    opened
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(ExportError::Tokenizer {
            path: path.into(),
            what: format!("it is larger than {} MB", LARGEST >> 20),
        }),
        false => Ok(Some(bytes)),
    }
}
