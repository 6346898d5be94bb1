//! Converts the vocabulary in a GGUF file's metadata (`tokenizer.ggml.*`) to the equivalent `tokenizer.json`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use self::kinds::{BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use super::split::{GPT_4O, LLAMA3, QWEN2, TEKKEN};
use super::{MOST_IDS, Places, Tokenizer, file};
use crate::corpus::CorpusError;

/// Largest sum of the squares of the tokens' lengths, since merges are searched at every cut of each token. Published
/// vocabularies reach a thousandth of it.
const MOST_WORK: u64 = 1 << 34;

/// The keys under `tokenizer.ggml.`, as in the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` is byte-level BPE, `llama` sentencepiece's BPE.
    pub model: String,
    /// `pre`: the name of the rule by which a byte-level tokenizer splits text.
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    /// `scores`, of `llama`: one a token.
    pub scores: Vec<f32>,
    /// `token_type`: one a token, or empty. 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// `merges`, of `gpt2`: "left right" by rank.
    pub merges: Vec<String>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    /// `eot_token_id` and `eom_token_id`, which end generated text as `eos` does.
    pub other_ends: Vec<u32>,
    pub unknown: Option<u32>,
    /// `add_bos_token`: whether the model expects `bos` before a text. Encoding here never adds it.
    pub add_bos: Option<bool>,
    /// `add_space_prefix`, of `llama`: true when absent.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.huggingface.json`: the complete `tokenizer.json`, which has more than the other keys can express.
    pub hugging_face: Option<String>,
}

/// llama.cpp's kinds of tokens.
pub mod kinds {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

pub fn tokenizer(vocabulary: &GgufVocabulary) -> Result<Tokenizer, CorpusError> {
    let name = match &vocabulary.pre {
        Some(pre) => format!("gguf-{pre}"),
        None => format!("gguf-{}", vocabulary.model),
    };
    let fail = |what: String| CorpusError::Tokenizer {
        name: "the tokenizer of the GGUF file".into(),
        what,
    };
    let mut json = vocabulary.json().map_err(fail)?.to_string();
    if let Some(own) = &vocabulary.hugging_face {
        json = own.clone();
    }
    let tokenizer = file::build(&name, json.into_bytes(), Places::default()).map_err(fail)?;
    if tokenizer.size() > vocabulary.tokens.len() {
        return Err(fail(format!(
            "its tokenizer.huggingface.json has {} ids, its tokenizer.ggml.tokens {}",
            tokenizer.size(),
            vocabulary.tokens.len()
        )));
    }
    let eos = vocabulary.eos.or(tokenizer.end_of_text());
    let others = vocabulary.other_ends.iter().copied();
    let stops = eos.into_iter().chain(others);
    Ok(tokenizer.with_ends(eos, stops.collect()))
}

impl Tokenizer {
    /// The same tokenizer with other ends of texts, unless it is already shared.
    fn with_ends(mut self, eos: Option<u32>, stops: Vec<u32>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.special.eos = eos;
            inner.special.stops = stops;
        }
        self
    }
}

/// Returns the name of a row of the model without a token: `[PAD7]`, as the converter writes it, or `[PAD7-1]`,
/// `[PAD7-2]` and so on, the first that is not `taken`.
pub fn filler(id: usize, taken: impl Fn(&str) -> bool) -> String {
    let plain = format!("[PAD{id}]");
    let others = (1u64..).map(|n| format!("[PAD{id}-{n}]"));
    let mut names = std::iter::once(plain.clone()).chain(others);
    names.find(|name| !taken(name)).unwrap_or(plain)
}

fn is_filler(id: usize, token: &str) -> bool {
    let rest = token.strip_prefix(&format!("[PAD{id}"));
    let rest = rest.and_then(|rest| rest.strip_suffix(']'));
    rest.is_some_and(|rest| {
        let number = rest
            .strip_prefix('-')
            .map(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        rest.is_empty() || number == Some(true)
    })
}

impl GgufVocabulary {
    /// Whether `bos` precedes a text: by the file's key, or by llama.cpp's rule for each kind if the key is absent.
    pub fn begins_with_bos(&self) -> bool {
        self.add_bos.unwrap_or(self.model == "llama")
    }

    /// Returns the `tokenizer.json` equivalent to the `tokenizer.ggml` keys.
    ///
    /// # Errors
    /// Describes what is inconsistent or of an unknown kind.
    pub fn json(&self) -> Result<Value, String> {
        self.check()?;
        match self.model.as_str() {
            "gpt2" => self.byte_level(),
            "llama" => Ok(self.sentencepiece()),
            other => Err(format!(
                "its model is {other:?}; \"gpt2\" (byte-level BPE) and \"llama\" (sentencepiece BPE) are supported"
            )),
        }
    }

    fn check(&self) -> Result<(), String> {
        let n = self.tokens.len();
        if n == 0 || n > MOST_IDS {
            return Err(format!("it has {n} tokens; 1 to {MOST_IDS} are expected"));
        }
        let types = self.token_types.len();
        if types != 0 && types != n {
            return Err(format!("it has {n} tokens but {types} token types"));
        }
        for (what, id) in [
            ("bos", self.bos),
            ("eos", self.eos),
            ("unknown", self.unknown),
        ] {
            if let Some(id) = id.filter(|&id| id as usize >= n) {
                return Err(format!("its {what} id {id} is outside its {n} tokens"));
            }
        }
        let lengths = self.tokens.iter().map(|token| token.len() as u64);
        if lengths
            .map(|n| n.saturating_mul(n))
            .fold(0, u64::saturating_add)
            > MOST_WORK
        {
            let longest = self.tokens.iter().map(String::len).max();
            return Err(format!(
                "its tokens are too long, up to {} bytes",
                longest.unwrap_or(0)
            ));
        }
        let mut seen = HashMap::with_capacity(n);
        for (id, token) in self.used() {
            if let Some(first) = seen.insert(token, id) {
                return Err(format!("its tokens {first} and {id} are both {token:?}"));
            }
        }
        if self.model == "llama" && self.scores.len() != n {
            return Err(format!(
                "it has {n} tokens but {} scores",
                self.scores.len()
            ));
        }
        Ok(())
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(NORMAL)
    }

    /// Returns the tokens with their ids, without rows of the model that have no token ([`filler`]).
    fn used(&self) -> impl Iterator<Item = (usize, &String)> {
        let all = self.tokens.iter().enumerate();
        all.filter(|&(id, token)| self.kind(id) != UNUSED || !is_filler(id, token))
    }

    fn vocab(&self) -> serde_json::Map<String, Value> {
        let tokens = self.used();
        tokens
            .map(|(id, token)| (token.clone(), id.into()))
            .collect()
    }

    /// Control tokens are special; user-defined ones are only matched as a unit.
    fn added(&self) -> Vec<Value> {
        let added = |(id, content): (usize, &String)| {
            let kind = self.kind(id);
            let special = match kind {
                CONTROL | UNKNOWN => true,
                USER_DEFINED => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special
            }))
        };
        let all = self.tokens.iter().enumerate();
        all.filter(|(_, content)| !content.is_empty())
            .filter_map(added)
            .collect()
    }

    fn byte_level(&self) -> Result<Value, String> {
        let level = |by_words: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": by_words});
        let sequence = |first: Value, by_words: bool| json!({"type": "Sequence", "pretokenizers": [first, level(by_words)]});
        let expression = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let pre = self.pre.as_deref().unwrap_or("gpt-2");
        let mut normalizer = Value::Null;
        let mut whole_words = false;
        let pre_tokenizer = match pre {
            "gpt-2" | "gpt2" | "default" | "olmo" | "phi-2" | "mpt" | "roberta-bpe" => level(true),
            "smollm" | "starcoder" | "codeshell" | "refact" | "command-r" | "exaone" => {
                sequence(json!({"type": "Digits", "individual_digits": true}), true)
            }
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral"
            | "midm-2.0" | "lfm2" | "jina-v5-nano" => {
                whole_words = true;
                sequence(expression(LLAMA3), false)
            }
            "dbrx" | "smaug-bpe" => sequence(expression(LLAMA3), false),
            "qwen2" | "deepseek-r1-qwen" | "megrez" | "kormo" | "f2llmv2" => {
                normalizer = json!({"type": "NFC"});
                sequence(expression(QWEN2), false)
            }
            "tekken" => {
                whole_words = true;
                sequence(expression(TEKKEN), false)
            }
            "gpt-4o" => sequence(expression(GPT_4O), false),
            other => {
                return Err(format!(
                    "its splitting (tokenizer.ggml.pre) is {other:?}; gpt-2, olmo, smollm, starcoder, llama-bpe, qwen2 and tekken are among those known"
                ));
            }
        };
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added(),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": whole_words, "vocab": self.vocab(), "merges": self.merges
            }
        }))
    }

    fn sentencepiece(&self) -> Value {
        let prefix = self.add_space_prefix != Some(false);
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let mut normalizers = vec![spaces];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.unknown.map(|id| &self.tokens[id as usize]);
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added(),
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": null,
            "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                "ignore_merges": false, "vocab": self.vocab(), "merges": self.merges_from_scores()
            }
        })
    }

    /// Sentencepiece merges the pair whose piece has the highest score. As a list of merges: every way to make a piece
    /// of two others, by falling score (the order in `transformers`).
    fn merges_from_scores(&self) -> Vec<Value> {
        let ids: HashMap<&str, usize> = self
            .used()
            .map(|(id, token)| (token.as_str(), id))
            .collect();
        let mut merges = Vec::new();
        for (id, token) in self.used() {
            if matches!(self.kind(id), UNKNOWN | CONTROL | BYTE) {
                continue;
            }
            let cuts = token.char_indices().map(|(at, _)| at).skip(1);
            let ways = cuts.filter_map(|at| {
                let (left, right) = token.split_at(at);
                Some((*ids.get(left)?, *ids.get(right)?))
            });
            let mut ways: Vec<_> = ways.collect();
            ways.sort_unstable_by(|a, b| b.cmp(a));
            let length = |id: usize| self.tokens[id].chars().count();
            merges.extend(
                ways.into_iter()
                    .map(|(a, b)| (self.scores[id], length(a), length(b), a, b)),
            );
        }
        merges.sort_by(|x, y| y.0.total_cmp(&x.0).then((y.1, y.2).cmp(&(x.1, x.2))));
        let pair = |&(_, _, _, a, b): &(f32, usize, usize, usize, usize)| {
            json!([self.tokens[a], self.tokens[b]])
        };
        merges.iter().map(pair).collect()
    }
}
