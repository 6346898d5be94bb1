//! GPT-2's encoding from the ranks embedded in tiktoken-rs.

use std::collections::HashMap;

use serde_json::{Value, json};
use tiktoken_rs::CoreBPE;

use super::bpe::{AddedToken, ByteBpe, Parts};
use super::letters::spell;
use super::split::{Pattern, Split};
use super::{END_OF_TEXT, level_json};

/// Number of ids.
pub const SIZE: usize = 50_257;
/// The id of `<|endoftext|>`.
pub const END_OF_TEXT_ID: u32 = 50_256;

/// The encoder.
pub fn encoder() -> ByteBpe {
    let tokens = tokens();
    let merges = merges(&tokens);
    let id: HashMap<&[u8], u32> = tokens.iter().map(Vec::as_slice).zip(0..).collect();
    let merges = merges
        .iter()
        .filter_map(|(a, b)| {
            Some((
                *id.get(&a[..])?,
                *id.get(&b[..])?,
                *id.get(&[&a[..], b].concat()[..])?,
            ))
        })
        .collect();
    let end = AddedToken {
        content: END_OF_TEXT.into(),
        id: END_OF_TEXT_ID,
        normalized: false,
    };
    ByteBpe::new(Parts {
        tokens: tokens.into_iter().zip(0..).map(|(t, id)| (id, t)).collect(),
        merges,
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
    .unwrap_or_else(|| unreachable!("the embedded vocabulary is whole"))
}

/// `tokenizer.json`.
pub fn json() -> Value {
    let tokens = tokens();
    let vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .zip(0u32..)
        .map(|(t, id)| (spell(t), id.into()))
        .collect();
    let merges = merges(&tokens)
        .into_iter()
        .map(|(a, b)| json!([spell(&a), spell(&b)]))
        .collect();
    level_json(Value::Object(vocab), merges, END_OF_TEXT_ID, true)
}

fn bpe() -> &'static CoreBPE {
    tiktoken_rs::r50k_base_singleton()
}

/// The bytes of the tokens by id, without `<|endoftext|>`.
fn tokens() -> Vec<Vec<u8>> {
    (0..END_OF_TEXT_ID)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2s_merges_are_complete() {
        let tokens = tokens();
        let merges = merges(&tokens);
        // GPT-2's merges.txt has 50000 lines and begins with "Ġ t", "Ġ a", "h e".
        assert_eq!(merges.len(), 50_000);
        let first: Vec<_> = merges[..3].iter().map(|(a, b)| (&a[..], &b[..])).collect();
        assert_eq!(first, [(&b" "[..], &b"t"[..]), (b" ", b"a"), (b"h", b"e")]);
    }
}
