//! Text files as one string, documents joined by `<|endoftext|>`.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use super::{CorpusError, END_OF_TEXT};

/// The embedded text: the complete works' excerpt known from char-rnn, in the public domain.
const TINYSHAKESPEARE: &str = include_str!("tinyshakespeare.txt");

/// What an input is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Builtin,
    Text,
    Jsonl,
    Tokens,
}

/// Tells an input's kind from its name.
///
/// # Errors
/// When the ending is not known.
pub fn kind(name: &str) -> Result<Kind, CorpusError> {
    if Path::new(name).is_dir() {
        return Err(CorpusError::Directory { name: name.into() });
    }
    let ending = Path::new(name).extension().and_then(|e| e.to_str());
    match ending {
        _ if name == "builtin:tinyshakespeare" => Ok(Kind::Builtin),
        Some("txt") => Ok(Kind::Text),
        Some("jsonl") => Ok(Kind::Jsonl),
        Some("bin") => Ok(Kind::Tokens),
        _ => Err(CorpusError::UnknownKind { name: name.into() }),
    }
}

/// Reads a text.
///
/// # Errors
/// When it is missing, empty, not UTF-8, or a line of a `.jsonl` has no field `text`.
pub fn read(name: &str) -> Result<Cow<'static, str>, CorpusError> {
    let path = Path::new(name);
    let text = match kind(name)? {
        Kind::Builtin => return Ok(Cow::Borrowed(TINYSHAKESPEARE)),
        Kind::Text => file(path)?,
        Kind::Jsonl => documents(path, &file(path)?)?,
        Kind::Tokens => return Err(CorpusError::UnknownKind { name: name.into() }),
    };
    if text.is_empty() {
        return Err(CorpusError::Empty { name: name.into() });
    }
    Ok(Cow::Owned(text))
}

fn file(path: &Path) -> Result<String, CorpusError> {
    let bytes = std::fs::read(path).map_err(|source| CorpusError::Read {
        path: path.into(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|e| CorpusError::NotUtf8 {
        path: path.into(),
        at: e.utf8_error().valid_up_to(),
    })
}

/// The field `text` of every line.
fn documents(path: &Path, lines: &str) -> Result<String, CorpusError> {
    let mut all = String::with_capacity(lines.len());
    for (i, line) in lines
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let fail = |what: String| CorpusError::Line {
            path: path.into(),
            line: i + 1,
            what,
        };
        let json: Value = serde_json::from_str(line).map_err(|e| fail(format!("no JSON: {e}")))?;
        let text = json["text"]
            .as_str()
            .ok_or_else(|| fail("no string field \"text\"".into()))?;
        all.push_str(text);
        all.push_str(END_OF_TEXT);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_inputs_are_named_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let error = |name: &str| read(name).unwrap_err().to_string();
        assert!(error(&put("e.txt", b"")).contains("is empty"));
        assert!(error(&put("u.txt", b"abc\xff")).contains("byte 3"));
        let lines = b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n";
        assert!(error(&put("l.jsonl", lines)).contains("l.jsonl:2: no string field"));
        assert!(error("/nowhere/x.txt").contains("cannot read /nowhere/x.txt"));
        assert!(error("data.csv").contains("unknown kind"));
        assert_eq!(
            read(&put("ok.jsonl", b"{\"text\": \"a\"}\n")).unwrap(),
            "a<|endoftext|>"
        );
    }
}
