//! GPT-2's encoding, from its 50,000 merges.
//!
//! The merges are embedded, 4 bytes each, as made by `scripts/make_gpt2_merges.py` from OpenAI's `vocab.bpe`. Crates
//! with the vocabulary also contain an encoder and its regular expressions, which are not needed here.

use serde_json::{Value, json};

use super::END_OF_TEXT;
use super::bpe::{AddedToken, ByteBpe, Parts};
use super::byte_level::level_json;
use super::letters::{in_order, spell};
use super::split::{Pattern, Split};

/// Number of ids.
pub const SIZE: usize = 50_257;
/// The id of `<|endoftext|>`.
pub const END_OF_TEXT_ID: u32 = 50_256;

/// Number of single bytes, which are the first ids.
const BYTES: u32 = 256;

/// For each merge, in order of rank, the ids of its left and right token: 16 bits each, little-endian.
static MERGES: &[u8; 4 * (SIZE - 1 - BYTES as usize)] = include_bytes!("gpt2-merges.bin");

/// The encoder.
pub fn encoder() -> ByteBpe {
    let end = AddedToken {
        content: END_OF_TEXT.into(),
        id: END_OF_TEXT_ID,
        normalized: false,
    };
    ByteBpe::new(Parts {
        tokens: (0..).zip(tokens()).collect(),
        merges: merges()
            .zip(BYTES..)
            .map(|((a, b), id)| (a, b, id))
            .collect(),
        added: vec![end],
        split: Split {
            digits_apart: false,
            pattern: Pattern::Gpt2,
        },
        passes_over: false,
        whole_words: false,
        normalizing: None,
    })
    // All bytes are tokens of GPT-2's.
    .unwrap_or_else(|| unreachable!("the embedded vocabulary is complete"))
}

/// `tokenizer.json`.
pub fn json() -> Value {
    let spelled: Vec<String> = tokens().iter().map(|t| spell(t)).collect();
    let merges = merges()
        .map(|(a, b)| json!([spelled[a as usize], spelled[b as usize]]))
        .collect();
    let vocab: serde_json::Map<String, Value> =
        spelled.into_iter().zip((0u32..).map(Value::from)).collect();
    level_json(Value::Object(vocab), merges, END_OF_TEXT_ID, true)
}

/// The ids that each merge joins, in order of rank; the first merge makes the token 256.
fn merges() -> impl Iterator<Item = (u32, u32)> {
    let (pairs, _) = MERGES.as_chunks::<4>();
    pairs.iter().map(|&[a, b, c, d]| {
        let id = |low, high| u32::from(u16::from_le_bytes([low, high]));
        (id(a, b), id(c, d))
    })
}

/// The bytes of the tokens by id, without `<|endoftext|>`.
fn tokens() -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = in_order().map(|byte| vec![byte]).collect();
    for (a, b) in merges() {
        tokens.push([&tokens[a as usize][..], &tokens[b as usize]].concat());
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2s_merges_are_complete() {
        let (tokens, merges): (_, Vec<_>) = (tokens(), merges().collect());
        // GPT-2's merges.txt has 50000 lines and begins with "Ġ t", "Ġ a", "h e".
        assert_eq!(merges.len(), 50_000);
        let bytes = |&(a, b): &(u32, u32)| (&tokens[a as usize][..], &tokens[b as usize][..]);
        let first: Vec<_> = merges[..3].iter().map(bytes).collect();
        assert_eq!(first, [(&b" "[..], &b"t"[..]), (b" ", b"a"), (b"h", b"e")]);
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                let six = (bits >> (18 - 6 * digit)) as usize & 63;
                text.push(match digit <= three.len() {
                    true => char::from(DIGITS[six]),
                    false => '=',
                });
            }
        }
        text
    }

    /// Every token has OpenAI's id: printed, they equal tiktoken's file `r50k_base.tiktoken`, whose `b3sum` this is.
    #[test]
    fn every_id_is_openais() {
        let tokens = tokens();
        let lines = tokens.iter().zip(0..);
        let file: String = lines
            .map(|(token, id)| format!("{} {id}\n", base64(token)))
            .collect();
        assert!(file.starts_with("IQ== 0\n"), "{}", &file[..40]);
        assert_eq!(
            blake3::hash(file.as_bytes()).to_hex().as_str(),
            "5e60c911b5da8606450a7854ebe49de4952c86da03f51cea2ad9a3f3d40395e5"
        );
    }
}
