//! Quotes words for a shell.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{is_invisible, sanitize};

/// Returns a path as one word of a command that a reader may paste into a shell: unchanged if that is safe, else in single quotes, or
/// as `$'...'` with bytes as `\xNN` (bash, zsh, ksh) if it contains characters that must not be printed.
pub fn argument(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let text = std::str::from_utf8(bytes).ok();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(b);
    if let Some(text) = text {
        if !bytes.is_empty() && bytes.iter().all(plain) && bytes[0] != b'-' {
            return text.into();
        }
        // A path that begins with a hyphen would be an option, even in quotes.
        let text = if bytes.first() == Some(&b'-') {
            format!("./{text}")
        } else {
            text.to_string()
        };
        let printable = !text.contains(|c: char| c.is_control() || is_invisible(c));
        if printable && sanitize(&text) == text {
            return format!("'{}'", text.replace('\'', r"'\''"));
        }
    }
    let mut out = String::from("$'");
    if bytes.first() == Some(&b'-') {
        out.push_str("./");
    }
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_pasted_name_is_one_word_and_no_command() {
        let nasty: [&[u8]; 9] = [
            b"runs/tiny-20260101-120000",
            b"two words",
            b"x; touch pwned #",
            b"it's $(touch pwned)",
            b"-rf",
            "数字\u{202e}evil".as_bytes(),
            b"\x1b[2J\n'\\x",
            b"\xff\xfe",
            b"!1 `id` *?[a]{b,c}~",
        ];
        for name in nasty {
            let word = argument(Path::new(OsStr::from_bytes(name)));
            assert_eq!(sanitize(&word), word, "it can be printed as it is");
            let shell = std::process::Command::new("bash")
                .args(["-c", &format!("printf %s {word}")])
                .output()
                .unwrap();
            let said = shell.stdout.strip_prefix(b"./").unwrap_or(&shell.stdout);
            assert_eq!(said, name, "{word}");
        }
        assert_eq!(argument(Path::new("runs/a-1")), "runs/a-1");
    }
}
