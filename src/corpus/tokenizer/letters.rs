//! GPT-2's printable letters for bytes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The letter of each byte: printable bytes are their own letters, the others get letters from U+0100 on.
static LETTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut letters = ['\0'; 256];
    let mut next = 0x100;
    for (byte, letter) in (0..=255).zip(letters.iter_mut()) {
        let code = if is_printable(byte) {
            u32::from(byte)
        } else {
            next += 1;
            next - 1
        };
        // All these code points are characters.
        *letter = char::from_u32(code).unwrap_or('?');
    }
    letters
});

/// Whether a byte is its own letter.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// All bytes in the order of GPT-2's ids: the printable ones first.
pub fn in_order() -> impl Iterator<Item = u8> {
    let of = |printable| (0..=255).filter(move |&byte| is_printable(byte) == printable);
    of(true).chain(of(false))
}

static BYTES: LazyLock<HashMap<char, u8>> =
    LazyLock::new(|| LETTERS.iter().copied().zip(0..=255).collect());

/// Returns bytes as letters.
pub fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| LETTERS[usize::from(b)]).collect()
}

/// Returns the bytes that letters stand for; `None` when a character is not such a letter.
pub fn bytes(letters: &str) -> Option<Vec<u8>> {
    letters.chars().map(|c| BYTES.get(&c).copied()).collect()
}
