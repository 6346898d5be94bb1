//! Where the ids of a token file begin, how many there are and how wide, from its bytes.

use crate::corpus::tokens::Width;

/// llm.c: 256 little-endian i32, of which the first three are magic, version and number of tokens.
pub const LLM_C: i32 = 20_240_520;
/// The same with u32 ids, for vocabularies above 65536.
pub const LLAMA_3: i32 = 20_240_801;
pub const LLM_C_BYTES: usize = 256 * 4;
pub const LLM_C_VERSION: i32 = 1;
pub const LLAMA_3_VERSION: i32 = 7;

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

/// Reads the header of a token file. The ids promised are there: `offset + n * width` is within `bytes`.
///
/// # Errors
/// What is wrong, as a sentence without the file's name.
pub fn layout(bytes: &[u8], must_be_npy: bool) -> Result<Layout, String> {
    if bytes.starts_with(PACKED) {
        return packed(bytes);
    }
    if bytes.starts_with(NPY) {
        return npy(bytes);
    }
    if must_be_npy {
        return Err("it does not begin as a NumPy array does".into());
    }
    match i32_at(bytes, 0) {
        Some(LLM_C) => llm_c(bytes, LLM_C_VERSION, Width::Two),
        Some(LLAMA_3) => llm_c(bytes, LLAMA_3_VERSION, Width::Four),
        _ if bytes.len().is_multiple_of(2) => Ok(Layout {
            format: Format::NanoGpt,
            offset: 0,
            width: Width::Two,
            n: bytes.len() / 2,
        }),
        _ => Err(format!(
            "{} bytes are no whole number of u16 tokens, and no known header begins them",
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
                    "'<u2'" => Width::Two,
                    "'<u4'" | "'<i4'" => Width::Four,
                    other => {
                        let other = crate::text::cut(other, 40).into_owned();
                        return Err(format!(
                            "its ids are of type {}; '<u2', '<u4' and '<i4' are known",
                            crate::text::clean(&other)
                        ));
                    }
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
    width.zip(n).ok_or_else(odd)
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
            assert_eq!(layout(bytes, false), Ok(want));
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
        // The last chunk is filled up with the separator, of which one stays.
        let ids = [5, 0, 6, 0, 0, 0, 0, 0, 0, 0];
        is(&packed(1, 8, 5, &ids), Format::LitGpt, 24, Width::Two, 3);
        let ids = [5, 0, 0, 0, 6, 0, 0, 0];
        is(&packed(1, 4, 2, &ids), Format::LitGpt, 24, Width::Four, 2);
    }

    #[test]
    fn hostile_headers_are_refused() {
        let refused = |bytes: &[u8], what: &str| {
            let error = layout(bytes, false).unwrap_err();
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
        assert!(layout(&[1, 0], true).unwrap_err().contains("NumPy"));
    }
}
