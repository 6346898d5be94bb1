//! Writes paths as text that can be read back exactly.
//!
//! A Unix path may contain any bytes, while texts of JSON and TOML and the arguments of this program are Unicode. Wherever a path is
//! written as text that is read back (JSON, the lock, config.toml, names of runs and models), [`to_text`] writes it and [`to_path`]
//! reads it: a byte that is not UTF-8 is written `\xNN` (`lat\xe9`), and other characters are unchanged. In a name that contains such
//! an escape, `\x5c` replaces the backslash. `serde_json::json!` panics on a path that is not UTF-8, so paths are converted first.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Writes a path, or a name, as text that [`to_path`] reads back.
pub fn to_text(path: &(impl AsRef<OsStr> + ?Sized)) -> Cow<'_, str> {
    let bytes = path.as_ref().as_bytes();
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains("\\x")
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    for chunk in bytes.utf8_chunks() {
        for (at, c) in chunk.valid().char_indices() {
            match escaped(&rest[at..]) {
                Some(_) => out.push_str("\\x5c"),
                None => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
        rest = &rest[chunk.valid().len() + chunk.invalid().len()..];
    }
    Cow::Owned(out)
}

/// Reads the text of [`to_text`].
pub fn to_path(text: &str) -> Cow<'_, Path> {
    if !text.contains("\\x") {
        return Cow::Borrowed(Path::new(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[ESCAPE..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(PathBuf::from(OsString::from_vec(bytes)))
}

/// Bytes of an escape.
const ESCAPE: usize = 4;

/// Returns the byte of the escape at the start of `bytes`: a byte that is not valid UTF-8 on its own, or a backslash.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.get(..ESCAPE)?.strip_prefix(b"\\x")?;
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    let byte = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
    (byte >= 0x80 || byte == b'\\').then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for (name, text) in [
            (&b"plain"[..], "plain"),
            (b"lat\xe9/x", r"lat\xe9/x"),
            (b"\xff\xfe", r"\xff\xfe"),
            ("数\u{fffd}".as_bytes(), "数\u{fffd}"),
            ("\u{10ff80}".as_bytes(), "\u{10ff80}"),
            // Half of a character.
            (b"a\xe6\x95", r"a\xe6\x95"),
            (br"C:\new\x1\x41\xg", r"C:\new\x1\x41\xg"),
            (br"lit\xff", r"lit\x5cxff"),
            (br"\x5c", r"\x5cx5c"),
            (b"\\x\xff", r"\x\xff"),
            (b"\\xf\xff", r"\xf\xff"),
            (b"", ""),
        ] {
            let path = OsStr::from_bytes(name);
            assert_eq!(to_text(path), text);
            assert_eq!(to_path(text).as_os_str(), path, "{text}");
        }
        // Every pair of bytes between two others.
        for pair in 0..=u16::MAX {
            let [a, b] = pair.to_be_bytes();
            let bytes = [b'\\', a, b, b'f'];
            let path = OsStr::from_bytes(&bytes);
            assert_eq!(to_path(&to_text(path)).as_os_str(), path, "{bytes:?}");
        }
    }
}
