//! GPT-2's printable letters for bytes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The letter of each byte: printable bytes stand for themselves, the rest follow from U+0100 on.
static LETTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
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
});

static BYTES: LazyLock<HashMap<char, u8>> =
    LazyLock::new(|| LETTERS.iter().copied().zip(0..=255).collect());

/// Bytes as letters.
pub fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| LETTERS[usize::from(b)]).collect()
}

/// The bytes that letters stand for; none when a character is no such letter.
pub fn bytes(letters: &str) -> Option<Vec<u8>> {
    letters.chars().map(|c| BYTES.get(&c).copied()).collect()
}
