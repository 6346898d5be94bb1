//! Text to token ids and back: bytes, GPT-2's encoding without any file, a `tokenizer.json`, a GGUF file's vocabulary.
//!
//! Byte-level BPE with a splitting that is known here uses the native encoder ([`bpe`]), everything else the
//! `tokenizers` crate; both give the ids of the Python package.

mod bounded;
mod bpe;
mod byte_level;
mod common;
mod counted;
mod file;
mod gguf;
mod gpt2;
mod letters;
mod open;
mod places;
mod split;
mod stream;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use self::bounded::Bounded;
pub use self::bounded::Stage;
use self::bpe::ByteBpe;
use self::common::PROBE;
use self::watch::{Part, Watch};
use super::CorpusError;
pub use common::{END_OF_TEXT, MOST_IDS};
pub use file::{COMPANIONS, LARGEST, TOKENIZER, read_split};
pub use gguf::{GgufVocabulary, filler, kinds};
pub use places::{Places, SpecialIds};
pub use split::{Pattern, Split};
pub use stream::StreamDecoder;

/// A tokenizer; cheap to clone.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    name: String,
    size: usize,
    /// One more than the largest id of the model's own vocabulary, without added tokens.
    vocabulary: usize,
    special: SpecialIds,
    way: Backend,
    /// `tokenizer.json`, made on first use.
    json: OnceLock<Arc<[u8]>>,
    fingerprint: OnceLock<String>,
    /// The file it was read from, for messages.
    source: OnceLock<String>,
}

/// The encoder that turns text into ids.
enum Backend {
    /// Ids 0 to 255 are byte values, 256 is `<|endoftext|>`.
    Byte,
    Own(Box<ByteBpe>),
    Library(Box<Bounded>),
}

/// Seconds that encoding one text may take, in addition to those for its bytes.
const MOST_SECONDS: u64 = 10;

impl Tokenizer {
    /// Bytes: 256 byte values and `<|endoftext|>`.
    pub fn byte() -> Self {
        static BYTE: LazyLock<Tokenizer> =
            LazyLock::new(|| Tokenizer::new("byte", 257, SpecialIds::of_end(256), Backend::Byte));
        BYTE.clone()
    }

    /// GPT-2's encoding: 50257 ids, 50256 is `<|endoftext|>`.
    pub fn gpt2() -> Self {
        static GPT2: LazyLock<Tokenizer> = LazyLock::new(|| {
            let way = Backend::Own(Box::new(gpt2::encoder()));
            let ids = SpecialIds::of_end(gpt2::END_OF_TEXT_ID);
            Tokenizer::new("gpt2", gpt2::SIZE, ids, way)
        });
        GPT2.clone()
    }

    fn new(name: &str, size: usize, special: SpecialIds, way: Backend) -> Self {
        // The name goes to terminals and journals.
        let name = crate::text::clean(name);
        Self(Arc::new(Inner {
            name: crate::text::cut(&name, 60).into_owned(),
            size,
            vocabulary: size,
            special,
            way,
            json: OnceLock::new(),
            fingerprint: OnceLock::new(),
            source: OnceLock::new(),
        }))
    }

    /// Returns its name in messages and journals.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Number of ids: one more than the largest, added tokens included.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// [`Self::size`] rounded up to a multiple of 64, for matrix products.
    pub fn padded_vocab(&self) -> usize {
        self.size().next_multiple_of(64)
    }

    /// Whether a vocabulary of `vocab` rows has a row for every id.
    ///
    /// # Errors
    /// [`CorpusError::Vocabulary`].
    pub fn fits(&self, vocab: usize) -> Result<(), CorpusError> {
        if self.size() <= vocab {
            return Ok(());
        }
        Err(CorpusError::Vocabulary {
            name: self.name().into(),
            size: self.size(),
            vocab,
        })
    }

    /// Whether a trained model of `vocab` rows has a row for every id of the vocabulary. Published models may lack rows
    /// for added tokens, such as padding: an id without a row is refused where it occurs ([`Tokens::check_below`]).
    ///
    /// # Errors
    /// [`CorpusError::Vocabulary`].
    ///
    /// [`Tokens::check_below`]: super::Tokens::check_below
    pub fn vocabulary_fits(&self, vocab: usize) -> Result<(), CorpusError> {
        match self.0.vocabulary <= vocab {
            true => Ok(()),
            false => self.fits(vocab),
        }
    }

    /// The id of `eos_token`, which ends a text.
    pub fn end_of_text(&self) -> Option<u32> {
        self.0.special.eos
    }

    /// The ids that end generated text: `eos_token_id` in `generation_config.json`, else in `config.json`, else
    /// [`Self::end_of_text`].
    pub fn stops(&self) -> &[u32] {
        &self.0.special.stops
    }

    /// The id that ends a document in texts: [`Self::end_of_text`].
    pub fn document_end(&self) -> Option<u32> {
        self.end_of_text()
    }

    /// Token ids of a text, without a beginning-of-text id. Special tokens written out in it are recognised, and so is `<|endoftext|>`
    /// where the tokenizer has that name.
    ///
    /// # Errors
    /// When a part of a `tokenizer.json` grows the text beyond the limit. When it takes too long, the process ends.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, CorpusError> {
        let ids = match self.watch([text.len()])? {
            Some(watch) => watch.run(0, |stage| self.encode_here(text, stage)),
            None => self.encode_here(text, &Stage::default()),
        };
        ids.map_err(|what| self.refused(what))
    }

    /// Watches the encoding of texts of these lengths, if its time is unbounded: only the `tokenizers` crate evaluates
    /// a file's expressions.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn watch(
        &self,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Result<Option<Watch>, CorpusError> {
        let Backend::Library(_) = self.0.way else {
            return Ok(None);
        };
        let this = self.clone();
        let describe = move |slow: &Part| {
            let (stage, bytes) = (slow.stage.name(), slow.bytes());
            let what = format!("its {stage} takes too long for a text of {bytes} bytes");
            this.refused(what).to_string()
        };
        let watch = Watch::start(lengths, MOST_SECONDS, describe);
        let watch = watch.map_err(|e| self.refused(format!("it needs a thread: {e}")))?;
        Ok(Some(watch))
    }

    /// [`Self::encode`] on this thread, without a time limit.
    ///
    /// # Errors
    /// Names the part that grows the text beyond the limit.
    pub(super) fn encode_here(&self, text: &str, stage: &Stage) -> Result<Vec<u32>, String> {
        match &self.0.way {
            Backend::Byte => {
                let mut ids = Vec::with_capacity(text.len());
                for (i, document) in text.split(END_OF_TEXT).enumerate() {
                    if i > 0 {
                        ids.push(256);
                    }
                    ids.extend(document.bytes().map(u32::from));
                }
                Ok(ids)
            }
            Backend::Own(bpe) => bpe.encode(text, stage),
            Backend::Library(library) => {
                let mut ids = Vec::with_capacity(text.len() / 3);
                library.encode(text, stage, &mut ids)?;
                Ok(ids)
            }
        }
    }

    /// The error that this tokenizer cannot be used, because of `what`.
    pub(super) fn refused(&self, what: String) -> CorpusError {
        let source = self.0.source.get();
        CorpusError::Tokenizer {
            name: source.map_or(self.name(), String::as_str).into(),
            what,
        }
    }

    /// Returns the text of token ids; bytes that are not UTF-8 become replacement characters, unknown ids nothing.
    ///
    /// # Errors
    /// When the decoder of a `tokenizer.json` grows the text beyond the limit, or fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, CorpusError> {
        match (self.bytes(ids), &self.0.way) {
            (Some(bytes), _) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            (None, Backend::Library(library)) => {
                library.decode(ids).map_err(|what| self.refused(what))
            }
            (None, _) => Ok(String::new()),
        }
    }

    /// Returns the bytes of token ids, if each id stands for certain bytes.
    fn bytes(&self, ids: &[u32]) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            match &self.0.way {
                Backend::Byte => match u8::try_from(id) {
                    Ok(byte) => bytes.push(byte),
                    Err(_) if id == 256 => bytes.extend(END_OF_TEXT.bytes()),
                    Err(_) => {}
                },
                Backend::Own(bpe) => bytes.extend(bpe.bytes(id)),
                Backend::Library(_) => return None,
            }
        }
        Some(bytes)
    }

    /// Returns the tokenizer as a Hugging Face `tokenizer.json`; for one that was read from such a file, the original
    /// bytes.
    pub fn tokenizer_json(&self) -> Arc<[u8]> {
        let make = || match &self.0.way {
            Backend::Byte => byte_level::byte_json().to_string().into_bytes().into(),
            Backend::Own(_) => gpt2::json().to_string().into_bytes().into(),
            // Set when it was read.
            Backend::Library(_) => Arc::from([].as_slice()),
        };
        Arc::clone(self.0.json.get_or_init(make))
    }

    /// Distinguishes tokenizers that give other ids: BLAKE3 of the vocabulary and of the ids of a probing text.
    pub fn fingerprint(&self) -> &str {
        self.0.fingerprint.get_or_init(|| {
            let mut hash = blake3::Hasher::new();
            for id in 0..self.size() as u32 {
                let token = self.token(id);
                hash.update(&(token.len() as u64).to_le_bytes());
                hash.update(token.as_bytes());
            }
            // It was encoded once when the tokenizer was read.
            let probe = self.encode_here(PROBE, &Stage::default());
            for id in probe.unwrap_or_default() {
                hash.update(&id.to_le_bytes());
            }
            hash.finalize().to_hex()[..32].to_string()
        })
    }

    /// The token as a vocabulary spells it.
    fn token(&self, id: u32) -> String {
        match &self.0.way {
            Backend::Byte if id == 256 => END_OF_TEXT.into(),
            Backend::Byte => letters::spell(&[id as u8]),
            Backend::Own(bpe) => match bpe.added(id) {
                Some(content) => content.into(),
                None => letters::spell(bpe.bytes(id)),
            },
            Backend::Library(library) => library.library().id_to_token(id).unwrap_or_default(),
        }
    }

    /// Whether a text may be cut after a line break between two characters that are not white space without changing
    /// its ids: true if the splitting is known.
    pub fn cuts_at_lines(&self) -> bool {
        !matches!(self.0.way, Backend::Library(_))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokenizer({}, {} ids)", self.name(), self.size())
    }
}
