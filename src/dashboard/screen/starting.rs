//! The screen of a starting run: the present work, its progress, and the phases to come.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::scene::{SMALL, Scene, fitted};
use crate::dashboard::starting::Starting;
use crate::run::table;
use crate::text;

/// Columns of the lines' names.
const NAMES: usize = 10;
/// Most columns of the bar.
const BAR: usize = 60;

/// Draws the screen at any size. The present work comes first; lines that do not fit are left out at the bottom.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, starting: &Starting) {
    let area = frame.area();
    let foot = u16::from(area.height >= 3);
    let [head, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(foot),
    ])
    .areas(area);
    let theme = scene.theme;
    let title = [
        ("heirloom".to_string(), theme.title),
        (scene.text(&starting.facts.title), theme.title),
        ("STARTING".to_string(), theme.warning),
        (scene.text(&starting.facts.device), theme.plain),
    ];
    let skip = usize::from(area.width < SMALL.0);
    frame.render_widget(fitted(title[skip..].to_vec(), area.width), head);
    let keys = match starting.stopping {
        false => vec![
            ("q".to_string(), theme.key),
            ("stop: nothing has been trained yet".to_string(), theme.dim),
        ],
        true => vec![("stopping".to_string(), theme.warning)],
    };
    frame.render_widget(fitted(keys, area.width), bottom);
    if area.width < SMALL.0 || area.height < SMALL.1 {
        lines(frame, scene, starting, body);
        return;
    }
    let panel = scene.panel(" starting ".into());
    let inner = panel.inner(body);
    frame.render_widget(panel, body);
    lines(frame, scene, starting, inner);
}

fn lines(frame: &mut Frame<'_>, scene: &Scene<'_>, starting: &Starting, area: Rect) {
    let theme = scene.theme;
    let columns = usize::from(area.width);
    // On a narrow screen the names have no column of their own.
    let names = if columns >= 40 { NAMES } else { 0 };
    let room = columns.saturating_sub(names + 2);
    let line = |name: &str, what: String, style: Style| {
        let (name, what) = match names {
            0 => (String::new(), format!("{name} {what}").trim().to_string()),
            _ => (text::fit(name, names), what),
        };
        Line::from(vec![
            Span::styled(format!(" {name}"), theme.dim),
            Span::styled(what, style),
        ])
    };
    let used = |name: &str| if names == 0 { name.len() + 1 } else { 0 };
    let last = |name: &str, what: &str| end_of(scene, what, room.saturating_sub(used(name)));
    let mut all = Vec::new();
    if let Some(notice) = &scene.ui.notice {
        let parts = wrapped(&scene.text(notice), room).into_iter();
        all.extend(parts.map(|part| line("", part, theme.warning)));
    }
    all.push(line(
        "reading",
        last("reading", &starting.reading),
        theme.title,
    ));
    if let Some(share) = starting.share() {
        all.push(line(
            "",
            progress(scene, starting, share, room),
            theme.train,
        ));
    }
    if let Some((doing, what)) = &starting.step {
        all.push(line(doing, last(doing, what), theme.title));
    }
    all.push(Line::default());
    let facts = &starting.facts;
    all.push(line("device", scene.text(&facts.device), theme.plain));
    for (i, phase) in facts.phases.iter().enumerate() {
        let name = if i == 0 { "phases" } else { "" };
        let phase = text::fit(&scene.text(phase), room);
        all.push(line(name, scene.glyphs.text(phase.trim_end()), theme.plain));
    }
    if let Some(note) = &starting.note {
        all.push(Line::default());
        for (i, part) in wrapped(&scene.text(note), room).into_iter().enumerate() {
            let name = if i == 0 { "note" } else { "" };
            all.push(line(name, part, theme.plain));
        }
    }
    frame.render_widget(Paragraph::new(all), area);
}

/// Wraps a text into lines of at most `room` columns, at spaces if possible.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + text::width(word.trim_end()) > room {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let wide = text::width(c.encode_utf8(&mut [0; 4]));
            if used > 0 && used + wide > room && c != ' ' {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
                used += wide;
            }
        }
    }
    lines
}

/// Returns `██████░░░░  42 %  24 MB of 57 MB`, with a bar that fills the room.
fn progress(scene: &Scene<'_>, starting: &Starting, share: f64, room: usize) -> String {
    let (done, total) = starting.bytes;
    let percent = format!("{:.0} %", (100.0 * share).floor());
    let words = format!("  {} of {}", table::bytes(done), table::bytes(total));
    let used = percent.len() + 2;
    let words = if used + words.len() + 10 <= room {
        words
    } else {
        String::new()
    };
    let bar = room.saturating_sub(used + words.len()).min(BAR);
    if bar < 4 {
        return percent;
    }
    let full = (share * bar as f64).floor() as usize;
    let [on, off] = match scene.glyphs {
        Glyphs::Ascii => ['#', '.'],
        _ => ['█', '░'],
    };
    let bar: String = (0..bar).map(|i| if i < full { on } else { off }).collect();
    format!("{bar}  {percent}{words}")
}

/// Returns the end of a text that is too long for its room, which for a path is the file's name.
fn end_of(scene: &Scene<'_>, text: &str, room: usize) -> String {
    let text = scene.text(text);
    if text::width(&text) <= room {
        return text;
    }
    let mut end = String::new();
    let mut left = room.saturating_sub(1);
    for c in text.chars().rev() {
        let wide = text::width(c.encode_utf8(&mut [0; 4]));
        if wide > left {
            break;
        }
        left -= wide;
        end.insert(0, c);
    }
    scene.glyphs.text("…") + &end
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZone;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;

    use super::*;
    use crate::dashboard::session;
    use crate::dashboard::starting::Facts;
    use crate::dashboard::theme::Theme;
    use crate::dashboard::update::Desk;
    use crate::run::state::{RunState, Status};

    fn starting() -> Starting {
        let phases = [
            "Reference: 12 layers, 1500 steps",
            "Round 1: 6 layers, 400 steps",
            "Rounds 2 to 4, if needed: up to 11 layers, 400 steps",
            "Control, random start: as large as the last round's model",
        ];
        let facts = Facts {
            title: "books-20261129-080717".into(),
            device: "cpu · 2 threads · bf16".into(),
            phases: phases.map(String::from).to_vec(),
        };
        let note =
            "tokenizing train.txt (57 MB); `heirloom data prepare` does it once for all runs";
        Starting {
            facts: Arc::new(facts),
            reading: "/home/operator/texts/that/lie/deep/down/in/a/tree/of/books/train.txt".into(),
            bytes: (25_200_000, 60_000_000),
            note: Some(note.into()),
            ..Starting::default()
        }
    }

    fn screen(starting: Starting, glyphs: Glyphs, width: u16, height: u16) -> String {
        noticed(starting, None, glyphs, width, height)
    }

    fn noticed(
        starting: Starting,
        notice: Option<&str>,
        glyphs: Glyphs,
        width: u16,
        height: u16,
    ) -> String {
        let facts = session::Facts {
            starting: Some(starting),
            ..session::Facts::default()
        };
        let mut desk = Desk::default();
        desk.ui.notice = notice.map(String::from);
        let scene = Scene {
            run: &RunState::default(),
            facts: &facts,
            frozen: false,
            status: Status::Empty,
            ui: &desk.ui,
            tables: &desk.tables,
            scopes: &[],
            theme: &Theme::mono(),
            glyphs,
            title: "untold",
            zone: &TimeZone::UTC,
            clock: None,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let draw = |frame: &mut Frame<'_>| super::super::draw(frame, &scene, &desk.layers);
        terminal.draw(draw).unwrap();
        let cells = terminal.backend().buffer().content();
        let row = |row: &[Cell]| -> String { row.iter().map(Cell::symbol).collect() };
        let rows = cells.chunks(usize::from(width)).map(row);
        rows.map(|row| format!("{}\n", row.trim_end())).collect()
    }

    #[test]
    fn a_start_is_shown_at_every_size() {
        let at = |width, height| screen(starting(), Glyphs::Braille, width, height);
        insta::assert_snapshot!("starting_80x24", at(80, 24));
        insta::assert_snapshot!("starting_200x60", at(200, 60));
        insta::assert_snapshot!("starting_40x12", at(40, 12));
        insta::assert_snapshot!("starting_30x5", at(30, 5));
        at(1, 1);
        at(59, 15);
        at(60, 15);
    }

    #[test]
    fn a_refused_suspension_is_explained() {
        let why = "cannot suspend: no shell with job control has started this program";
        let text = noticed(starting(), Some(why), Glyphs::Ascii, 80, 24);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            words.join(" ").contains("cannot suspend: no shell"),
            "{text}"
        );
    }

    #[test]
    fn a_start_without_utf8_is_ascii_and_names_its_step_and_stop() {
        let stopping = Starting {
            step: Some(("building".into(), "the model".into())),
            stopping: true,
            ..starting()
        };
        let text = screen(stopping, Glyphs::Ascii, 80, 24);
        assert!(text.is_ascii(), "{text}");
        for part in ["building  the model", "42 %  25 MB of 60 MB", "stopping"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
