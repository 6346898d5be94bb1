//! Edits and shows a line that is being typed.

use ratatui::text::Span;
use tui_input::Input;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::scene::Scene;
use crate::dashboard::theme::Theme;
use crate::text::{self, sanitize};

/// Longest line, in characters.
pub const LONGEST: usize = 200;

/// Returns the part of a typed line that fits into `width` columns, with the cursor.
pub fn visible(scene: &Scene<'_>, input: &Input, width: u16) -> Vec<Span<'static>> {
    visible_in(scene.theme, scene.glyphs, input, width)
}

/// Returns [`visible`] on a screen without a run.
pub fn visible_in(theme: &Theme, glyphs: Glyphs, input: &Input, width: u16) -> Vec<Span<'static>> {
    let chars: Vec<char> = glyphs.text(&sanitize(input.value())).chars().collect();
    let at = input.cursor().min(chars.len());
    let part = |range: &[char]| range.iter().collect::<String>();
    // Shows the text before the cursor that fits, and keeps a column for the cursor.
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
        Span::styled(part(&chars[from..at]), theme.title),
        Span::styled(under, theme.selected),
        Span::styled(part(after), theme.title),
    ]
}

/// Inserts text at the cursor, up to `longest` characters in all. A line break becomes a blank, so that it does not act as Enter.
pub fn insert(input: &mut Input, text: &str, longest: usize) {
    let text = text.replace(['\r', '\n', '\t'], " ");
    let text = sanitize(&text);
    let chars: Vec<char> = input.value().chars().collect();
    let (before, after) = chars.split_at(input.cursor().min(chars.len()));
    let room = longest.saturating_sub(chars.len());
    let text: Vec<char> = text.chars().take(room).collect();
    let cursor = before.len() + text.len();
    let line: String = before.iter().chain(&text).chain(after).collect();
    *input = Input::new(line).with_cursor(cursor);
}
