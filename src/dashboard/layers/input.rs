//! A line being typed.

use ratatui::text::Span;
use tui_input::Input;

use crate::dashboard::scene::Scene;
use crate::text;

/// Longest line, in characters.
pub const LONGEST: usize = 200;

/// The part of a line being typed that fits into `width` columns, with the cursor.
pub fn visible(scene: &Scene<'_>, input: &Input, width: u16) -> Vec<Span<'static>> {
    let chars: Vec<char> = scene.text(input.value()).chars().collect();
    let at = input.cursor().min(chars.len());
    let part = |range: &[char]| range.iter().collect::<String>();
    // The cursor stays in sight: as much before it as fits, and a column for itself.
    let mut from = at;
    let mut used = 1;
    while from > 0 {
        let w = text::width(&part(&chars[from - 1..from]));
        if used + w > usize::from(width) {
            break;
        }
        used += w;
        from -= 1;
    }
    let under = chars.get(at).map_or(" ".into(), |c| c.to_string());
    let after = chars.get(at + 1..).unwrap_or_default();
    vec![
        Span::styled(part(&chars[from..at]), scene.theme.title),
        Span::styled(under, scene.theme.selected),
        Span::styled(part(after), scene.theme.title),
    ]
}
