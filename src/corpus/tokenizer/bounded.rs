//! The `tokenizers` crate with bounds: a `tokenizer.json` from elsewhere must not turn a line of text into gigabytes.
//!
//! The crate runs a file's normalizer, pre-tokenizer and decoder as they are written, and each of them may multiply the
//! text: a `Replace` with a long replacement, a `Prepend`, a table of characters (`Precompiled`), twenty `ByteLevel` in
//! a row. Here the steps run one by one and each is refused when the text has grown beyond [`MOST_GROWTH`]; steps that
//! can multiply the text at once are counted before anything is allocated. The ids are those of the crate. Time is
//! bounded elsewhere ([`super::watch`]), because the work of an expression cannot be counted from outside.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use serde_json::Value;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::{
    Decoder, DecoderWrapper, Model, NormalizedString, Normalizer, NormalizerWrapper,
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
};

use super::counted::{Replacement, precompiled};

/// Bytes that a normalizer, a pre-tokenizer or a decoder may make of each byte of text, and in addition of every text.
/// The largest growth in use is compatibility decomposition: 11 bytes for each byte of U+FDFA. Sentencepiece's spaces
/// are 3 bytes.
pub const MOST_GROWTH: usize = 16;
const SPARE_BYTES: usize = 1024;
/// Most steps of one part. Published tokenizers have fewer than 20.
const MOST_STEPS: usize = 64;
/// Most bytes of one token. Published ones have fewer than 1000.
const LONGEST_TOKEN: usize = 64 << 10;

/// The stages of encoding and decoding, for messages.
#[derive(Debug, Default)]
pub struct Stage(AtomicU8);

const STAGES: [&str; 4] = ["added_tokens", "normalizer", "pre_tokenizer", "model"];
const NORMALIZER: u8 = 1;
const PRE_TOKENIZER: u8 = 2;
const MODEL: u8 = 3;

impl Stage {
    /// Returns the part of `tokenizer.json` that is running.
    pub fn name(&self) -> &'static str {
        STAGES[usize::from(self.0.load(Ordering::Relaxed)) % STAGES.len()]
    }

    fn enter(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }
}

/// The reason why a text cannot be encoded.
#[derive(Debug)]
pub enum Failed {
    /// A part of the tokenizer grows the text beyond the limit; names the part.
    Grown(String),
    /// The crate fails.
    GivenUp,
}

/// A tokenizer of the crate, split into its steps.
#[derive(Clone)]
pub struct Bounded {
    library: tokenizers::Tokenizer,
    normalizer: Vec<Step>,
    pre_tokenizer: Vec<PreTokenizerWrapper>,
    decoder: Option<Vec<Undo>>,
}

/// One step of a normalizer.
enum Step {
    Replace(Replacement),
    Prepend(NormalizerWrapper, usize),
    Precompiled(Box<Precompiled>),
    /// Grows a text by a factor below [`MOST_GROWTH`].
    Other(Box<NormalizerWrapper>, String),
}

/// One step of a decoder.
#[derive(Clone)]
enum Undo {
    Replace(Replacement),
    Other(Box<DecoderWrapper>),
}

impl Clone for Step {
    fn clone(&self) -> Self {
        match self {
            Self::Replace(replacement) => Self::Replace(replacement.clone()),
            Self::Prepend(step, n) => Self::Prepend(step.clone(), *n),
            Self::Precompiled(table) => Self::Precompiled(table.clone()),
            Self::Other(step, name) => Self::Other(step.clone(), name.clone()),
        }
    }
}

/// Refuses parts of a `tokenizer.json` that would grow its own tokens beyond the limit while it is read.
///
/// # Errors
/// Names the part at fault.
pub fn check(value: &Value) -> Result<(), String> {
    let added = value["added_tokens"].as_array().into_iter().flatten();
    let added: Vec<(&str, bool)> = added
        .filter_map(|token| Some((token["content"].as_str()?, token["normalized"] == true)))
        .collect();
    let vocab = &value["model"]["vocab"];
    let keys = vocab.as_object().into_iter().flatten();
    let keys = keys.map(|(token, _)| token.as_str());
    let pairs = vocab.as_array().into_iter().flatten();
    let pairs = pairs.filter_map(|pair| pair[0].as_str());
    let all = added.iter().map(|(token, _)| *token);
    if let Some(long) = all
        .chain(keys)
        .chain(pairs)
        .find(|t| t.len() > LONGEST_TOKEN)
    {
        return Err(format!(
            "it has a token of {} bytes; at most {LONGEST_TOKEN} are expected",
            long.len()
        ));
    }
    for (part, inner) in [
        ("normalizer", "normalizers"),
        ("pre_tokenizer", "pretokenizers"),
        ("decoder", "decoders"),
    ] {
        let steps = count_steps(&value[part], inner);
        if steps > MOST_STEPS {
            return Err(format!(
                "its {part} has {steps} steps; at most {MOST_STEPS} are expected"
            ));
        }
    }
    if value["normalizer"].is_null() {
        return Ok(());
    }
    check_tables(&value["normalizer"])?;
    let normalizer = serde_json::from_value::<NormalizerWrapper>(value["normalizer"].clone())
        .map_err(|e| format!("its normalizer cannot be read: {e}"))?;
    let steps = steps_of(&normalizer)?;
    for (token, _) in added.into_iter().filter(|(_, normalized)| *normalized) {
        let budget = Budget::of(token);
        let mut token = NormalizedString::from(token);
        if normalize(&steps, &mut token, &budget).is_err()
            && let Some(why) = budget.grown.into_inner()
        {
            return Err(why);
        }
    }
    Ok(())
}

/// Refuses tables of characters that announce more than they contain, since the crate allocates what they announce.
fn check_tables(normalizer: &Value) -> Result<(), String> {
    if let Some(steps) = normalizer["normalizers"].as_array() {
        return steps.iter().try_for_each(check_tables);
    }
    let Some(table) = normalizer["precompiled_charsmap"].as_str() else {
        return Ok(());
    };
    // The first four bytes are the length of the trie; three bytes are four letters of base64.
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = table.bytes().take(6).map_while(digit);
    let bits = digits.fold((0u64, 0), |(bits, n), digit| {
        (bits << 6 | u64::from(digit), n + 1)
    });
    let says = match bits {
        (bits, 6) => u64::from(((bits >> 4) as u32).swap_bytes()),
        _ => u64::MAX,
    };
    match says > table.len() as u64 / 4 * 3 {
        true => Err("its normalizer (Precompiled) has a damaged table".into()),
        false => Ok(()),
    }
}

/// Returns the number of steps of a part, with sequences flattened.
fn count_steps(part: &Value, inner: &str) -> usize {
    match part[inner].as_array() {
        Some(steps) => steps.iter().map(|step| count_steps(step, inner)).sum(),
        None => 1,
    }
}

impl Bounded {
    /// Splits a tokenizer into its steps.
    ///
    /// # Errors
    /// When a step cannot be parsed again.
    pub fn new(library: tokenizers::Tokenizer) -> Result<Self, String> {
        let normalizer = library.get_normalizer().map(steps_of).transpose()?;
        let mut pre_tokenizer = Vec::new();
        if let Some(pre) = library.get_pre_tokenizer() {
            flatten_pre_tokenizer(pre, &mut pre_tokenizer);
        }
        let mut decoder = None;
        if let Some(wrapper) = library.get_decoder() {
            flatten_decoder(wrapper, decoder.insert(Vec::new()))?;
        }
        Ok(Self {
            normalizer: normalizer.unwrap_or_default(),
            pre_tokenizer,
            decoder,
            library,
        })
    }

    pub fn library(&self) -> &tokenizers::Tokenizer {
        &self.library
    }

    /// Appends the ids of a text, without special tokens around it. A text that the crate fails on is encoded in halves.
    ///
    /// # Errors
    /// When a part of the tokenizer grows the text beyond the limit; names the part.
    pub fn encode(&self, text: &str, stage: &Stage, ids: &mut Vec<u32>) -> Result<(), String> {
        match self.encode_whole(text, stage, ids) {
            Ok(()) => Ok(()),
            Err(Failed::Grown(why)) => Err(why),
            Err(Failed::GivenUp) if text.len() < 2 => Ok(()),
            Err(Failed::GivenUp) => {
                let mut cuts = text.len() / 2..text.len();
                if let Some(middle) = cuts.find(|&at| text.is_char_boundary(at)) {
                    self.encode(&text[..middle], stage, ids)?;
                    self.encode(&text[middle..], stage, ids)?;
                }
                Ok(())
            }
        }
    }

    fn encode_whole(&self, text: &str, stage: &Stage, ids: &mut Vec<u32>) -> Result<(), Failed> {
        let budget = Budget::of(text);
        stage.enter(NORMALIZER);
        let running = Running {
            steps: &self.normalizer,
            budget: &budget,
        };
        let normalizer = (!self.normalizer.is_empty()).then_some(&running);
        let added = self.library.get_added_vocabulary();
        let mut words = added.extract_and_normalize(normalizer, text);
        // The crate ignores errors of the normalizer.
        if let Some(why) = budget.grown.into_inner() {
            return Err(Failed::Grown(why));
        }
        stage.enter(PRE_TOKENIZER);
        self.split(&mut words, budget.most)?;
        stage.enter(MODEL);
        let given_up = |_| Failed::GivenUp;
        let model = self.library.get_model();
        model
            .tokenize_in_pretokenized(&mut words, None)
            .map_err(given_up)?;
        let encoding = words.into_encoding(None, 0, OffsetType::None);
        ids.extend_from_slice(encoding.map_err(given_up)?.get_ids());
        Ok(())
    }

    /// Splits a text into words. A single step makes at most 4 bytes of one; several steps are checked.
    fn split(&self, words: &mut PreTokenizedString, most: usize) -> Result<(), Failed> {
        let mut growing = 0;
        for step in &self.pre_tokenizer {
            step.pre_tokenize(words).map_err(|_| Failed::GivenUp)?;
            let (PreTokenizerWrapper::ByteLevel(_) | PreTokenizerWrapper::Metaspace(_)) = step
            else {
                continue;
            };
            growing += 1;
            if growing > 1 {
                let splits = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
                if splits.iter().map(|(word, ..)| word.len()).sum::<usize>() > most {
                    return Err(Failed::Grown(grown("pre_tokenizer", "its steps together")));
                }
            }
        }
        Ok(())
    }

    /// Returns the text of token ids; unknown ids are left out.
    ///
    /// # Errors
    /// When the decoder grows the text beyond the limit, or fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, String> {
        let added = self.library.get_added_vocabulary();
        let model = self.library.get_model();
        let known = |&id: &u32| {
            added
                .simple_id_to_token(id)
                .or_else(|| model.id_to_token(id))
        };
        let mut tokens: Vec<String> = ids.iter().filter_map(known).collect();
        let Some(decoder) = &self.decoder else {
            return Ok(tokens.join(" "));
        };
        let most = most_bytes(tokens.iter().map(String::len).sum());
        for step in decoder {
            tokens = match step {
                Undo::Replace(replacement) => {
                    let decoded = replacement.decode(&tokens, most);
                    decoded.ok_or_else(|| grown("decoder", "Replace"))?
                }
                Undo::Other(step) => {
                    let decoded = step.decode_chain(tokens);
                    decoded.map_err(|e| format!("its decoder gives up: {e}"))?
                }
            };
        }
        Ok(tokens.concat())
    }
}

fn grown(part: &str, step: &str) -> String {
    format!("its {part} ({step}) makes more than {MOST_GROWTH} bytes of each byte of text")
}

fn most_bytes(of: usize) -> usize {
    of.saturating_mul(MOST_GROWTH).saturating_add(SPARE_BYTES)
}

/// The bytes that a normalizer may make of one text in total.
struct Budget {
    most: usize,
    /// Bytes made of the parts between added tokens so far.
    used: AtomicUsize,
    grown: OnceLock<String>,
}

impl Budget {
    fn of(text: &str) -> Self {
        Self {
            most: most_bytes(text.len()),
            used: AtomicUsize::new(0),
            grown: OnceLock::new(),
        }
    }

    fn left(&self) -> usize {
        self.most.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    fn refuse(&self, step: &str) -> tokenizers::Error {
        let why = self.grown.get_or_init(|| grown("normalizer", step));
        why.clone().into()
    }
}

/// A normalizer running on one text.
struct Running<'a> {
    steps: &'a [Step],
    budget: &'a Budget,
}

impl Normalizer for Running<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        normalize(self.steps, text, self.budget)
    }
}

fn normalize(
    steps: &[Step],
    text: &mut NormalizedString,
    budget: &Budget,
) -> tokenizers::Result<()> {
    if let Some(why) = budget.grown.get() {
        return Err(why.clone().into());
    }
    let left = budget.left();
    for step in steps {
        let name = match step {
            Step::Replace(replacement) => {
                if !replacement.normalize(text, left)? {
                    return Err(budget.refuse("Replace"));
                }
                "Replace"
            }
            Step::Prepend(step, n) => {
                if text.get().len().saturating_add(*n) > left {
                    return Err(budget.refuse("Prepend"));
                }
                step.normalize(text)?;
                "Prepend"
            }
            Step::Precompiled(table) => {
                if !precompiled(table, text, left) {
                    return Err(budget.refuse("Precompiled"));
                }
                "Precompiled"
            }
            Step::Other(step, name) => {
                step.normalize(text)?;
                name
            }
        };
        if text.get().len() > left {
            return Err(budget.refuse(name));
        }
    }
    budget.used.fetch_add(text.get().len(), Ordering::Relaxed);
    Ok(())
}

/// Returns the steps of a normalizer, with sequences flattened.
fn steps_of(normalizer: &NormalizerWrapper) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    flatten_normalizer(normalizer, &mut steps)?;
    Ok(steps)
}

fn flatten_normalizer(step: &NormalizerWrapper, into: &mut Vec<Step>) -> Result<(), String> {
    into.push(match step {
        NormalizerWrapper::Sequence(sequence) => {
            let mut steps = sequence.as_ref().iter();
            return steps.try_for_each(|step| flatten_normalizer(step, into));
        }
        NormalizerWrapper::Replace(replace) => Step::Replace(Replacement::of(replace)?),
        NormalizerWrapper::Prepend(prepend) => Step::Prepend(step.clone(), prepend.prepend.len()),
        NormalizerWrapper::Precompiled(table) => Step::Precompiled(Box::new(table.clone())),
        other => {
            let name = serde_json::to_value(other).unwrap_or_default();
            let name = name["type"].as_str().unwrap_or("one of its steps");
            Step::Other(Box::new(other.clone()), name.to_string())
        }
    });
    Ok(())
}

fn flatten_pre_tokenizer(step: &PreTokenizerWrapper, into: &mut Vec<PreTokenizerWrapper>) {
    match step {
        PreTokenizerWrapper::Sequence(sequence) => {
            for step in sequence.as_ref() {
                flatten_pre_tokenizer(step, into);
            }
        }
        other => into.push(other.clone()),
    }
}

fn flatten_decoder(step: &DecoderWrapper, into: &mut Vec<Undo>) -> Result<(), String> {
    match step {
        DecoderWrapper::Sequence(sequence) => {
            for step in sequence.get_decoders() {
                flatten_decoder(step, into)?;
            }
        }
        DecoderWrapper::Replace(replace) => into.push(Undo::Replace(Replacement::of(replace)?)),
        other => into.push(Undo::Other(Box::new(other.clone()))),
    }
    Ok(())
}
