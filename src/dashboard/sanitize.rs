//! Foreign text must not be able to draw: control sequences and invisible controls are taken out when it enters.

/// Text without escape sequences (CSI, OSC, DCS and their kin), C0 and C1 controls, and bidirectional controls.
pub fn sanitize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_csi(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // Two-character sequences, some with intermediates.
                Some(' '..='/') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' | '\n' => out.push(' '),
            c if c.is_control() || is_bidi(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_csi(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(&c) = chars.peek() {
        // Parameters and intermediates, then one final character. Anything else breaks the sequence off.
        match c {
            '\u{20}'..='\u{3f}' => {
                chars.next();
            }
            '\u{40}'..='\u{7e}' => {
                chars.next();
                return;
            }
            _ => return,
        }
    }
}

/// Up to the string terminator or BEL; one that never ends takes the rest of the line.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' | '\n' => return,
            '\u{1b}' => {
                if chars.peek() == Some(&'\\') {
                    chars.next();
                }
                return;
            }
            _ => {}
        }
    }
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn nothing_that_could_draw_is_left() {
        assert_eq!(sanitize("a\x1b[31mred\x1b[0mb"), "aredb");
        assert_eq!(sanitize("t\x1b]0;title\x07x"), "tx");
        assert_eq!(sanitize("t\x1b]8;;http://x\x1b\\link"), "tlink");
        assert_eq!(sanitize("d\x1bP1;2q###\x1b\\e"), "de");
        assert_eq!(sanitize("c1\u{9b}2Jz"), "c1z");
        assert_eq!(sanitize("over\rdraw\x08\x07"), "overdraw");
        assert_eq!(sanitize("bidi\u{202e}evil"), "bidievil");
        assert_eq!(sanitize("tab\tand\nline"), "tab and line");
        assert_eq!(sanitize("plain ± text → 数"), "plain ± text → 数");
        assert_eq!(sanitize("\x1b"), "");
        assert_eq!(sanitize("\x1b(Bx"), "x");
    }
}
