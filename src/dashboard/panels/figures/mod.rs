//! The figures of a run, in the order in which an operator needs them. The header's two lines show as many as fit; the info
//! layer shows all.

mod losses;
mod state;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::dashboard::scene::Scene;

pub use losses::of_losses;
pub use state::of_state;

/// The rank of a figure that only the info layer shows.
const INFO: u8 = u8::MAX;

/// A figure: a short text about the run.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name in the info layer.
    pub name: &'static str,
    pub text: String,
    pub style: Style,
    /// Figures that do not fit are left out, those with the highest rank first.
    pub rank: u8,
}

/// Returns the figures that fit into `width`, two spaces apart. The least important ones are left out.
pub fn fitted(figures: &[Figure], width: u16) -> Line<'static> {
    let wide = |f: &Figure| Span::raw(f.text.as_str()).width();
    let mut by_rank: Vec<usize> = (0..figures.len())
        .filter(|&i| !figures[i].text.is_empty() && figures[i].rank != INFO)
        .collect();
    by_rank.sort_by_key(|&i| figures[i].rank);
    let mut left = usize::from(width);
    let mut chosen = Vec::new();
    for i in by_rank {
        let needs = wide(&figures[i]) + if chosen.is_empty() { 1 } else { 2 };
        if needs <= left {
            left -= needs;
            chosen.push(i);
        }
    }
    chosen.sort_unstable();
    let mut line = Line::default();
    for (n, i) in chosen.into_iter().enumerate() {
        line.push_span(Span::raw(if n == 0 { " " } else { "  " }));
        line.push_span(Span::styled(figures[i].text.clone(), figures[i].style));
    }
    line
}

/// Gathers figures.
pub(super) struct Figures<'a>(pub &'a Scene<'a>, pub Vec<Figure>);

impl Figures<'_> {
    pub fn push(&mut self, name: &'static str, rank: u8, text: &str, style: Style) {
        let text = self.0.text(text);
        self.1.push(Figure {
            name,
            text,
            style,
            rank,
        });
    }

    pub fn plain(&mut self, name: &'static str, rank: u8, text: &str) {
        self.push(name, rank, text, self.0.theme.plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_figures_are_left_out_first() {
        let figure = |text: &str, rank| Figure {
            name: "",
            text: text.into(),
            style: Style::new(),
            rank,
        };
        let all = [figure("aaaa", 3), figure("bb", 0), figure("cccc", 1)];
        let text = |width| fitted(&all, width).to_string();
        assert_eq!(text(40), " aaaa  bb  cccc");
        assert_eq!(text(12), " bb  cccc");
        assert_eq!(text(2), "");
    }
}
