//! Expands environment variables and `~/` in paths.

use crate::secrets::is_secret;

/// An expanded path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub path: String,
    /// Whether it contained variables.
    pub variables: bool,
}

/// Why a path cannot be expanded, with the name of a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    Unset(String),
    Secret(String),
}

/// Replaces `~/` at the start by the home directory, `$NAME` and `${NAME}` by the environment's values and `$$` by `$`.
///
/// # Errors
/// When a variable is not set, or holds a secret by its name.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, Unexpanded> {
    let mut out = String::new();
    let mut rest = text;
    let mut variables = false;
    if text.starts_with("~/") {
        out.push_str(&env("HOME").ok_or_else(|| Unexpanded::Unset("HOME".into()))?);
        rest = &text[1..];
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|a| a.split_once('}'));
        let plain = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, left) = match braced {
            Some(braced) => braced,
            None => after.split_at(plain),
        };
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
            rest = after;
        } else {
            if is_secret(name) {
                return Err(Unexpanded::Secret(name.into()));
            }
            let value = env(name).filter(|v| !v.is_empty());
            out.push_str(&value.ok_or_else(|| Unexpanded::Unset(name.into()))?);
            variables = true;
            rest = left;
        }
    }
    out.push_str(rest);
    Ok(Expanded {
        path: out,
        variables,
    })
}
