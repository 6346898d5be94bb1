//! Reads where the ids of a token file begin, how many there are and how wide, from its bytes.

mod width;

use std::path::Path;

use crate::corpus::tokens::Width;

/// llm.c: 256 little-endian i32, of which the first three are magic, version and number of tokens.
pub const LLM_C: i32 = 20_240_520;
/// The magic number of llm.c's files with u32 ids, for vocabularies above 65536.
pub const LLAMA_3: i32 = 20_240_801;
pub const LLM_C_BYTES: usize = 256 * 4;
pub const LLM_C_VERSION: i32 = 1;
pub const LLAMA_3_VERSION: i32 = 7;

/// Other files that llm.c writes with the ending `.bin`, by magic number.
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
/// A longer `.npy` header does not describe a plain array.
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

/// The range of ids in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub format: Format,
    /// First byte of the ids.
    pub offset: usize,
    pub width: Width,
    /// Number of ids.
    pub n: usize,
}

/// The format that a token file's name determines.
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

/// Reads the header of a token file. The announced ids exist: `offset + n * width` is within `bytes`. The ids of a file
/// without a header have the width that its name implies, or else the one that its values suggest
/// ([`width_by_values`]).
///
/// # Errors
/// Describes the problem in a sentence without the file's name.
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
        _ => width::by_values(bytes)?,
    };
    if !bytes.len().is_multiple_of(width.bytes()) {
        return Err(format!(
            "{} bytes are not a multiple of the size of a {} token, and its header is unknown",
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

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Returns the layout of `n` ids from `offset` on, if the file has them.
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
            "it is truncated: its header announces {n} tokens, the file has {have}"
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
            "its header has version {said}; only version {version} is supported"
        ));
    }
    let n = i32_at(bytes, 8).unwrap_or(0);
    let n = u64::try_from(n).map_err(|_| format!("its header announces {n} tokens"))?;
    within(bytes, Format::LlmC, LLM_C_BYTES, width, n)
}

fn packed(bytes: &[u8]) -> Result<Layout, String> {
    let (Some(version), Some(&dtype), Some(chunk)) =
        (u64_at(bytes, 7), bytes.get(15), u64_at(bytes, 16))
    else {
        return Err("it ends within its header".into());
    };
    if version != 1 {
        return Err(format!(
            "its header has version {version}; only version 1 is supported"
        ));
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
    // The last chunk of a data set is padded with the separator: the first one ends the last document, the rest is not
    // text.
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
                "its header has NumPy format {other}; formats 1 to 3 are supported"
            ));
        }
    };
    if length > MOST_NPY_HEADER {
        return Err(format!(
            "its header of {length} bytes is too long for a plain array"
        ));
    }
    let text = bytes.get(start..start + length).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| "its header is not text".to_string())?;
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
        // A value ends at the next comma outside of a tuple.
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
            // For one dimension both orders are equal, but numpy writes False.
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
        // An empty array has any type: numpy makes it one of floats.
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
mod tests;
