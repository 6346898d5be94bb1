//! The training and validation tokens of a run.

use std::sync::Arc;

use super::cache::TokenCache;
use super::encode::Texts;
use super::reader::{self, Kind, ReadOptions, Tally, find, kind};
use super::{CorpusError, Mixture, Report, Reporter, Tokenizer, Tokens, encode, token_file};
use crate::text::exact;

/// A text to train on: inputs that are read one after the other as one text, and how often it is drawn from compared
/// with other sources.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Files, directories, patterns of shards.
    pub inputs: Vec<String>,
    pub weight: f64,
}

impl Source {
    /// The only text.
    pub fn single(input: &str) -> Self {
        Self {
            inputs: vec![input.into()],
            weight: 1.0,
        }
    }

    fn name(&self) -> String {
        self.inputs.join(", ")
    }
}

/// The way in which texts are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Encoding<'a> {
    /// The field of rows that holds the text.
    pub field: &'a str,
    /// Keeps the ids for other processes that read the same texts; with `None` they are held in memory.
    pub cache: Option<&'a TokenCache>,
}

impl<'a> From<&'a str> for Encoding<'a> {
    fn from(field: &'a str) -> Self {
        Self { field, cache: None }
    }
}

/// Training and validation tokens.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The sources, one after the other.
    pub train: Tokens,
    /// The range of each source in `train`.
    pub mixture: Mixture,
    pub val: Tokens,
    pub tokenizer: Tokenizer,
    weights: Vec<f64>,
    /// Names of the sources and of the validation text in messages.
    names: (Vec<String>, String),
}

impl Dataset {
    /// Opens the texts that a config's `[data]` names. Without `val`, the last `val_fraction` of each source's tokens are held out; of
    /// several sources these parts make one validation text. `how` is the field of rows that holds the text, or an [`Encoding`].
    /// `report` receives the progress of long work.
    ///
    /// # Errors
    /// When a text cannot be read, was encoded by another tokenizer, or is shorter than one window of `context` tokens and its target.
    pub fn open<'a>(
        train: &[Source],
        val: Option<&[String]>,
        val_fraction: f64,
        tokenizer: &Tokenizer,
        how: impl Into<Encoding<'a>>,
        context: usize,
        report: Reporter<'_>,
    ) -> Result<Self, CorpusError> {
        let how = how.into();
        let (mut kept, mut held_out) = (Vec::new(), Vec::new());
        for source in train {
            let all = open(&source.inputs, tokenizer, how, report)?;
            let held = match val {
                Some(_) => 0,
                None => (all.len() as f64 * val_fraction) as usize,
            };
            let (first, last) = all.split_at(all.len() - held);
            kept.push(first);
            held_out.push(last);
        }
        let names: Vec<String> = train.iter().map(Source::name).collect();
        let val_name = match val {
            Some(val) => format!("{} (validation)", val.join(", ")),
            None => format!(
                "the validation part of {} (the last {:.0} %)",
                names.join(", "),
                100.0 * val_fraction
            ),
        };
        let weights: Vec<f64> = train.iter().map(|s| s.weight).collect();
        let sizes = kept.iter().map(Tokens::len);
        let dataset = Self {
            mixture: Mixture::new(sizes.zip(weights.iter().copied())),
            train: Tokens::join(kept),
            val: match val {
                Some(val) => open(val, tokenizer, how, report)?,
                None => Tokens::join(held_out),
            },
            tokenizer: tokenizer.clone(),
            weights,
            names: (names, val_name),
        };
        dataset.check_length(context)?;
        Ok(dataset)
    }

    /// Checks that every source and the validation text have at least one window of `context` tokens and its target.
    ///
    /// # Errors
    /// [`CorpusError::TooShort`], naming the text.
    pub fn check_length(&self, context: usize) -> Result<(), CorpusError> {
        let sources = (0..self.mixture.len()).map(|i| self.mixture.range(i).len());
        let all = self.names.0.iter().zip(sources);
        for (what, have) in all.chain([(&self.names.1, self.val.len())]) {
            if have < context + 1 {
                return Err(CorpusError::TooShort {
                    what: what.clone(),
                    have,
                    context,
                });
            }
        }
        Ok(())
    }

    /// Checks that a model of `vocab` rows has a row for every id. Reads the tokens only if the tokenizer has more ids
    /// than that.
    ///
    /// # Errors
    /// [`CorpusError::Outside`], naming the text.
    pub fn check_ids(&self, vocab: usize) -> Result<(), CorpusError> {
        if self.tokenizer.fits(vocab).is_ok() {
            return Ok(());
        }
        for (source, name) in self.names.0.iter().enumerate() {
            let tokens = self.train.part(self.mixture.range(source));
            tokens.check_below(name, vocab)?;
        }
        self.val.check_below(&self.names.1, vocab)
    }

    /// Returns the weights of the sources of the training text, as in the config.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The inputs of each source of the training text, as messages name them.
    pub fn sources(&self) -> &[String] {
        &self.names.0
    }

    /// Bytes of the tokens that are in memory and not mapped from files.
    pub fn bytes_in_memory(&self) -> u64 {
        Tokens::bytes_in_memory([&self.train, &self.val])
    }

    /// Fingerprints of the training and the validation tokens ([`Tokens::fingerprint`]); the first goes over the sources
    /// and their weights.
    pub fn fingerprints(&self) -> [String; 2] {
        let train = match self.mixture.len() {
            1 => self.train.fingerprint(),
            n => {
                let mut hash = blake3::Hasher::new();
                for source in 0..n {
                    let tokens = self.train.part(self.mixture.range(source));
                    hash.update(tokens.fingerprint().as_bytes());
                    hash.update(&self.weights[source].to_le_bytes());
                }
                hash.finalize().to_hex().to_string()
            }
        };
        [train, self.val.fingerprint()]
    }
}

/// Checks that inputs exist, can be opened and are of known kinds, without reading them. Returns their files and the
/// total size in bytes.
///
/// # Errors
/// As [`open`], as far as errors can be detected without reading the texts.
pub fn check(inputs: &[String], field: &str) -> Result<(Vec<String>, u64), CorpusError> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    let how = ReadOptions::new(true, field);
    for input in inputs {
        for file in find(input)?.files {
            match kind(&file)? {
                Kind::Tokens => drop(token_file::look(&exact::to_path(&file))?),
                _ => drop(reader::open(&file, &how, &Arc::default())?),
            }
            bytes += reader::size(&file)?;
            files.push(file);
        }
    }
    Ok((files, bytes))
}

/// Reads the tokens of inputs, one after the other; `how` is the field of rows that holds the text, or an [`Encoding`]. `report`
/// receives the progress of long work, and a line about everything that was left out. A file without a text or tokens adds none.
///
/// # Errors
/// When one cannot be read, or was encoded by another tokenizer, or none of them has a token.
pub fn open<'a>(
    inputs: &[String],
    tokenizer: &Tokenizer,
    how: impl Into<Encoding<'a>>,
    report: Reporter<'_>,
) -> Result<Tokens, CorpusError> {
    let Encoding { field, cache } = how.into();
    let mut files = Vec::new();
    for input in inputs {
        let found = find(input)?;
        for line in found.left_out(input) {
            report(Report::Line(&line));
        }
        files.extend(found.files);
    }
    let tally = Arc::new(Tally::default());
    let texts_to_tokens = |texts: &mut Vec<String>| {
        let files = &std::mem::take(texts);
        let texts = Texts {
            files,
            tokenizer,
            field,
        };
        match cache {
            None => encode::tokens(texts, &tally, report),
            Some(cache) => cache.tokens(texts, &tally, report),
        }
    };
    let mut all = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    for file in files {
        match kind(&file)? {
            Kind::Tokens => {
                if !texts.is_empty() {
                    all.push(texts_to_tokens(&mut texts)?);
                }
                let total = reader::size(&file)?;
                let reading = |done| Report::Reading {
                    file: &file,
                    done,
                    total,
                };
                report(reading(0));
                all.push(token_file::open(&exact::to_path(&file), tokenizer)?);
                report(reading(total));
            }
            _ => texts.push(file),
        }
    }
    if !texts.is_empty() {
        all.push(texts_to_tokens(&mut texts)?);
    }
    let (tokens, skipped) = (Tokens::join(all), tally.skipped());
    let name = || {
        let names = inputs.join(", ");
        crate::text::cut(&names, 200).into_owned()
    };
    if tokens.is_empty() {
        let name = name();
        return Err(CorpusError::Empty { name, skipped });
    }
    if skipped.rows() > 0 {
        report(Report::Line(&format!("{}: {skipped}", name())));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::TEXT_FIELD;

    fn open(sources: &[Source], val: Option<&[String]>, fraction: f64) -> Result<Dataset, String> {
        let tokenizer = Tokenizer::byte();
        let opened = Dataset::open(sources, val, fraction, &tokenizer, TEXT_FIELD, 3, &|_| {});
        opened.map_err(|e| e.to_string())
    }

    #[test]
    fn the_embedded_text_is_split_at_its_end() {
        let shakespeare = [Source::single("builtin:tinyshakespeare")];
        let data = open(&shakespeare, None, 0.1).unwrap();
        assert_eq!(data.train.len() + data.val.len(), 1_115_394);
        assert_eq!(data.val.len(), 111_539);
        assert_eq!(data.train.get(0), u32::from(b'F'));
        // As in versions before mixtures, so that their runs can be continued.
        let whole = Tokens::join([data.train.clone(), data.val.clone()]);
        let text = include_bytes!("tinyshakespeare.txt");
        let ids: Vec<u8> = text.iter().flat_map(|&b| [b, 0]).collect();
        assert_eq!(whole.fingerprint(), blake3::hash(&ids).to_hex().to_string());
        let error = open(&shakespeare, None, 1e-6).unwrap_err();
        assert!(
            error.contains("has 1 tokens") && error.contains("at least 4"),
            "{error}"
        );
    }

    #[test]
    fn shards_are_one_text_and_a_mixture_holds_out_of_each() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let ids = |ids: &[u16]| {
            ids.iter()
                .flat_map(|id| id.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let first: Vec<u16> = (0..20).collect();
        let second: Vec<u16> = (100..140).collect();
        put("s_000000.bin", &ids(&first));
        put("s_000001.bin", &ids(&second));
        let pattern = format!("{}/s_*.bin", dir.path().display());
        let data = open(&[Source::single(&pattern)], None, 0.25).unwrap();
        assert_eq!((data.train.len(), data.val.len()), (45, 15));
        assert_eq!((data.train.get(19), data.train.get(20)), (19, 100));

        let source = |name: &str, weight| Source {
            inputs: vec![dir.path().join(name).display().to_string()],
            weight,
        };
        let both = [source("s_000000.bin", 1.0), source("s_000001.bin", 3.0)];
        let mixed = open(&both, None, 0.25).unwrap();
        assert_eq!(mixed.mixture.range(1), 15..45);
        assert_eq!((mixed.val.get(0), mixed.val.get(5)), (15, 130));
        let other = [source("s_000000.bin", 1.0), source("s_000001.bin", 2.0)];
        let other = open(&other, None, 0.25).unwrap().fingerprints();
        assert_ne!(mixed.fingerprints()[0], other[0]);
        assert_eq!(mixed.fingerprints()[1], other[1]);

        // Shards without a token add none.
        let mut header = [0; 256];
        header[..3].copy_from_slice(&[20_240_520, 1, 0]);
        let header: Vec<u8> = header
            .iter()
            .flat_map(|word: &i32| word.to_le_bytes())
            .collect();
        let empty = [put("s_000002.bin", &header), put("s_000003.bin", b"")];
        let with_empty = open(&[Source::single(&pattern)], None, 0.25).unwrap();
        assert_eq!(with_empty.fingerprints(), data.fingerprints());
        let only = Source {
            inputs: empty.to_vec(),
            weight: 1.0,
        };
        assert!(open(&[only], None, 0.25).unwrap_err().contains("is empty"));

        // Texts of several files are separated like documents.
        let texts = Source {
            inputs: vec![put("a.txt", b"abcd"), put("b.txt", b"efgh")],
            weight: 1.0,
        };
        let text = open(&[texts], Some(&[put("v.txt", b"12345")]), 0.1).unwrap();
        assert_eq!(
            text.tokenizer
                .decode(&(0..9).map(|i| text.train.get(i)).collect::<Vec<_>>())
                .unwrap(),
            "abcd<|endoftext|>efgh"
        );
        let error = open(
            &[Source::single(&dir.path().display().to_string())],
            None,
            0.1,
        );
        assert!(error.unwrap_err().contains("both texts and token files"));
        let short = [source("a.txt", 1.0), source("s_000001.bin", 3.0)];
        let error = open(&short, None, 0.5).unwrap_err();
        assert!(error.contains("a.txt has 2 tokens"), "{error}");
    }
}
