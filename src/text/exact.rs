//! Paths in JSON, to the byte.
//!
//! A path of Unix is any bytes, a text of JSON is Unicode. [`insert_path`] therefore writes a path's text under its key,
//! and where the path is not UTF-8 (the text then has U+FFFD in the place of each wrong byte) also `KEY_bytes`: all bytes,
//! two hexadecimal digits each. [`path_from`] reads both forms. `serde_json::json!` panics on such a path and is not used
//! for paths anywhere.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Adds a path, or one name of it, to a JSON object.
pub fn insert_path(object: &mut Map<String, Value>, key: &str, path: impl AsRef<OsStr>) {
    let (text, bytes) = to_texts(path.as_ref());
    object.insert(key.into(), text.into());
    if let Some(bytes) = bytes {
        object.insert(format!("{key}_bytes"), bytes.into());
    }
}

/// A path as text, and in hexadecimal digits where the text is not exact.
pub fn to_texts(path: &OsStr) -> (String, Option<String>) {
    let exact = path.to_str().is_some();
    let bytes = || path.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    (path.to_string_lossy().into_owned(), (!exact).then(bytes))
}

/// Reads what [`to_texts`] wrote; `None` when `bytes` are not pairs of hexadecimal digits.
pub fn path_from(text: String, bytes: Option<&str>) -> Option<PathBuf> {
    let Some(digits) = bytes else {
        return Some(text.into());
    };
    let pair = |pair: &[u8]| {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(*pair.get(1)?).to_digit(16)?;
        u8::try_from(16 * high + low).ok()
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    bytes.map(|bytes| Path::new(&OsString::from_vec(bytes)).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for name in [
            &b"plain"[..],
            b"lat\xe9/x",
            b"\xff\xfe",
            "数\u{fffd}".as_bytes(),
            b"",
        ] {
            let path = OsStr::from_bytes(name);
            let mut object = Map::new();
            insert_path(&mut object, "path", path);
            let text = object["path"].as_str().unwrap().to_string();
            let bytes = object.get("path_bytes").map(|b| b.as_str().unwrap());
            assert_eq!(bytes.is_some(), std::str::from_utf8(name).is_err());
            assert_eq!(path_from(text, bytes).unwrap().as_os_str(), path);
        }
    }

    #[test]
    fn wrong_digits_are_no_path() {
        for wrong in ["f", "fg", "0x", "é"] {
            assert_eq!(path_from("x".into(), Some(wrong)), None, "{wrong}");
        }
    }
}
