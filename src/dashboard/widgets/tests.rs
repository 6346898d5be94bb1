use std::fs;
use std::path::Path;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use super::axes::{Axis, Window};
use super::chart::{Chart, Level};
use super::trace::{Kind, Trace};
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::tests::realistic::{journal, run_at};
use crate::dashboard::theme::{Depth, Theme, ThemeName};
use crate::run::series::pyramid::{Place, Series};
use crate::run::state::{MarkKind, RunState, VAL_LOSS};

/// Widgets depend only on series, styles and characters, not on a run's state or on screens.
#[test]
fn no_widget_names_a_run_a_session_or_a_view() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/widgets");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("tests.rs") {
            continue;
        }
        files += 1;
        let source = fs::read_to_string(&path).unwrap();
        let words = source.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for word in words {
            let banned = [
                "RunState", "Session", "Scene", "Ui", "Library", "view", "views",
            ];
            assert!(!banned.contains(&word), "{}: {word}", path.display());
        }
    }
    assert!(files >= 8, "{files}");
}

/// Files stay short, so that each is about one topic.
#[test]
fn no_file_of_the_dashboard_is_longer_than_350_lines() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                assert!(lines <= 350, "{}: {lines} lines", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 80, "{files}");
}

/// Returns the evaluations of a run's last phase by the phase's steps.
fn last_phase<'a>(run: &'a RunState, kind: Kind, color: Color) -> Trace<'a> {
    let val = &run.live().val;
    let mut starts = run.live().marks.iter();
    let began = starts
        .rfind(|m| matches!(m.kind, MarkKind::Phase(_)))
        .unwrap();
    let first = val.stretches().partition_point(|s| s.first.seq < began.seq);
    Trace {
        range: first..val.len(),
        origin: began.step as f64,
        ..Trace::new(val, VAL_LOSS, kind, Style::new().fg(color))
    }
}

fn chart<'a>(traces: Vec<Trace<'a>>, theme: &'a Theme) -> Chart<'a> {
    Chart {
        window: Window {
            axis: Axis::Step,
            from: 0.0,
            to: 100_000.0,
        },
        traces,
        levels: Vec::new(),
        cone: None,
        marks: Vec::new(),
        whole: false,
        log: false,
        cursor: None,
        theme,
        glyphs: Glyphs::Braille,
    }
}

fn drawn(chart: &Chart<'_>, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    if let Some(fitted) = chart.fit(width) {
        let margin = chart.margin(&fitted, height);
        chart.draw(&mut buffer, area, margin, &fitted);
    }
    buffer
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    rows.map(|row| row.iter().map(|c| c.symbol()).collect())
        .collect()
}

#[test]
fn two_runs_are_drawn_in_one_chart() {
    let here = run_at(journal::Moment::Healthy);
    let there = run_at(journal::Moment::Done);
    let theme = Theme::mono();
    let traces = vec![
        last_phase(&there, Kind::Dotted('d'), Color::Red),
        last_phase(&here, Kind::Points, Color::Blue),
    ];
    let buffer = drawn(&chart(traces, &theme), 90, 24);
    let count = |color| buffer.content().iter().filter(|c| c.fg == color).count();
    // The curve of the finished run reaches the right edge, the other one 62 % of the width.
    let right = |color| {
        let xs = (0..90).filter(|&x| (0..24).any(|y| buffer[(x, y)].fg == color));
        xs.max().unwrap()
    };
    assert!(count(Color::Red) > 25 && count(Color::Blue) > 30);
    assert!(right(Color::Red) > 84, "{}", right(Color::Red));
    assert!(
        (55..62).contains(&right(Color::Blue)),
        "{}",
        right(Color::Blue)
    );
    assert!(
        rows(&buffer).concat().contains('d'),
        "told apart without colour"
    );
}

fn series(points: u64, loss: impl Fn(u64) -> f64) -> Series {
    let mut series = Series::default();
    for i in 0..points {
        let place = Place {
            seq: i + 1,
            step: i * 100_000 / points,
            ..Place::default()
        };
        series.push(place, &[loss(i)]);
    }
    series
}

#[test]
fn what_is_cut_is_marked_at_the_edge_and_everything_is_shown_on_demand() {
    let spiky = series(1000, |i| match i {
        0..20 => 9.0 - i as f64 / 4.0,
        500 => 4.2,
        700 => f64::NAN,
        _ => 3.2 - i as f64 / 5000.0,
    });
    let theme = Theme::mono();
    let trace = Trace::new(&spiky, 0, Kind::Line, theme.train);
    let mut chart = chart(vec![trace], &theme);
    let fitted = chart.fit(80).unwrap();
    assert_eq!(fitted.cuts, 2, "the descent and the spike: {fitted:?}");
    assert!(fitted.scale.high < 3.5, "{fitted:?}");
    let screen = rows(&drawn(&chart, 80, 20));
    assert_eq!(screen[0].matches('▲').count(), 2, "{screen:#?}");
    assert_eq!(screen[0].matches('×').count(), 1, "{screen:#?}");
    chart.whole = true;
    let fitted = chart.fit(80).unwrap();
    assert!(fitted.cuts == 0 && fitted.scale.high >= 9.0, "{fitted:?}");
    let screen = rows(&drawn(&chart, 80, 20)).concat();
    assert!(!screen.contains('▲') && screen.contains('×'));
}

#[test]
fn labels_levels_and_the_cursor_have_their_places() {
    let flat = series(1000, |i| 2.947 + 0.003 * (i as f64 / 1000.0));
    let theme = Theme::mono();
    let trace = Trace::new(&flat, 0, Kind::Line, theme.train);
    let mut chart = chart(vec![trace], &theme);
    chart.levels = vec![Level {
        value: 2.9455,
        style: theme.reference,
        label: " ref 24L".into(),
    }];
    chart.cursor = Some(50_000.0);
    let buffer = drawn(&chart, 80, 20);
    let screen = rows(&buffer);
    let has = |text: &str| screen.iter().any(|row| row.contains(text));
    assert!(has("2.947 ") && has("2.950 "), "{screen:#?}");
    assert!(has("╌╌ ref 24L"), "{screen:#?}");
    assert!(screen[19].contains("step 0") && screen[19].ends_with("100,000"));
    let column: Vec<u16> = (6..80)
        .filter(|&x| buffer[(x, 3)].symbol() == "│")
        .collect();
    assert!(
        matches!(column[..], [x] if (40..46).contains(&x)),
        "{column:?}"
    );
}

/// Returns the places of the cells in a style.
fn places(buffer: &Buffer, style: Style) -> Vec<(u16, u16)> {
    let all = buffer.area.positions();
    let of_style = all.filter(|&at| buffer[at].style().fg == style.fg);
    of_style
        .filter(|&at| buffer[at].symbol() != " ")
        .map(|at| (at.x, at.y))
        .collect()
}

#[test]
fn a_thin_line_is_dashed_where_it_has_no_character_of_its_own() {
    let falling = series(1000, |i| 3.0 - i as f64 / 1000.0);
    let theme = Theme::of(ThemeName::Dark, Depth::Indexed);
    for (glyphs, odd) in [
        (Glyphs::Braille, 0),
        (Glyphs::Block, 0),
        (Glyphs::Ascii, 20),
    ] {
        let drawn_as = |kind| {
            let trace = Trace::new(&falling, 0, kind, theme.val);
            let mut chart = chart(vec![trace], &theme);
            chart.glyphs = glyphs;
            let fitted = chart.fit(80).unwrap();
            let margin = chart.margin(&fitted, 20);
            let places = places(&drawn(&chart, 80, 20), theme.val);
            let (even, odd): (Vec<_>, Vec<_>) = places
                .into_iter()
                .partition(|(x, _)| (x - margin).is_multiple_of(2));
            (even.len(), odd.len())
        };
        let (thin, solid) = (drawn_as(Kind::Thin), drawn_as(Kind::Line));
        assert!(thin.0 >= 20 && thin.1 >= odd, "{glyphs:?} {thin:?}");
        assert!(odd > 0 || thin.1 == 0, "{glyphs:?} {thin:?}");
        assert!(solid.1 >= 20, "{glyphs:?} {solid:?}");
    }
}

/// If a theme's band has the style of its line, the band has half of the dots, and the line has all of them.
#[test]
fn a_band_is_thinned_out_where_its_style_is_the_lines() {
    let noisy = series(4000, |i| 3.0 + (i % 7) as f64 / 10.0);
    let averages = vec![3.3; noisy.len()];
    let mut theme = Theme::of(ThemeName::Dark, Depth::Indexed);
    let dots = |theme: &Theme, style: Style| {
        let trace = Trace {
            averages: averages.clone(),
            ..Trace::new(&noisy, 0, Kind::Line, theme.train)
        };
        let buffer = drawn(&chart(vec![trace], theme), 80, 20);
        let bits = |at: &(u16, u16)| {
            let c = buffer[*at].symbol().chars().next().unwrap();
            u32::from(c).saturating_sub(0x2800).count_ones()
        };
        let places = places(&buffer, style);
        // Labels are not counted.
        let dots = places.iter().filter(|at| {
            let c = buffer[**at].symbol().chars().next().unwrap();
            c >= '\u{2800}'
        });
        dots.map(bits).sum::<u32>()
    };
    let (band, line) = (dots(&theme, theme.dim), dots(&theme, theme.train));
    theme.sparse = true;
    assert_eq!(dots(&theme, theme.train), line);
    let thin = dots(&theme, theme.dim);
    assert!(
        band > 500 && thin * 2 <= band + 80 && thin * 2 + 80 >= band,
        "{band} {thin}"
    );
    let plain = Theme::of(ThemeName::Terminal, Depth::Basic);
    assert!(plain.sparse);
}

#[test]
fn every_size_can_be_drawn() {
    let some = series(50, |i| 2.0 + i as f64);
    let theme = Theme::mono();
    for glyphs in [Glyphs::Braille, Glyphs::Block, Glyphs::Ascii] {
        for kind in [Kind::Line, Kind::Thin, Kind::Points, Kind::Dotted('1')] {
            let mut chart = chart(vec![Trace::new(&some, 0, kind, theme.train)], &theme);
            chart.glyphs = glyphs;
            for width in 0..40 {
                for height in 0..20 {
                    drawn(&chart, width, height);
                }
            }
        }
    }
}
