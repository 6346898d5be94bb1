//! Where the ids of a token file begin, how many there are and how wide, from its bytes.

use std::path::Path;

use crate::corpus::tokens::Width;

/// llm.c: 256 little-endian i32, of which the first three are magic, version and number of tokens.
pub const LLM_C: i32 = 20_240_520;
/// The same with u32 ids, for vocabularies above 65536.
pub const LLAMA_3: i32 = 20_240_801;
pub const LLM_C_BYTES: usize = 256 * 4;
pub const LLM_C_VERSION: i32 = 1;
pub const LLAMA_3_VERSION: i32 = 7;

/// What else llm.c writes under the ending `.bin`, by its magic number.
const NOT_TOKENS: [(i32, &str); 6] = [
    (20_240_326, "weights of GPT-2, which llm.c trains"),
    (20_240_327, "an llm.c debug state of GPT-2"),
    (20_240_328, "an llm.c tokenizer"),
    (
        20_240_522,
        "an llm.c evaluation file (HellaSwag): contexts and endings with labels",
    ),
    (20_240_803, "weights of Llama 3, which llm.c trains"),
    (20_240_804, "an llm.c debug state of Llama 3"),
];

const PACKED: &[u8] = b"LITPKDS";
const PACKED_BYTES: usize = 24;
const NPY: &[u8] = b"\x93NUMPY";
/// A longer `.npy` header describes no plain array.
const MOST_NPY_HEADER: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    NanoGpt,
    LlmC,
    LitGpt,
    Npy,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NanoGpt => "nanoGPT tokens (no header)",
            Self::LlmC => "llm.c tokens",
            Self::LitGpt => "lit-gpt packed tokens",
            Self::Npy => "NumPy tokens",
        })
    }
}

/// Where ids lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub format: Format,
    /// First byte of the ids.
    pub offset: usize,
    pub width: Width,
    /// Number of ids.
    pub n: usize,
}

/// What a token file's name says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `.bin`: any format.
    Bin,
    /// `.u16.bin`, `.u32.bin`: the width of its ids, should it have no header.
    Ids(Width),
    /// `.npy`: a NumPy array.
    Npy,
}

impl Named {
    /// Reads a file's name.
    pub fn of(path: &Path) -> Self {
        let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let inner = path.file_stem().and_then(|stem| ending(Path::new(stem)));
        match (ending(path).as_deref(), inner.as_deref()) {
            (Some("npy"), _) => Self::Npy,
            (_, Some("u16" | "uint16")) => Self::Ids(Width::Two),
            (_, Some("u32" | "uint32")) => Self::Ids(Width::Four),
            _ => Self::Bin,
        }
    }
}

/// Reads the header of a token file. The ids promised are there: `offset + n * width` is within `bytes`. The ids of a file
/// without a header are as wide as its name says, or else as their values do ([`width_by_values`]).
///
/// # Errors
/// What is wrong, as a sentence without the file's name.
pub fn layout(bytes: &[u8], named: Named) -> Result<Layout, String> {
    if bytes.starts_with(PACKED) {
        return packed(bytes);
    }
    if bytes.starts_with(NPY) {
        return npy(bytes);
    }
    if named == Named::Npy {
        return Err("it does not begin as a NumPy array does".into());
    }
    match i32_at(bytes, 0) {
        Some(LLM_C) => return llm_c(bytes, LLM_C_VERSION, Width::Two),
        Some(LLAMA_3) => return llm_c(bytes, LLAMA_3_VERSION, Width::Four),
        Some(magic) if bytes.len() >= LLM_C_BYTES => {
            let known = NOT_TOKENS.iter().find(|(number, _)| *number == magic);
            if let Some((_, what)) = known {
                return Err(format!("it is {what}; it holds no tokens to train on"));
            }
        }
        _ => {}
    }
    let width = match named {
        Named::Ids(width) => width,
        _ => width_by_values(bytes)?,
    };
    if !bytes.len().is_multiple_of(width.bytes()) {
        return Err(format!(
            "{} bytes are no whole number of {} tokens, and no known header begins them",
            bytes.len(),
            width.name()
        ));
    }
    Ok(Layout {
        format: Format::NanoGpt,
        offset: 0,
        width,
        n: bytes.len() / width.bytes(),
    })
}

/// Words of 4 bytes that are looked at together, and how many such blocks.
const BLOCK_WORDS: usize = 1024;
const BLOCKS: usize = 64;
/// Words below which halves that are 0 may be so by chance.
const FEWEST_WORDS: usize = 8;
/// Words from which on the high halves need not all be 0.
const MANY_WORDS: usize = 16;

/// Returns how wide the ids of a file without a header are. As u16, ids of four bytes would be pairs whose second is 0, or
/// below 16 for vocabularies up to a million, while the first are of any size: texts are not like that.
///
/// # Errors
/// When the ids seem to have 8 bytes or some of them to be negative, or when a small file may hold u16 as well as u32.
fn width_by_values(bytes: &[u8]) -> Result<Width, String> {
    let words = bytes.len() / 4;
    if !bytes.len().is_multiple_of(4) || words == 0 {
        return Ok(Width::Two);
    }
    // Of words that are not negative.
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

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// `n` ids from `offset` on, if the file has them.
fn within(
    bytes: &[u8],
    format: Format,
    offset: usize,
    width: Width,
    n: u64,
) -> Result<Layout, String> {
    let have = bytes.len().saturating_sub(offset) / width.bytes();
    match usize::try_from(n) {
        Ok(n) if n <= have => Ok(Layout {
            format,
            offset,
            width,
            n,
        }),
        _ => Err(format!(
            "it is cut off: the header tells of {n} tokens, there are {have}"
        )),
    }
}

fn llm_c(bytes: &[u8], version: i32, width: Width) -> Result<Layout, String> {
    if bytes.len() < LLM_C_BYTES {
        return Err("it ends within its header".into());
    }
    let said = i32_at(bytes, 4).unwrap_or(0);
    if said != version {
        return Err(format!(
            "its header says version {said}; {version} is known"
        ));
    }
    let n = i32_at(bytes, 8).unwrap_or(0);
    let n = u64::try_from(n).map_err(|_| format!("its header tells of {n} tokens"))?;
    within(bytes, Format::LlmC, LLM_C_BYTES, width, n)
}

fn packed(bytes: &[u8]) -> Result<Layout, String> {
    let (Some(version), Some(&dtype), Some(chunk)) =
        (u64_at(bytes, 7), bytes.get(15), u64_at(bytes, 16))
    else {
        return Err("it ends within its header".into());
    };
    if version != 1 {
        return Err(format!("its header says version {version}; 1 is known"));
    }
    let width = match dtype {
        8 => Width::Two,
        4 => Width::Four,
        _ => {
            return Err(format!(
                "its ids are of type {dtype}; 8 (u16) and 4 (i32) are known"
            ));
        }
    };
    let mut layout = within(bytes, Format::LitGpt, PACKED_BYTES, width, chunk)?;
    // The last chunk of a data set is filled up with the separator: one of those ends the last document, the rest is
    // no text.
    let ids = &bytes[PACKED_BYTES..PACKED_BYTES + layout.n * width.bytes()];
    let mut ids = ids.chunks_exact(width.bytes()).rev();
    if let Some(last) = ids.next() {
        layout.n -= ids.take_while(|id| *id == last).count();
    }
    Ok(layout)
}

fn npy(bytes: &[u8]) -> Result<Layout, String> {
    let short = || "it ends within its header".to_string();
    let (length, start) = match bytes.get(6).ok_or_else(short)? {
        1 => match bytes.get(8..10) {
            Some(b) => (usize::from(u16::from_le_bytes([b[0], b[1]])), 10),
            None => return Err(short()),
        },
        2 | 3 => match i32_at(bytes, 8) {
            Some(n) => (n as u32 as usize, 12),
            None => return Err(short()),
        },
        other => {
            return Err(format!(
                "its header says NumPy format {other}; 1 to 3 are known"
            ));
        }
    };
    if length > MOST_NPY_HEADER {
        return Err(format!(
            "its header of {length} bytes is too long for a plain array"
        ));
    }
    let text = bytes.get(start..start + length).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| "its header is no text".to_string())?;
    let (width, n) = npy_header(text)?;
    within(bytes, Format::Npy, start + length, width, n)
}

/// `{'descr': '<u2', 'fortran_order': False, 'shape': (100000000,), }`, keys in any order.
fn npy_header(text: &str) -> Result<(Width, u64), String> {
    let odd = || {
        format!(
            "its header is not that of a plain array: {}",
            crate::text::cut(&crate::text::clean(text.trim()), 100)
        )
    };
    let body = text
        .trim()
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'));
    let mut rest = body.ok_or_else(odd)?.trim();
    let (mut width, mut n) = (None, None);
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or_else(odd)?;
        let after = after.trim_start();
        // A value ends with the next comma outside of a tuple.
        let end = match after.starts_with('(') {
            true => after.find(')').ok_or_else(odd)? + 1,
            false => after.find(',').unwrap_or(after.len()),
        };
        let (value, after) = after.split_at(end);
        let value = value.trim();
        match key.trim() {
            "'descr'" => {
                width = Some(match value {
                    "'<u2'" => Ok(Width::Two),
                    "'<u4'" | "'<i4'" => Ok(Width::Four),
                    other => Err(other),
                });
            }
            // Of one dimension both orders are the same, but numpy writes False for it.
            "'fortran_order'" if value == "False" => {}
            "'fortran_order'" => return Err("it is in Fortran order; save it in C order".into()),
            "'shape'" => {
                let inner = value.strip_prefix('(').and_then(|v| v.strip_suffix(",)"));
                let Some(inner) = inner.filter(|i| i.bytes().all(|b| b.is_ascii_digit())) else {
                    return Err(format!(
                        "its shape is {}; one dimension is expected",
                        crate::text::cut(&crate::text::clean(value), 60)
                    ));
                };
                n = Some(inner.parse().map_err(|_| odd())?);
            }
            _ => return Err(odd()),
        }
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    match width.zip(n).ok_or_else(odd)? {
        (Ok(width), n) => Ok((width, n)),
        // An array of nothing has the type of no id: numpy makes it one of floats.
        (Err(_), 0) => Ok((Width::Two, 0)),
        (Err(other), _) => {
            let other = crate::text::cut(other, 40).into_owned();
            Err(format!(
                "its ids are of type {}; '<u2', '<u4' and '<i4' are known",
                crate::text::clean(&other)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llm_c(magic: i32, version: i32, n: i32, ids: usize) -> Vec<u8> {
        let mut words = [0; 256];
        words[..3].copy_from_slice(&[magic, version, n]);
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize(bytes.len() + ids, 7);
        bytes
    }

    fn packed(version: u64, dtype: u8, chunk: u64, ids: &[u8]) -> Vec<u8> {
        let mut bytes = b"LITPKDS".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.push(dtype);
        bytes.extend(chunk.to_le_bytes());
        bytes.extend_from_slice(ids);
        bytes
    }

    fn npy(header: &str, ids: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.resize(bytes.len() + ids, 7);
        bytes
    }

    const NPY: &str = "{'descr': '<u2', 'fortran_order': False, 'shape': (5,), }    \n";

    #[test]
    fn every_format_is_told_by_its_content() {
        let is = |bytes: &[u8], format, offset, width, n| {
            let want = Layout {
                format,
                offset,
                width,
                n,
            };
            assert_eq!(layout(bytes, Named::Bin), Ok(want));
        };
        is(&[1, 0, 2, 0], Format::NanoGpt, 0, Width::Two, 2);
        is(&llm_c(LLM_C, 1, 3, 6), Format::LlmC, 1024, Width::Two, 3);
        is(
            &llm_c(LLAMA_3, 7, 3, 12),
            Format::LlmC,
            1024,
            Width::Four,
            3,
        );
        let start = 10 + NPY.len();
        is(&npy(NPY, 10), Format::Npy, start, Width::Two, 5);
        let four = NPY.replace("<u2", "<i4");
        is(&npy(&four, 20), Format::Npy, start, Width::Four, 5);
        // As numpy writes np.array([]).
        let none = NPY.replace("<u2", "<f8").replace("(5,)", "(0,)");
        is(&npy(&none, 0), Format::Npy, start, Width::Two, 0);
        // The last chunk is filled up with the separator, of which one stays.
        let ids = [5, 0, 6, 0, 0, 0, 0, 0, 0, 0];
        is(&packed(1, 8, 5, &ids), Format::LitGpt, 24, Width::Two, 3);
        let ids = [5, 0, 0, 0, 6, 0, 0, 0];
        is(&packed(1, 4, 2, &ids), Format::LitGpt, 24, Width::Four, 2);
    }

    #[test]
    fn hostile_headers_are_refused() {
        let refused = |bytes: &[u8], what: &str| {
            let error = layout(bytes, Named::Bin).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused(&[1, 0, 2], "3 bytes are no whole number of u16 tokens");
        refused(&llm_c(LLM_C, 1, 3, 4), "tells of 3 tokens, there are 2");
        refused(&llm_c(LLM_C, 2, 3, 6), "version 2; 1 is known");
        refused(&llm_c(LLAMA_3, 1, 3, 12), "version 1; 7 is known");
        refused(&llm_c(LLM_C, 1, -1, 6), "tells of -1 tokens");
        refused(&llm_c(LLM_C, 1, 3, 6)[..1000], "ends within its header");
        refused(&packed(2, 8, 1, &[0, 0]), "version 2");
        refused(&packed(1, 6, 1, &[0; 4]), "of type 6");
        for chunk in [2, u64::MAX, u64::MAX / 2 + 1] {
            refused(&packed(1, 8, chunk, &[0, 0]), "there are 1");
        }
        refused(b"LITPKDS\x01", "ends within its header");
        for (from, to, what) in [
            ("<u2", "<f8", "of type '<f8'"),
            ("<u2", ">u2", "of type '>u2'"),
            ("<u2", "|O", "of type '|O'"),
            ("False", "True", "Fortran order"),
            ("(5,)", "(5, 1)", "one dimension"),
            ("(5,)", "()", "one dimension"),
            ("(5,)", "(-5,)", "one dimension"),
            ("(5,)", "(6,)", "tells of 6 tokens, there are 5"),
            ("(5,)", "(18446744073709551615,)", "there are 5"),
            (
                "(5,)",
                "(99999999999999999999,)",
                "not that of a plain array",
            ),
            ("(5,)", "(,)", "not that of a plain array"),
            ("'shape'", "'shade'", "not that of a plain array"),
            ("'shape': (5,), ", "", "not that of a plain array"),
            ("}", "", "not that of a plain array"),
        ] {
            refused(&npy(&NPY.replace(from, to), 10), what);
        }
        refused(b"\x93NUMPY\x01\x00\xff\xff", "ends within its header");
        refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "too long");
        refused(b"\x93NUMPY\x09\x00", "NumPy format 9");
        refused(b"\x93NUMPY", "ends within its header");
        assert!(layout(&[1, 0], Named::Npy).unwrap_err().contains("NumPy"));
    }
    #[test]
    fn the_width_of_ids_without_a_header_shows_in_their_values() {
        let short = |ids: &[u16]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
        let long = |ids: &[u32]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
        let wide = |ids: &[u64]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
        // Ids as a text has them: of any size, many of them small.
        let id = |i: u32, vocab: u32| (i.wrapping_mul(2_654_435_761) >> 7) % vocab;
        let ids = |n: u32, vocab: u32| -> Vec<u32> { (0..n).map(|i| id(i, vocab)).collect() };
        let narrow =
            |n: u32, vocab: u32| -> Vec<u16> { ids(n, vocab).iter().map(|&i| i as u16).collect() };
        let is = |bytes: &[u8], named| layout(bytes, named).map(|l| (l.width, l.n));
        let bin = |bytes: &[u8]| is(bytes, Named::Bin);
        for (vocab, n) in [
            (256, 8),
            (50_257, 8),
            (65, 100),
            (50_257, 300_000),
            (128_256, 16),
            (128_256, 40),
            (128_256, 100),
            (151_936, 300_000),
        ] {
            let bytes = long(&ids(n, vocab));
            assert_eq!(bin(&bytes), Ok((Width::Four, n as usize)), "{vocab} {n}");
        }
        for (vocab, n) in [
            (257, 8),
            (65, 100),
            (50_257, 301),
            (50_257, 300_000),
            (16, 1000),
            (4, 1000),
            (2, 64),
        ] {
            let bytes = short(&narrow(n, vocab));
            assert_eq!(bin(&bytes), Ok((Width::Two, n as usize)), "{vocab} {n}");
        }
        // Too few for 4 bytes each, all alike, or not a multiple of 4 bytes: as nanoGPT has them.
        for bytes in [
            short(&[5, 6]),
            short(&[104, 101, 108, 108, 111, 10]),
            short(&[31_373, 995, 50_256]),
            short(&[1, 2, 3, 1]),
            vec![0; 4],
            vec![0; 4000],
            short(&[65_535; 40]),
            short(&[7; 2001]),
            Vec::new(),
        ] {
            assert_eq!(bin(&bytes), Ok((Width::Two, bytes.len() / 2)));
        }
        let error = bin(&wide(
            &ids(100, 50_257)
                .into_iter()
                .map(u64::from)
                .collect::<Vec<_>>(),
        ));
        assert!(error.unwrap_err().contains("8 bytes each"));
        // Small files that may be either are left to the user.
        let labels = |n: u32| {
            let mut labels = vec![-100i32 as u32; 10];
            labels.extend(ids(n, 50_257));
            labels
        };
        for (bytes, what) in [
            (
                long(&ids(7, 50_257)),
                "its 28 bytes may be ids of 2 or of 4",
            ),
            (long(&ids(15, 128_256)), "its 60 bytes may be ids"),
            (
                long(&[128_000]),
                "give the file the ending .u16.bin or .u32.bin",
            ),
            (long(&[5, 6]), "its 8 bytes may be ids"),
            (short(&[300, 5, 400, 7]), "its 8 bytes may be ids"),
            (wide(&[31_373, 995]), "its 16 bytes may be ids"),
            (wide(&[31_373, 995, 50_256, 0]), "8 bytes each (int64)"),
            (wide(&[5, 6, 7, 8, 9, 10, 11]), "8 bytes each (int64)"),
            (wide(&[-100i64 as u64, 6, 7, 8, 9]), "8 bytes each (int64)"),
            (long(&labels(200)), "some of them are negative"),
            (long(&labels(2)), "some of them are negative"),
        ] {
            let error = bin(&bytes).unwrap_err();
            assert!(error.contains(what), "{what}: {error}");
        }
        // The name has the last word.
        assert_eq!(
            is(&long(&labels(2)), Named::Ids(Width::Two)),
            Ok((Width::Two, 24))
        );
        let named = |name: &str| Named::of(Path::new(name));
        assert_eq!(
            is(&long(&[70_000, 2]), named("a.u32.bin")),
            Ok((Width::Four, 2))
        );
        assert_eq!(
            is(&long(&ids(100, 300)), named("a.uint16.bin")),
            Ok((Width::Two, 200))
        );
        assert!(
            is(&[0; 6], named("a.uint32.bin"))
                .unwrap_err()
                .contains("u32 tokens")
        );
        assert_eq!(named("d.u32/a.bin"), Named::Bin);
        assert_eq!(named("a.u32.npy"), Named::Npy);
        // A header has the very last.
        assert_eq!(
            is(&llm_c(LLM_C, 1, 3, 6), named("a.u32.bin")),
            Ok((Width::Two, 3))
        );
    }

    #[test]
    fn other_files_of_llm_c_are_named() {
        for (magic, what) in [
            (20_240_522, "evaluation file (HellaSwag)"),
            (20_240_326, "weights of GPT-2"),
            (20_240_803, "weights of Llama 3"),
            (20_240_328, "an llm.c tokenizer"),
        ] {
            let error = layout(&llm_c(magic, 1, 3, 600), Named::Bin).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
