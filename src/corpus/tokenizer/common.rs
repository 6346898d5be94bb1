//! Tokens that all vocabularies have in common, and a text that distinguishes them.

/// Separates documents in plain texts, where each tokenizer gets its own end of text.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The most ids a vocabulary may have; more is a damaged file.
pub const MOST_IDS: usize = 1 << 24;

/// Exercises splitting, case, spaces, numbers, accents and other scripts, so that its ids distinguish tokenizers with
/// the same vocabulary.
pub(super) const PROBE: &str =
    "It's 1234 o'clock;  we'LL\n\n\tsee naïve cafés, Straße, 東京 12,5 \u{1f600}…\r\n   end ";
