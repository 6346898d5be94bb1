//! String functions as Python has them, with which the harness makes its prompts.

/// Returns whether a character is white space to Python: to Unicode, and four control characters that separate records.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip`
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.lstrip`
pub fn strip_left(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// `str.capitalize`: the first character in title case, the others in lower case.
pub fn capitalize(text: &str) -> String {
    let Some(first) = text.chars().next() else {
        return String::new();
    };
    // As a whole, since the form of a final sigma depends on the characters before it.
    let lower = text.to_lowercase();
    let rest = lower.chars().skip(first.to_lowercase().count());
    title(first).chars().chain(rest).collect()
}

/// Returns a character in title case (Unicode's `Titlecase_Mapping`).
fn title(c: char) -> String {
    let is_greek = ('\u{1f80}'..='\u{1fff}').contains(&c);
    let shifted = |by: u32| char::from_u32(c as u32 + by);
    let single = match c {
        // Digraphs have a form of their own.
        'Ǆ'..='ǆ' => Some('ǅ'),
        'Ǉ'..='ǉ' => Some('ǈ'),
        'Ǌ'..='ǌ' => Some('ǋ'),
        'Ǳ'..='ǳ' => Some('ǲ'),
        // Georgian has capitals only for whole words.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => Some(c),
        // Greek with an iota below keeps it.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(8),
        '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}' => Some(c),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(9),
        '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}' => Some(c),
        _ => None,
    };
    if let Some(single) = single {
        return single.into();
    }
    // The capitals of ß, ligatures and the like are several.
    let mut upper = c.to_uppercase();
    let first = upper.next();
    let rest = upper.flat_map(char::to_lowercase);
    let rest = rest.map(|c| if is_greek && c == 'ι' { '\u{345}' } else { c });
    match c {
        'ŉ' => "ʼN".into(),
        _ => first.into_iter().chain(rest).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Python.
    #[test]
    fn the_first_character_is_in_title_case() {
        for (text, capitalized) in [
            ("", ""),
            ("he SITS on it.", "He sits on it."),
            ("[title] Mix", "[title] mix"),
            ("éTÉ", "Été"),
            ("ßA", "Ssa"),
            ("ǆA", "ǅa"),
            ("ﬃA", "Ffia"),
            ("ŉA", "ʼNa"),
            ("აA", "აa"),
            ("ᾳA", "ᾼa"),
            ("ᾷA", "Α\u{342}\u{345}a"),
            ("ΑΣ", "Ας"),
            ("İI", "İi"),
        ] {
            assert_eq!(capitalize(text), capitalized, "{text}");
        }
    }

    #[test]
    fn white_space_is_that_of_python() {
        assert_eq!(strip("\u{1c}\u{a0} a \u{200b}\u{2028}"), "a \u{200b}");
        assert_eq!(strip_left("\n a "), "a ");
    }
}
