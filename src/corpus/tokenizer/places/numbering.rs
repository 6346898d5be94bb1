//! Added tokens and the ids that the `tokenizers` crate gives them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::corpus::tokenizer::MOST_IDS;

/// A token that is matched in a text before the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

impl Token {
    pub fn special(content: &str) -> Self {
        Self {
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    /// A name or an object; `None` for anything else.
    pub fn from_json(value: &Value) -> Option<Self> {
        if let Some(content) = value.as_str() {
            return Some(Self::special(content));
        }
        let flag = |key: &str| value[key].as_bool();
        let special = flag("special").unwrap_or(false);
        Some(Self {
            content: value["content"].as_str()?.into(),
            single_word: flag("single_word").unwrap_or(false),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            normalized: flag("normalized").unwrap_or(!special),
            special,
        })
    }

    pub fn to_json(&self, id: u32) -> Value {
        json!({
            "id": id,
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        })
    }
}

/// The vocabulary of a model, by content.
pub enum Vocabulary<'j> {
    Map(&'j Map<String, Value>),
    List(HashMap<&'j str, u32>),
}

impl<'j> Vocabulary<'j> {
    pub fn of(json: &'j Value) -> Self {
        match &json["model"]["vocab"] {
            Value::Object(map) => Self::Map(map),
            list => {
                let pieces = list.as_array().into_iter().flatten();
                let pieces = pieces.map(|piece| piece[0].as_str().unwrap_or_default());
                Self::List(pieces.zip(0..).collect())
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Map(map) => map.len(),
            Self::List(list) => list.len(),
        }
    }

    pub fn id(&self, content: &str) -> Option<u32> {
        match self {
            Self::Map(map) => u32::try_from(map.get(content)?.as_u64()?).ok(),
            Self::List(list) => list.get(content).copied(),
        }
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        match self {
            Self::Map(map) => {
                let ids = map
                    .values()
                    .filter_map(|id| u32::try_from(id.as_u64()?).ok());
                ids.max().map_or(0, |id| id as usize + 1)
            }
            Self::List(list) => list.len(),
        }
    }
}

/// The added tokens of a tokenizer, with the ids that the `tokenizers` crate gives them.
pub struct Tokens<'v> {
    pub vocabulary: &'v Vocabulary<'v>,
    pub all: Vec<(Token, u32)>,
    /// Indices in `all`.
    pub by_content: HashMap<String, usize>,
    /// The tokens of `tokenizer.json`, by the number that it states.
    pub stated: Vec<(u64, Token)>,
}

impl<'v> Tokens<'v> {
    pub fn of(json: &Value, vocabulary: &'v Vocabulary<'v>) -> Result<Self, String> {
        let own = json["added_tokens"].as_array().into_iter().flatten();
        // Reading the file refuses entries that are not tokens.
        let own = own.filter_map(|token| Some((token["id"].as_u64()?, Token::from_json(token)?)));
        let mut tokens = Self {
            vocabulary,
            all: Vec::new(),
            by_content: HashMap::new(),
            stated: own.collect(),
        };
        tokens.add(
            tokens
                .stated
                .iter()
                .map(|(_, token)| token.clone())
                .collect(),
        )?;
        Ok(tokens)
    }

    /// Adds the tokens of one file, or changes the flags of existing ones.
    pub fn add(&mut self, tokens: Vec<Token>) -> Result<(), String> {
        // If ids are missing from the vocabulary, an added token may have an id above their number.
        let largest = self.all.iter().map(|(_, id)| *id as usize + 1).max();
        let mut next = self.vocabulary.len().max(largest.unwrap_or(0));
        for token in tokens.into_iter().filter(|token| !token.content.is_empty()) {
            if let Some(&at) = self.by_content.get(&token.content) {
                self.all[at].0 = token;
                continue;
            }
            let id = match self.vocabulary.id(&token.content) {
                Some(id) => id,
                None => {
                    let id = u32::try_from(next).ok();
                    let id = id.filter(|&id| (id as usize) < MOST_IDS);
                    next += 1;
                    id.ok_or_else(|| format!("it has more than {MOST_IDS} tokens"))?
                }
            };
            self.by_content
                .insert(token.content.clone(), self.all.len());
            self.all.push((token, id));
        }
        Ok(())
    }

    pub fn id(&self, content: &str) -> Option<u32> {
        match self.by_content.get(content) {
            Some(&at) => Some(self.all[at].1),
            None => self.vocabulary.id(content),
        }
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        let added = self.all.iter().map(|(_, id)| *id as usize + 1);
        added.max().unwrap_or(0).max(self.vocabulary.size())
    }

    /// Returns the tokens and ids that the vocabulary needs so that a reader of `added`, who adds all at once, assigns
    /// these ids.
    pub fn pinned(&self, added: &Value) -> Result<Vec<(String, Value)>, String> {
        let again = Self::of(&json!({"added_tokens": added}), self.vocabulary)?;
        if again
            .all
            .iter()
            .map(|(_, id)| id)
            .eq(self.all.iter().map(|(_, id)| id))
        {
            return Ok(Vec::new());
        }
        let new = self.all.iter();
        let new = new.filter(|(token, _)| self.vocabulary.id(&token.content).is_none());
        Ok(new
            .map(|(token, id)| (token.content.clone(), Value::from(*id)))
            .collect())
    }

    pub fn to_json(&self) -> Value {
        self.all
            .iter()
            .map(|(token, id)| token.to_json(*id))
            .collect()
    }
}
