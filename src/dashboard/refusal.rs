//! Shows why a screen without its own notices could not be suspended.

use std::time::Instant;

use ratatui::text::Line;

use super::glyphs::Glyphs;
use super::layers::scroll::wrap;
use super::theme::Theme;
use super::update::NOTICE;

/// The reason, while it is shown.
#[derive(Debug, Default)]
pub struct Refusal(Option<(String, Instant)>);

impl Refusal {
    /// Shows a reason from now on.
    pub fn show(&mut self, why: String) {
        self.0 = Some((why, Instant::now()));
    }

    /// Drops the reason after [`NOTICE`]. Returns whether it was just dropped.
    pub fn age(&mut self, now: Instant) -> bool {
        let is_over = |since: Instant| now.duration_since(since) >= NOTICE;
        self.0.take_if(|(_, since)| is_over(*since)).is_some()
    }

    /// Returns the reason in lines of `width` columns; an empty list without a reason.
    pub fn lines(&self, width: u16, theme: &Theme, glyphs: Glyphs) -> Vec<Line<'static>> {
        let line = |why: &str| Line::styled(glyphs.text(why), theme.warning);
        let why = self.0.iter().map(|(why, _)| line(why));
        why.flat_map(|line| wrap(line, usize::from(width), 0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_shown_in_full_and_for_a_while() {
        let mut refusal = Refusal::default();
        let lines = |refusal: &Refusal| refusal.lines(10, &Theme::mono(), Glyphs::Ascii);
        assert!(lines(&refusal).is_empty());
        refusal.show("cannot suspend: no shell".into());
        let text: Vec<String> = lines(&refusal).iter().map(Line::to_string).collect();
        assert_eq!(text.concat().replace(' ', ""), "cannotsuspend:noshell");
        assert!(text.iter().all(|line| line.len() <= 10), "{text:?}");
        let now = Instant::now();
        assert!(!refusal.age(now) && refusal.age(now + NOTICE));
        assert!(lines(&refusal).is_empty());
    }
}
