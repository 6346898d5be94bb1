//! The screen of `heirloom demo collapse`: bars for each head, and a chart of the ranks.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::Options;
use super::event_loop::{self, Screen};
use super::glyphs::Glyphs;
use super::keymap::{self, Found, Scope};
use super::refusal::Refusal;
use super::terminal::{Input, Terminal};
use super::theme::Theme;
use crate::demo::{Known, Probe, Told};

/// Time between two checks of the keyboard and the examples.
const TICK: Duration = Duration::from_millis(100);

/// The scope of its key in the table.
const SCOPE: Scope = Scope::View("demo");

/// Draws the results of the examples until the operator leaves.
///
/// # Errors
/// When the terminal cannot be taken over, or an example fails.
pub fn show(known: &mut Known, told: &Receiver<Told>, options: &Options) -> Result<()> {
    let mut terminal = Terminal::enter(options.job)?;
    let mut demo = Demo {
        known,
        told,
        options,
        refusal: Refusal::default(),
        dirty: true,
    };
    event_loop::drive(&mut demo, &mut terminal)
}

struct Demo<'a> {
    known: &'a mut Known,
    told: &'a Receiver<Told>,
    options: &'a Options,
    refusal: Refusal,
    dirty: bool,
}

impl Screen for Demo<'_> {
    type Out = ();

    fn turn(&mut self, now: Instant) -> Result<Option<()>> {
        self.dirty |= self.refusal.age(now);
        while let Ok(word) = self.told.try_recv() {
            self.known.take(word)?;
            self.dirty = true;
        }
        Ok(None)
    }

    fn wait(&self) -> Duration {
        TICK
    }

    fn is_due(&self, keeps_up: bool, _: Instant) -> bool {
        self.dirty && keeps_up
    }

    fn draw(&mut self, terminal: &mut Terminal, _: Instant) {
        let (theme, glyphs) = (self.options.theme, self.options.glyphs);
        terminal.draw(|frame| draw(frame, self.known, &self.refusal, &theme, glyphs));
        self.dirty = false;
    }

    fn on_input(&mut self, input: Input, _: &mut Terminal) -> Option<()> {
        match input {
            Input::Key(key) => {
                match keymap::look_up(&keymap::tables().bindings, &[SCOPE], None, &key) {
                    Found::Command(_) => Some(()),
                    Found::Prefix(_) | Found::Nothing => None,
                }
            }
            Input::Stop | Input::Hangup => Some(()),
            Input::Paste(_) | Input::Resized | Input::Suspend | Input::Away | Input::Back => None,
        }
    }

    fn on_resize(&mut self) {
        self.dirty = true;
    }

    fn on_refused(&mut self, why: String) {
        self.refusal.show(why);
        self.dirty = true;
    }
}

fn draw(frame: &mut Frame<'_>, known: &Known, refusal: &Refusal, theme: &Theme, glyphs: Glyphs) {
    let area = frame.area();
    let refusal = refusal.lines(area.width, theme, glyphs);
    // A title and a frame surround the heads, which fill up to three columns.
    let columns = columns(area.width);
    let rows = known.demo.softmax.heads.div_ceil(columns) + 2;
    let parts = [
        Constraint::Length(1),
        Constraint::Length(rows as u16),
        Constraint::Min(8),
        Constraint::Length(refusal.len().max(1) as u16),
    ];
    let [top, heads, network, bottom] = Layout::vertical(parts).areas(area);
    let title = " heirloom demo collapse  k*: singular values that hold 90 % of a matrix's mass";
    frame.render_widget(Line::styled(title, theme.title), top);
    draw_heads(frame, heads, known, theme, glyphs);
    draw_network(frame, network, known, theme, glyphs);
    let keys = match known.seconds {
        Some(seconds) => format!(" done in {seconds:.0} s   q quit"),
        None => " q quit".into(),
    };
    let foot = match refusal.is_empty() {
        true => vec![Line::styled(keys, theme.dim)],
        false => refusal,
    };
    frame.render_widget(Paragraph::new(foot), bottom);
    theme.paint(frame.buffer_mut());
}

/// Width of a head's cell.
const CELL: u16 = 39;

fn columns(width: u16) -> usize {
    usize::from((width.saturating_sub(2) / CELL).max(1))
}

fn panel(title: &str, theme: &Theme, glyphs: Glyphs) -> Block<'static> {
    Block::bordered()
        .border_set(glyphs.border())
        .border_style(theme.dim)
        .title(glyphs.text(title))
}

/// Draws each head's k* before and after softmax.
fn draw_heads(frame: &mut Frame<'_>, area: Rect, known: &Known, theme: &Theme, glyphs: Glyphs) {
    let sizes = known.demo.softmax;
    let title = format!(
        " 1 softmax: k* of scores → of attention (T={}; deviation of scores {:.2} | 2) ",
        sizes.time,
        2.0 * sizes.heads as f64 / sizes.width as f64
    );
    let block = panel(&title, theme, glyphs);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let columns = columns(area.width);
    let down = sizes.heads.div_ceil(columns);
    let mut lines = vec![Line::default(); down];
    for (i, head) in known.heads.iter().enumerate() {
        let width = 10;
        let cells = (width * head.scores).div_ceil(sizes.time).min(width);
        let bar = match glyphs {
            Glyphs::Ascii => "#",
            _ => "█",
        };
        lines[i % down].spans.extend([
            Span::styled(format!(" {:>3} ", format!("h{i}")), theme.dim),
            Span::styled(format!("{:<width$}", bar.repeat(cells)), theme.train),
            Span::styled(
                format!("{:>5} {} ", head.scores, glyphs.text("→")),
                theme.plain,
            ),
            Span::styled(format!("{:>3}", head.attention), theme.val),
            Span::styled(format!(" | {:<8}", head.sharper), theme.dim),
        ]);
    }
    frame.render_widget(Paragraph::new(lines), inside);
}

/// Draws the mean k* over the steps, and each head's k* at the last step.
fn draw_network(frame: &mut Frame<'_>, area: Rect, known: &Known, theme: &Theme, glyphs: Glyphs) {
    let (sizes, steps) = (known.demo.network, known.demo.steps);
    let title = match known.probes.last() {
        Some(probe) => {
            let ranks: Vec<String> = probe.ranks.iter().map(usize::to_string).collect();
            format!(
                " 2 attention alone, trained on noise: step {}, mean k* {:.2}, heads {} ",
                probe.step,
                probe.mean(),
                ranks.join(" ")
            )
        }
        None => format!(
            " 2 attention alone, trained on noise: {} heads, T={} ",
            sizes.heads, sizes.time
        ),
    };
    let block = panel(&title, theme, glyphs);
    let points = |of: &dyn Fn(&Probe) -> f64| -> Vec<(f64, f64)> {
        let all = known.probes.iter();
        all.map(|probe| (probe.step as f64, of(probe))).collect()
    };
    let mean = points(&|probe| probe.mean());
    let most = points(&|probe| probe.ranks.iter().copied().max().unwrap_or(0) as f64);
    let top = most.iter().map(|(_, y)| *y).fold(2.0, f64::max);
    let (line, dots) = match glyphs {
        Glyphs::Braille => (Marker::Braille, Marker::Braille),
        Glyphs::Block => (Marker::HalfBlock, Marker::HalfBlock),
        Glyphs::Ascii => (Marker::Custom('*'), Marker::Custom('.')),
    };
    let set = |data, marker, kind, style| {
        Dataset::default()
            .data(data)
            .marker(marker)
            .graph_type(kind)
            .style(style)
    };
    let sets = vec![
        set(&most, dots, GraphType::Scatter, theme.dim),
        set(&mean, line, GraphType::Line, theme.val),
    ];
    let end = steps.all as f64;
    let label = |text: String| Span::styled(text, theme.dim);
    let x = Axis::default()
        .bounds([0.0, end])
        .labels([label("step 0".into()), label(steps.all.to_string())]);
    let y = Axis::default()
        .bounds([0.0, 1.05 * top])
        .labels([label("0".into()), label(format!("{top:.0}"))]);
    frame.render_widget(Chart::new(sets).block(block).x_axis(x).y_axis(y), area);
    if glyphs == Glyphs::Ascii {
        // The axes are lines for any marker.
        let buffer = frame.buffer_mut();
        for at in area.intersection(buffer.area).positions() {
            let plain = match buffer[at].symbol() {
                "│" => '|',
                "─" => '-',
                "└" => '+',
                _ => continue,
            };
            buffer[at].set_char(plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::dashboard::tests::contrast::{Looks, cases};
    use crate::demo::{Demo, Head};

    #[test]
    fn the_collapse_is_legible_in_every_theme() {
        let mut known = Known::new(Demo::REDUCED);
        known.heads.push(Head {
            scores: 90,
            attention: 1,
            sharper: 4,
        });
        for step in 0..20 {
            known.probes.push(Probe {
                step,
                ranks: vec![20 - step, 22 - step],
                loss: 1.0,
            });
        }
        for case in cases() {
            for glyphs in [Glyphs::Braille, Glyphs::Block, Glyphs::Ascii] {
                let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
                let mut looks = Looks::default();
                let mut refused = Refusal::default();
                refused.show("cannot suspend".into());
                for refusal in [Refusal::default(), refused] {
                    let show =
                        |frame: &mut Frame<'_>| draw(frame, &known, &refusal, &case.theme, glyphs);
                    terminal.draw(show).unwrap();
                    looks.add("collapse", terminal.backend().buffer());
                }
                looks.check(&case);
            }
        }
    }
}
