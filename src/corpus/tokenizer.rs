//! Bytes and GPT-2's byte-pair encoding, both without any file.

use std::collections::HashMap;

use serde_json::{Value, json};
use tiktoken_rs::CoreBPE;

use super::CorpusError;

/// Separates documents.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Text to token ids and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenizer {
    /// Ids 0 to 255 are byte values, 256 is `<|endoftext|>`.
    Byte,
    /// GPT-2's encoding: 50257 ids, 50256 is `<|endoftext|>`.
    Gpt2,
}

impl Tokenizer {
    /// The tokenizer a config means by `byte` or `gpt2`.
    ///
    /// # Errors
    /// For any other name.
    pub fn from_name(name: &str) -> Result<Self, CorpusError> {
        match name {
            "byte" => Ok(Self::Byte),
            "gpt2" => Ok(Self::Gpt2),
            _ => Err(CorpusError::UnknownTokenizer { name: name.into() }),
        }
    }

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Byte => "byte",
            Self::Gpt2 => "gpt2",
        }
    }

    /// Number of ids.
    pub fn size(self) -> usize {
        match self {
            Self::Byte => 257,
            Self::Gpt2 => 50257,
        }
    }

    /// [`Self::size`] rounded up to a multiple of 64, for matrix products.
    pub fn padded_vocab(self) -> usize {
        self.size().next_multiple_of(64)
    }

    /// The id of `<|endoftext|>`.
    pub fn end_of_text(self) -> u16 {
        (self.size() - 1) as u16 // both sizes fit
    }

    /// Token ids of a text; `<|endoftext|>` in it is one token.
    pub fn encode(self, text: &str) -> Vec<u16> {
        match self {
            Self::Byte => {
                let mut ids = Vec::with_capacity(text.len());
                for (i, document) in text.split(END_OF_TEXT).enumerate() {
                    if i > 0 {
                        ids.push(self.end_of_text());
                    }
                    ids.extend(document.bytes().map(u16::from));
                }
                ids
            }
            Self::Gpt2 => {
                let ids = bpe().encode_with_special_tokens(text);
                // GPT-2's ids end at 50256.
                ids.into_iter().map(|id| id as u16).collect()
            }
        }
    }

    /// The text of token ids; bytes that are no UTF-8 become replacement characters, unknown ids nothing.
    pub fn decode(self, ids: &[u16]) -> String {
        let mut bytes = Vec::with_capacity(ids.len());
        for &id in ids {
            match (self, u8::try_from(id)) {
                (Self::Byte, Ok(byte)) => bytes.push(byte),
                (Self::Byte, Err(_)) if id == self.end_of_text() => {
                    bytes.extend(END_OF_TEXT.bytes())
                }
                (Self::Byte, Err(_)) => {}
                (Self::Gpt2, _) => {
                    bytes.extend(bpe().decode_bytes(&[u32::from(id)]).unwrap_or_default())
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same tokenizer as a Hugging Face `tokenizer.json`: byte-level BPE, without merges for bytes.
    pub fn tokenizer_json(self) -> Value {
        let letters = byte_letters();
        let spell = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|&b| letters[usize::from(b)])
                .collect::<String>()
        };
        let (vocab, merges) = match self {
            Self::Byte => (
                (0..=255u8).map(|b| (spell(&[b]), u32::from(b))).collect(),
                Vec::new(),
            ),
            Self::Gpt2 => {
                let tokens = gpt2_tokens();
                let vocab: serde_json::Map<String, Value> = tokens
                    .iter()
                    .zip(0u32..)
                    .map(|(t, id)| (spell(t), id.into()))
                    .collect();
                let merges = merges(&tokens)
                    .into_iter()
                    .map(|(a, b)| json!([spell(&a), spell(&b)]))
                    .collect();
                return self.json(Value::Object(vocab), merges);
            }
        };
        let vocab: Vec<(String, u32)> = vocab;
        let vocab = vocab
            .into_iter()
            .map(|(t, id)| (t, Value::from(id)))
            .collect();
        self.json(Value::Object(vocab), merges)
    }

    fn json(self, vocab: Value, merges: Vec<Value>) -> Value {
        let by_words = self == Self::Gpt2;
        let level = |trim: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim, "use_regex": by_words});
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [{
                "id": self.end_of_text(), "content": END_OF_TEXT, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true
            }],
            "normalizer": null,
            "pre_tokenizer": level(true),
            "post_processor": level(false),
            "decoder": level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
                "vocab": vocab, "merges": merges
            }
        })
    }
}

/// GPT-2's encoder, built once.
fn bpe() -> &'static CoreBPE {
    tiktoken_rs::r50k_base_singleton()
}

/// The bytes of GPT-2's tokens by id, without `<|endoftext|>`.
fn gpt2_tokens() -> Vec<Vec<u8>> {
    (0..50256)
        .map(|id| bpe().decode_bytes(&[id]).unwrap_or_default())
        .collect()
}

/// The merge that makes each token, in order of rank: a token's parts are what its bytes come to with the earlier
/// merges alone.
fn merges(tokens: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rank: HashMap<&[u8], usize> = tokens
        .iter()
        .enumerate()
        .map(|(i, t)| (t.as_slice(), i))
        .collect();
    let mut all = Vec::new();
    for (own, token) in tokens.iter().enumerate().filter(|(_, t)| t.len() > 1) {
        let mut parts: Vec<&[u8]> = token.chunks(1).collect();
        while parts.len() > 2 {
            let joined = |i: usize| {
                let from: usize = parts[..i].iter().map(|p| p.len()).sum();
                &token[from..from + parts[i].len() + parts[i + 1].len()]
            };
            let best = (0..parts.len() - 1)
                .filter_map(|i| rank.get(joined(i)).map(|&r| (r, i)))
                .filter(|&(r, _)| r < own)
                .min();
            let Some((_, i)) = best else { break };
            let merged = joined(i);
            parts.splice(i..i + 2, [merged]);
        }
        if let [a, b] = parts[..] {
            all.push((a.to_vec(), b.to_vec()));
        }
    }
    all
}

/// GPT-2's printable letter for each byte: printable bytes stand for themselves, the rest follow from U+0100 on.
fn byte_letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut next = 0x100;
    for (byte, letter) in (0u32..).zip(letters.iter_mut()) {
        let plain = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if plain {
            byte
        } else {
            next += 1;
            next - 1
        };
        // All these code points are characters.
        *letter = char::from_u32(code).unwrap_or('?');
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the npm package gpt-3-encoder by tests/fixtures/make_tokenizer_fixture.cjs.
    const FIXTURE: &str = include_str!("../../tests/fixtures/tokenizer.json");

    #[test]
    fn ids_are_those_of_the_reference_implementations() {
        let cases: Vec<Value> = serde_json::from_str(FIXTURE).unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            for tokenizer in [Tokenizer::Byte, Tokenizer::Gpt2] {
                let want: Vec<u16> =
                    serde_json::from_value(case[tokenizer.name()].clone()).unwrap();
                assert_eq!(tokenizer.encode(text), want, "{tokenizer:?} of {text:?}");
                assert_eq!(tokenizer.decode(&want), text);
            }
        }
    }

    #[test]
    fn gpt2s_merges_are_complete() {
        let tokens = gpt2_tokens();
        let merges = merges(&tokens);
        // GPT-2's merges.txt has 50000 lines and begins with "Ġ t", "Ġ a", "h e".
        assert_eq!(merges.len(), 50_000);
        let first: Vec<_> = merges[..3].iter().map(|(a, b)| (&a[..], &b[..])).collect();
        assert_eq!(first, [(&b" "[..], &b"t"[..]), (b" ", b"a"), (b"h", b"e")]);
    }

    #[test]
    fn sizes_are_padded_to_64() {
        assert_eq!(Tokenizer::Byte.padded_vocab(), 320);
        assert_eq!(Tokenizer::Gpt2.padded_vocab(), 50304);
        assert!(Tokenizer::from_name("llama").is_err());
    }
}
