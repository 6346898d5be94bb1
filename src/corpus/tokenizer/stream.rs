//! Decodes ids one at a time, as they are generated.

use super::Tokenizer;
use crate::corpus::CorpusError;

/// Returns text as soon as further ids cannot change it: bytes of an unfinished character are held back.
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    /// Bytes of an incomplete character, if ids stand for bytes.
    bytes: Vec<u8>,
    /// The ids that the next text may depend on: those of the last returned text, and the ones after it.
    ids: Vec<u32>,
    /// Number of `ids` that have been returned.
    told: usize,
}

impl Tokenizer {
    /// Decodes ids one at a time.
    pub fn stream(&self) -> StreamDecoder {
        StreamDecoder::new(self.clone())
    }
}

impl StreamDecoder {
    pub(super) fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            bytes: Vec::new(),
            ids: Vec::new(),
            told: 0,
        }
    }

    /// The text that `id` completes; empty while a character is unfinished.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, CorpusError> {
        if let Some(bytes) = self.tokenizer.bytes(&[id]) {
            self.bytes.extend(bytes);
            return Ok(self.whole_characters());
        }
        self.ids.push(id);
        let before = self.tokenizer.decode(&self.ids[..self.told])?;
        let all = self.tokenizer.decode(&self.ids)?;
        Ok(match all.strip_prefix(&before) {
            Some(new) if !new.is_empty() && !new.ends_with('\u{fffd}') => {
                let new = new.to_string();
                self.ids.drain(..self.told);
                self.told = self.ids.len();
                new
            }
            _ => String::new(),
        })
    }

    /// Returns the text that was held back, with replacement characters for incomplete ones.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(mut self) -> Result<String, CorpusError> {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
        let before = self.tokenizer.decode(&self.ids[..self.told])?;
        let all = self.tokenizer.decode(&self.ids)?;
        Ok(rest + all.strip_prefix(&before).unwrap_or(""))
    }

    fn whole_characters(&mut self) -> String {
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.bytes) {
                Ok(rest) => {
                    text.push_str(rest);
                    self.bytes.clear();
                    return text;
                }
                Err(error) => {
                    let good = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.bytes[..good]));
                    match error.error_len() {
                        // Unfinished: more may come.
                        None => {
                            self.bytes.drain(..good);
                            return text;
                        }
                        Some(bad) => {
                            text.push('\u{fffd}');
                            self.bytes.drain(..good + bad);
                        }
                    }
                }
            }
        }
    }
}
