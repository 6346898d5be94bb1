//! Determines the width of the ids of a file without a header.

use crate::corpus::tokens::Width;

/// Words of 4 bytes that are inspected together, and number of such blocks.
const BLOCK_WORDS: usize = 1024;
const BLOCKS: usize = 64;
/// Below this number of words, zero high halves may be a coincidence.
const FEWEST_WORDS: usize = 8;
/// From this number of words on, the high halves need not all be 0.
const MANY_WORDS: usize = 16;

/// Returns the width of the ids of a file without a header. Read as u16, ids of four bytes would be pairs whose second
/// is 0, or below 16 for vocabularies up to a million, while the first has any size: no text looks like that.
///
/// # Errors
/// When the ids seem to have 8 bytes or some of them to be negative, or when a small file may hold u16 as well as u32.
pub fn by_values(bytes: &[u8]) -> Result<Width, String> {
    let words = bytes.len() / 4;
    if !bytes.len().is_multiple_of(4) || words == 0 {
        return Ok(Width::Two);
    }
    // Words that are not negative.
    let (mut low, mut high) = (0, 0);
    let mut negative = false;
    // Over the words of even and of odd number, of these without what extends a negative number to 8 bytes.
    let mut parts = [0, 0];
    let last = words.saturating_sub(BLOCK_WORDS);
    for block in 0..BLOCKS {
        // Evenly strided from the first to the last, each from a word of even number on.
        let start = (last as u128 * block as u128 / (BLOCKS as u128 - 1)) as usize / 2 * 2;
        let end = (start + BLOCK_WORDS).min(words);
        for (i, word) in bytes[4 * start..4 * end].chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            if i % 2 == 0 || word != u32::MAX {
                parts[i % 2] = parts[i % 2].max(word);
            }
            match word >> 16 {
                0xFFFF => negative = true,
                half => {
                    low = low.max(word & 0xFFFF);
                    high = high.max(half);
                }
            }
        }
    }
    let some = low > 0 || high > 0;
    if bytes.len().is_multiple_of(8) && words >= FEWEST_WORDS && some && parts[1] == 0 {
        return Err(
            "its ids seem to have 8 bytes each (int64), and 2 or 4 are read; save them as uint16 or uint32. If they do not, \
             give the file the ending .u16.bin or .u32.bin"
                .into(),
        );
    }
    let all_short = high == 0 && low > 0;
    let some_long = high < 16 && low >= 256;
    if !all_short && !some_long {
        return Ok(Width::Two);
    }
    if negative {
        return Err(
            "its ids seem to have 4 bytes each (int32), and some of them are negative, as labels of -100 are; save the ids of \
             the tokens alone. If they have 2, give the file the ending .u16.bin"
                .into(),
        );
    }
    let enough = match all_short {
        true => FEWEST_WORDS,
        false => MANY_WORDS,
    };
    match words >= enough {
        true => Ok(Width::Four),
        false => Err(format!(
            "its {} bytes may be ids of 2 or of 4 bytes each, and are too few to show which; give the file the ending \
             .u16.bin or .u32.bin",
            bytes.len()
        )),
    }
}
