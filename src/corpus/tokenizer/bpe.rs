//! Byte-level BPE: splits words into bytes and merges the pair of lowest rank first, the leftmost of equals.
//!
//! Implemented here because `tokenizers` gives the same ids at a fraction of the speed (`docs/models.md`). Every other
//! kind of `tokenizer.json` is left to that crate.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use unicode_normalization::is_nfc;

use super::bounded::{Bounded, Stage};
use super::split::Split;

/// A token that is matched in the text before it is split into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    pub content: String,
    pub id: u32,
    /// Matched after those that are not normalized, in the text between them.
    pub normalized: bool,
}

/// The parts of an encoder.
pub struct Parts {
    /// Bytes of each id; ids without bytes are left out.
    pub tokens: HashMap<u32, Vec<u8>>,
    /// Left, right and merged id, by rank.
    pub merges: Vec<(u32, u32, u32)>,
    pub added: Vec<AddedToken>,
    pub split: Split,
    /// Whether bytes without a token are dropped; otherwise every byte needs a token.
    pub passes_over: bool,
    /// A word that is a token is encoded as that token, regardless of its merges.
    pub whole_words: bool,
    /// Used for texts that are not in normal form C, which this encoder does not normalize itself.
    pub normalizing: Option<Box<Bounded>>,
}

/// A byte-level encoder.
pub struct ByteBpe {
    byte_ids: [u32; 256],
    merges: HashMap<u64, (u32, u32), Fast>,
    /// Bytes by id.
    bytes: Vec<Vec<u8>>,
    /// Ids of words, if complete words are matched.
    words: HashMap<Vec<u8>, u32, Fast>,
    added: Vec<AddedToken>,
    /// Finders of added tokens with the index of each pattern in `added`.
    finders: Vec<(AhoCorasick, Vec<usize>)>,
    split: Split,
    normalizing: Option<Box<Bounded>>,
    /// One for each thread that encodes or has encoded.
    caches: Mutex<Vec<Cache>>,
}

/// Stands for the id of a byte that has no token.
const NO_TOKEN: u32 = u32::MAX;
/// Words up to this length are cached: together with their length they fit one number.
const SHORT: usize = 15;
/// Number of cached words; then the cache is cleared, so that memory is bounded.
const MOST_WORDS: usize = 1 << 17;
/// From this length on the pairs are kept in a heap.
const LONG: usize = 48;

#[derive(Default)]
struct Cache {
    /// The range of a word's ids.
    words: HashMap<u128, (u32, u8), Fast>,
    ids: Vec<u32>,
    /// Scratch.
    symbols: Vec<u32>,
}

impl ByteBpe {
    /// Returns `None` when a byte lacks a token that it needs, or an added token cannot be searched for.
    pub fn new(parts: Parts) -> Option<Self> {
        let Parts {
            tokens,
            merges,
            added,
            split,
            passes_over,
            whole_words,
            normalizing,
        } = parts;
        let mut byte_ids = [NO_TOKEN; 256];
        let mut size = 0;
        for (&id, bytes) in &tokens {
            size = size.max(id as usize + 1);
            if let [byte] = bytes[..] {
                byte_ids[usize::from(byte)] = id;
            }
        }
        // Bytes that never occur in UTF-8 need no token. Other bytes without a token are dropped if the vocabulary has no
        // unknown token.
        let needed = |byte: u8| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        let all = (0..=255).all(|byte| !needed(byte) || byte_ids[usize::from(byte)] != NO_TOKEN);
        if !all && !passes_over {
            return None;
        }
        for token in &added {
            size = size.max(token.id as usize + 1);
        }
        let mut bytes = vec![Vec::new(); size];
        let mut words = HashMap::default();
        for (id, token) in tokens {
            if whole_words {
                words.insert(token.clone(), id);
            }
            bytes[id as usize] = token;
        }
        for token in &added {
            bytes[token.id as usize] = token.content.clone().into_bytes();
        }
        let mut finders = Vec::new();
        for normalized in [false, true] {
            let of: Vec<usize> = (0..added.len())
                .filter(|&i| added[i].normalized == normalized)
                .collect();
            if !of.is_empty() {
                let finder = AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(of.iter().map(|&i| &added[i].content))
                    .ok()?;
                finders.push((finder, of));
            }
        }
        let mut ranks: HashMap<u64, (u32, u32), Fast> = HashMap::default();
        for ((left, right, merged), rank) in merges.into_iter().zip(0..) {
            // The last of equals counts, as in the `tokenizers` crate.
            ranks.insert(pair(left, right), (rank, merged));
        }
        Some(Self {
            byte_ids,
            merges: ranks,
            bytes,
            words,
            added,
            finders,
            split,
            normalizing,
            caches: Mutex::default(),
        })
    }

    /// Returns the bytes of an id; empty for an unknown one.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The content of an added token.
    pub fn added(&self, id: u32) -> Option<&str> {
        let token = self.added.iter().find(|t| t.id == id)?;
        Some(&token.content)
    }

    /// Token ids of a text.
    ///
    /// # Errors
    /// When a part of the tokenizer grows the text beyond the limit.
    pub fn encode(&self, text: &str, stage: &Stage) -> Result<Vec<u32>, String> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        if let Some(library) = &self.normalizing
            && !is_nfc(text)
        {
            library.encode(text, stage, &mut ids)?;
            return Ok(ids);
        }
        let lock = || self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cache = lock().pop().unwrap_or_default();
        self.between_added(text, &self.finders, &mut cache, &mut ids);
        lock().push(cache);
        Ok(ids)
    }

    fn between_added(
        &self,
        text: &str,
        finders: &[(AhoCorasick, Vec<usize>)],
        cache: &mut Cache,
        ids: &mut Vec<u32>,
    ) {
        let Some(((finder, of), rest)) = finders.split_first() else {
            self.split
                .words(text, &mut |word| self.word(word.as_bytes(), cache, ids));
            return;
        };
        let mut start = 0;
        for found in finder.find_iter(text) {
            self.between_added(&text[start..found.start()], rest, cache, ids);
            ids.push(self.added[of[found.pattern().as_usize()]].id);
            start = found.end();
        }
        self.between_added(&text[start..], rest, cache, ids);
    }

    fn word(&self, word: &[u8], cache: &mut Cache, ids: &mut Vec<u32>) {
        if word.len() > SHORT {
            return self.merge(word, &mut cache.symbols, ids);
        }
        let mut key = [0; 16];
        key[..word.len()].copy_from_slice(word);
        key[SHORT] = word.len() as u8;
        let key = u128::from_le_bytes(key);
        if let Some(&(start, n)) = cache.words.get(&key) {
            let start = start as usize;
            ids.extend_from_slice(&cache.ids[start..start + usize::from(n)]);
            return;
        }
        let before = ids.len();
        self.merge(word, &mut cache.symbols, ids);
        if cache.words.len() == MOST_WORDS {
            cache.words.clear();
            cache.ids.clear();
        }
        let n = ids.len() - before;
        cache.words.insert(key, (cache.ids.len() as u32, n as u8));
        cache.ids.extend_from_slice(&ids[before..]);
    }

    fn merge(&self, word: &[u8], symbols: &mut Vec<u32>, ids: &mut Vec<u32>) {
        if let Some(&id) = self.words.get(word) {
            ids.push(id);
            return;
        }
        symbols.clear();
        let ids_of_bytes = word.iter().map(|&b| self.byte_ids[usize::from(b)]);
        symbols.extend(ids_of_bytes.filter(|&id| id != NO_TOKEN));
        if symbols.len() > LONG {
            return self.merge_long(symbols, ids);
        }
        loop {
            let ranks = symbols.windows(2).enumerate().filter_map(|(i, w)| {
                let &(rank, merged) = self.merges.get(&pair(w[0], w[1]))?;
                Some((rank, i, merged))
            });
            let Some((_, i, merged)) = ranks.min() else {
                break;
            };
            symbols[i] = merged;
            symbols.remove(i + 1);
        }
        ids.extend_from_slice(symbols);
    }

    /// Merges pairs as above, in O(n log n): with a heap of pairs, and the symbols as a linked list.
    fn merge_long(&self, symbols: &mut [u32], ids: &mut Vec<u32>) {
        const NONE: u32 = u32::MAX;
        let n = symbols.len();
        let mut next: Vec<u32> = (1..=n as u32).collect();
        next[n - 1] = NONE;
        let mut previous: Vec<u32> = (0..n as u32).map(|i| i.wrapping_sub(1)).collect();
        let mut alive = vec![true; n];
        let mut heap = BinaryHeap::new();
        let push = |heap: &mut BinaryHeap<_>, symbols: &[u32], left: u32, right: u32| {
            let (a, b) = (symbols[left as usize], symbols[right as usize]);
            if let Some(&(rank, merged)) = self.merges.get(&pair(a, b)) {
                heap.push(Reverse((rank, left, right, a, b, merged)));
            }
        };
        for i in 1..n as u32 {
            push(&mut heap, symbols, i - 1, i);
        }
        while let Some(Reverse((_, left, right, a, b, merged))) = heap.pop() {
            let (l, r) = (left as usize, right as usize);
            // Stale: one of the two has been merged with another symbol meanwhile.
            if !alive[l] || !alive[r] || symbols[l] != a || symbols[r] != b || next[l] != right {
                continue;
            }
            symbols[l] = merged;
            alive[r] = false;
            next[l] = next[r];
            if next[l] != NONE {
                previous[next[l] as usize] = left;
                push(&mut heap, symbols, left, next[l]);
            }
            if previous[l] != NONE {
                push(&mut heap, symbols, previous[l], left);
            }
        }
        ids.extend((0..n).filter(|&i| alive[i]).map(|i| symbols[i]));
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

type Fast = BuildHasherDefault<FastHasher>;

/// Hashes by multiplying and folding: vocabularies are bounded and not adversarial, so a slower hash is not needed.
#[derive(Default)]
struct FastHasher(u64);

impl FastHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word) ^ (bytes.len() as u64) << 56);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.add(word.wrapping_add(0x2545_f491_4f6c_dd1d));
    }
    fn write_u128(&mut self, word: u128) {
        self.add(word as u64 ^ 0x2545_f491_4f6c_dd1d);
        self.add((word >> 64) as u64);
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
