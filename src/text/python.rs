//! Parses JSON of Python, whose `json.dumps` writes NaN, Infinity and -Infinity, which JSON does not have.

use std::borrow::Cow;

use serde_json::Value;

/// Python's names of floats that JSON cannot hold.
const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// The byte order mark of UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses JSON with the extensions of Python's `json`: NaN, Infinity and -Infinity become texts of the same letters. Code that
/// needs a number there then refuses the text and names the key, while keys that are not used may have them.
///
/// # Errors
/// When the text is not JSON with these extensions, or begins with a byte order mark.
pub fn python_json(bytes: &[u8]) -> serde_json::Result<Value> {
    check_mark(bytes)?;
    let quoted = |word: &[u8]| [b"\"", word, b"\""].concat();
    match (
        serde_json::from_slice(bytes),
        replace_words(bytes, &WORDS, quoted),
    ) {
        (Err(_), Cow::Owned(quoted)) => serde_json::from_slice(&quoted),
        (result, _) => result,
    }
}

/// Checks for a byte order mark, which a parser would only report as a missing value.
///
/// # Errors
/// When the bytes begin with one.
pub fn check_mark(bytes: &[u8]) -> serde_json::Result<()> {
    match bytes.starts_with(BYTE_ORDER_MARK) {
        true => Err(serde::de::Error::custom(
            "it begins with a byte order mark, which JSON does not have; save it as UTF-8 without one",
        )),
        false => Ok(()),
    }
}

/// Replaces the `words` that stand outside JSON's strings. Returns the input borrowed if it does not contain any.
pub fn replace_words<'a>(
    bytes: &'a [u8],
    words: &[&[u8]],
    replacement: impl Fn(&[u8]) -> Vec<u8>,
) -> Cow<'a, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let (mut at, mut kept, mut in_string) = (0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        let word = || words.iter().find(|word| bytes[at..].starts_with(word));
        match byte {
            b'\\' if in_string => at += 2,
            b'"' => {
                in_string = !in_string;
                at += 1;
            }
            _ if in_string => at += 1,
            _ => match word() {
                Some(word) => {
                    let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len() + 64));
                    out.extend(&bytes[kept..at]);
                    out.extend(replacement(word));
                    at += word.len();
                    kept = at;
                }
                None => at += 1,
            },
        }
    }
    match out {
        None => Cow::Borrowed(bytes),
        Some(mut out) => {
            out.extend(&bytes[kept..]);
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pythons_floats_become_texts_outside_of_strings_only() {
        let read = |text: &str| python_json(text.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(read(r#"{"a": 1}"#), Ok(json!({"a": 1})));
        assert_eq!(
            read(r#"{"NaN": NaN, "b": [-Infinity,Infinity], "c": "\"NaN", "d": "\\"}"#),
            Ok(json!({"NaN": "NaN", "b": ["-Infinity", "Infinity"], "c": "\"NaN", "d": "\\"}))
        );
        for bad in [
            "{\"a\": nan}",
            "{\"a\": NaNa}",
            "{NaN",
            "\"\\",
            "{\"a\": -NaN}",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let marked = read("\u{feff}{}").unwrap_err();
        assert!(
            marked.starts_with("it begins with a byte order mark"),
            "{marked}"
        );
    }
}
