//! Where Hugging Face directories keep a tokenizer's tokens and special ids, and which place counts.
//!
//! The rules are those of transformers' `AutoTokenizer` (5.24); `tests/fixtures/make_special_tokens_fixture.py` records what
//! it reads. In short:
//!
//! - Added tokens: those of `tokenizer.json`, then `added_tokens_decoder` in `tokenizer_config.json` by ascending number,
//!   then special tokens that are only named. Without `added_tokens_decoder`, `added_tokens.json` takes its place, and
//!   `special_tokens_map.json` overrides the names in `tokenizer_config.json`; with it neither file is read.
//! - Flags of a token that stands in several places are those of the last one.
//! - Numbers in these files only order the tokens. A token that the model's vocabulary lacks gets the next id after those of
//!   the file before: one more than the largest of an added token, or the number of tokens in the vocabulary if that is more.
//! - A special id: the token's name in `special_tokens_map.json` or `tokenizer_config.json`, the name that the tokenizer's
//!   class brings along, the number in `config.json`, the number in `generation_config.json`, a well-known name (the end of
//!   a text only).

mod numbering;

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::END_OF_TEXT;
use crate::text;
use numbering::{Token, Tokens, Vocabulary};

/// Names of the end of a text that are tried for models whose files do not name one.
const WELL_KNOWN_ENDS: [&str; 5] = [
    END_OF_TEXT,
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|eot_id|>",
];

/// Keys of special tokens, in the order in which new ones get their ids.
const SPECIAL: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

const CONFIG: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const GENERATION: &str = "generation_config.json";
const MODEL: &str = "config.json";

/// The files next to a `tokenizer.json` that concern tokens, parsed; `Null` for a missing one.
#[derive(Debug, Default)]
pub struct Places {
    /// `tokenizer_config.json`
    words: Value,
    /// `special_tokens_map.json`
    map: Value,
    /// `added_tokens.json`
    added: Value,
    /// `generation_config.json`
    generation: Value,
    /// `config.json`
    model: Value,
}

/// Ids with a meaning.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SpecialIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub pad: Option<u32>,
    /// The ids that end generated text: those of `generation_config.json`, else of `config.json`, else `eos`.
    pub stops: Vec<u32>,
}

impl SpecialIds {
    /// The ids of a tokenizer whose only special token ends texts.
    pub fn of_end(id: u32) -> Self {
        Self {
            eos: Some(id),
            stops: vec![id],
            ..Self::default()
        }
    }
}

/// The result of completing a `tokenizer.json`.
#[derive(Debug)]
pub struct Completed {
    pub ids: SpecialIds,
    /// Whether something was missing from the file.
    pub changed: bool,
    /// One more than the largest id of the model's own vocabulary.
    pub vocabulary: usize,
}

/// The special tokens that the files name.
#[derive(Default)]
struct Names {
    /// The tokens by key: [`SPECIAL`] first, then the model's own keys.
    keyed: Vec<(String, Token)>,
    /// Keys that are there without a token, `null`.
    without: HashSet<String>,
    /// The contents that make a token of `added_tokens.json` a special one.
    special: HashSet<String>,
    /// The tokens without a key.
    more: Vec<Token>,
}

impl Names {
    fn get(&self, key: &str) -> Option<&Token> {
        let found = self.keyed.iter().find(|(name, _)| name == key);
        found.map(|(_, token)| token)
    }

    /// Records a key's token; `of_map` is true for `special_tokens_map.json`, whose tokens are all special.
    fn put(&mut self, key: &str, value: &Value, of_map: bool) {
        match Token::from_json(value) {
            Some(mut token) => {
                token.special |= of_map;
                token.normalized &= !(of_map && value["normalized"].is_null());
                if self.get(key).is_none() {
                    self.keyed.push((key.into(), token));
                }
            }
            None if value.is_null() => {
                self.without.insert(key.into());
            }
            // A switch such as add_bos_token.
            None => {}
        }
    }
}

impl Places {
    /// Reads the files that `bytes` has, by name.
    ///
    /// # Errors
    /// Names the file that is not JSON.
    pub fn read(
        mut bytes: impl FnMut(&'static str) -> Result<Option<Vec<u8>>, String>,
    ) -> Result<Self, String> {
        let mut parse = |name: &'static str| -> Result<Value, String> {
            let Some(bytes) = bytes(name)? else {
                return Ok(Value::Null);
            };
            match text::python_json(&bytes) {
                Ok(value) => Ok(value),
                // Opening the model reports errors in it.
                Err(_) if name == MODEL => Ok(Value::Null),
                Err(e) => Err(format!("{name} next to it is not JSON: {e}")),
            }
        };
        Ok(Self {
            words: parse(CONFIG)?,
            map: parse(MAP)?,
            added: parse(ADDED)?,
            generation: parse(GENERATION)?,
            model: parse(MODEL)?,
        })
    }

    /// `tokenizer_config.json`
    pub fn words(&self) -> &Value {
        &self.words
    }

    /// Completes the `added_tokens` of a `tokenizer.json` with those of the other files, and gives each the id that it
    /// has in transformers. A complete file is left unchanged.
    ///
    /// # Errors
    /// When the other files have something that is not a token, or there are too many tokens.
    pub fn complete(&self, json: &mut Value) -> Result<Completed, String> {
        let vocabulary = Vocabulary::of(json);
        let mut tokens = Tokens::of(json, &vocabulary)?;
        let names = self.names();
        let listed = self.listed(&tokens, &names)?;
        tokens.add(listed)?;
        let ids = self.special_ids(
            &names,
            |content| tokens.id(content),
            tokens.size(),
            json["model"]["byte_fallback"] == true,
        );
        let same = |(have, (token, id)): (&Value, &(Token, u32))| {
            have["id"] == *id && Token::from_json(have).as_ref() == Some(token)
        };
        let have = json["added_tokens"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let is_complete = have.len() == tokens.all.len() && have.iter().zip(&tokens.all).all(same);
        let size = vocabulary.size();
        let added = (!is_complete).then(|| tokens.to_json());
        let changed = added.is_some();
        let pinned = match &added {
            Some(added) => tokens.pinned(added)?,
            None => Vec::new(),
        };
        if let (Some(added), Some(file)) = (added, json.as_object_mut()) {
            file.insert("added_tokens".into(), added);
        }
        if let Some(Value::Object(vocab)) = json.pointer_mut("/model/vocab") {
            vocab.extend(pinned);
        }
        Ok(Completed {
            ids,
            changed,
            vocabulary: size,
        })
    }

    /// The special ids of a model without a `tokenizer.json`: the numbers alone.
    pub fn numbers(&self) -> SpecialIds {
        self.special_ids(&Names::default(), |_| None, usize::MAX, false)
    }

    fn has_decoder(&self) -> bool {
        self.words.get("added_tokens_decoder").is_some()
    }

    fn names(&self) -> Names {
        let empty = Map::new();
        let words = self.words.as_object().unwrap_or(&empty);
        let map = match self.has_decoder() {
            true => &empty,
            false => self.map.as_object().unwrap_or(&empty),
        };
        let mut names = Names::default();
        for key in SPECIAL {
            let (value, of_map) = match (map.get(key), words.get(key)) {
                (Some(value), _) => (value, true),
                (None, Some(value)) => (value, false),
                (None, None) => continue,
            };
            names.put(key, value, of_map);
            // An object in tokenizer_config.json is not looked into when added_tokens.json is read.
            let token = Token::from_json(value).filter(|_| of_map || value.is_string());
            names.special.extend(token.map(|token| token.content));
        }
        // Those of the model's own: objects of tokenizer_config.json, the map's, texts of tokenizer_config.json.
        let own = |key: &&String| key.ends_with("_token") && !SPECIAL.contains(&key.as_str());
        let (texts, objects): (Vec<&String>, Vec<&String>) = words
            .keys()
            .filter(own)
            .partition(|key| words[*key].is_string());
        let of_map = map.keys().filter(own);
        for key in objects.into_iter().chain(of_map).chain(texts) {
            if let Some(value) = map.get(key).or_else(|| words.get(key)) {
                names.put(key, value, map.contains_key(key));
            }
        }
        for file in [words, map] {
            let table = file.get("extra_special_tokens").and_then(Value::as_object);
            for (key, value) in table.into_iter().flatten() {
                names.put(key, value, true);
            }
        }
        let (more, is_early) = more_special(words, map);
        names.more = more.into_iter().filter_map(Token::from_json).collect();
        let early = names.more.iter().filter(|_| is_early);
        let early = early.map(|token| token.content.clone());
        names.special.extend(early);
        names
    }

    /// The tokens that the files add to those of `tokenizer.json`, in the order in which they are added.
    fn listed(&self, own: &Tokens<'_>, names: &Names) -> Result<Vec<Token>, String> {
        let mut by_number: BTreeMap<u64, Token> = BTreeMap::new();
        let wrong = |file: &str, what: &str| format!("{file} next to it: {what}");
        if let Some(decoder) = self.words.get("added_tokens_decoder") {
            for (number, token) in decoder.as_object().into_iter().flatten() {
                let (Ok(number), Some(token)) = (number.parse(), Token::from_json(token)) else {
                    return Err(wrong(
                        CONFIG,
                        &format!(
                            "added_tokens_decoder has {number:?}: {token}, not a token by its id"
                        ),
                    ));
                };
                by_number.insert(number, token);
            }
        } else {
            for (content, number) in self.added.as_object().into_iter().flatten() {
                let Some(number) = number.as_u64() else {
                    return Err(wrong(
                        ADDED,
                        &format!("{content:?} has {number}, not an id"),
                    ));
                };
                let special = names.special.contains(content);
                let token = Token {
                    normalized: !special,
                    special,
                    ..Token::special(content)
                };
                by_number.insert(number, token);
            }
            for (number, token) in &own.stated {
                by_number.insert(*number, token.clone());
            }
        }
        let mut listed: Vec<Token> = by_number.into_values().collect();
        let mut known: HashSet<&str> = own.by_content.keys().map(String::as_str).collect();
        known.extend(listed.iter().map(|token| token.content.as_str()));
        // Of a token that is named twice, the last flags count.
        let named = names.keyed.iter().map(|(_, token)| token);
        let named = named.chain(&names.more);
        let named = named.filter(|token| !known.contains(token.content.as_str()));
        let named: Vec<Token> = named.cloned().collect();
        listed.extend(named);
        let keyed: HashSet<&str> = names
            .keyed
            .iter()
            .map(|(_, t)| t.content.as_str())
            .collect();
        for token in &mut listed {
            token.special |= keyed.contains(token.content.as_str());
        }
        Ok(listed)
    }

    /// The ids of special tokens; `size` ids are there.
    fn special_ids(
        &self,
        names: &Names,
        id: impl Fn(&str) -> Option<u32>,
        size: usize,
        byte_fallback: bool,
    ) -> SpecialIds {
        let numbered = |file: &Value, what: &str| -> Vec<u32> {
            let value = &file[format!("{what}_token_id")];
            let several = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            let ids = several
                .iter()
                .filter_map(|id| u32::try_from(id.as_u64()?).ok());
            ids.filter(|&id| (id as usize) < size).collect()
        };
        let defaults = self.class_names(byte_fallback);
        let find = |what: &str| {
            let key = format!("{what}_token");
            let default = defaults.iter().find(|(key, _)| *key == what);
            let default = default.filter(|_| !names.without.contains(&key));
            names
                .get(&key)
                .and_then(|token| id(&token.content))
                .or_else(|| id(default?.1))
                .or_else(|| numbered(&self.model, what).first().copied())
                .or_else(|| numbered(&self.generation, what).first().copied())
        };
        let well_known = || WELL_KNOWN_ENDS.iter().find_map(|name| id(name));
        let eos = find("eos").or_else(well_known);
        let stops = [&self.generation, &self.model].map(|file| numbered(file, "eos"));
        let stops = stops.into_iter().find(|ids| !ids.is_empty());
        SpecialIds {
            bos: find("bos"),
            eos,
            unknown: find("unk"),
            pad: find("pad"),
            stops: stops.unwrap_or_else(|| eos.into_iter().collect()),
        }
    }

    /// The names that the tokenizer's class gives special tokens where no file names them.
    fn class_names(&self, byte_fallback: bool) -> &'static [(&'static str, &'static str)] {
        let classes = [&self.words, &self.model].map(|file| file["tokenizer_class"].as_str());
        let class = classes.into_iter().flatten().next();
        let class = class.or_else(|| match self.model["model_type"].as_str()? {
            "gpt2" => Some("GPT2Tokenizer"),
            "qwen2" => Some("Qwen2Tokenizer"),
            "olmo" => Some("GPTNeoXTokenizer"),
            _ => None,
        });
        match class.map(|class| class.trim_end_matches("Fast")) {
            Some("GPT2Tokenizer") => &[("bos", END_OF_TEXT), ("eos", END_OF_TEXT)],
            Some("GPTNeoXTokenizer") => &[
                ("bos", END_OF_TEXT),
                ("eos", END_OF_TEXT),
                ("pad", "<|padding|>"),
            ],
            Some("Qwen2Tokenizer") => &[("eos", END_OF_TEXT), ("pad", END_OF_TEXT)],
            // A byte-level file of this class is read without it.
            Some("LlamaTokenizer") if byte_fallback => {
                &[("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>")]
            }
            _ => &[],
        }
    }
}

/// The list of special tokens without a key: `extra_special_tokens`, or `additional_special_tokens` as older files call it;
/// and whether it is known when `added_tokens.json` is read.
fn more_special<'v>(
    words: &'v Map<String, Value>,
    map: &'v Map<String, Value>,
) -> (Vec<&'v Value>, bool) {
    const EXTRA: &str = "extra_special_tokens";
    const ADDITIONAL: &str = "additional_special_tokens";
    let list = |file: &'v Map<String, Value>, key| file.get(key).and_then(Value::as_array);
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        other => other.is_null(),
    };
    let older = list(words, ADDITIONAL).filter(|_| words.get(EXTRA).is_none_or(is_empty));
    let own = older.or_else(|| list(words, EXTRA));
    let of_map = list(map, EXTRA);
    if own.is_none() && of_map.is_none() {
        let late = list(map, ADDITIONAL).or_else(|| list(words, ADDITIONAL));
        return (late.into_iter().flatten().collect(), false);
    }
    let all = [own, of_map].into_iter().flatten().flatten();
    (all.collect(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_python_writes_costs_no_ids() {
        let json = br#"{"rope_theta": NaN, "eos_token_id": 7, "bos_token_id": 5}"#;
        let places = Places::read(|name| Ok((name == MODEL).then(|| json.to_vec()))).unwrap();
        let ids = places.numbers();
        assert_eq!((ids.bos, ids.eos, ids.stops), (Some(5), Some(7), vec![7]));
    }
}
