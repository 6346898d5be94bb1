use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::keymap;
use crate::dashboard::neighbours::Compared;
use crate::dashboard::scene::Scene;
use crate::dashboard::screen as whole;
use crate::dashboard::session::Facts;
use crate::dashboard::tests::realistic::{journal, journal::Moment, run_at};
use crate::dashboard::theme::Theme;
use crate::dashboard::ui::Ui;
use crate::run::event::{Body, Event};
use crate::run::state::{GPU_PERCENT, RunState};

fn drawn(run: &RunState, ui: &Ui, size: (u16, u16)) -> Buffer {
    drawn_with(run, ui, &Facts::default(), size)
}

fn drawn_with(run: &RunState, ui: &Ui, facts: &Facts, (width, height): (u16, u16)) -> Buffer {
    let tables = keymap::tables();
    let scene = Scene {
        facts,
        tables: &tables,
        scopes: &keymap::below(ui, facts),
        frozen: false,
        status: run.core.status,
        clock: None,
        run,
        ui,
        theme: &Theme::mono(),
        glyphs: Glyphs::Braille,
        title: "run",
        zone: &jiff::tz::TimeZone::UTC,
    };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let draw = |frame: &mut Frame<'_>| whole::draw(frame, &scene, &Default::default());
    terminal.draw(draw).unwrap();
    terminal.backend().buffer().clone()
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    rows.map(|row| row.iter().map(|c| c.symbol()).collect())
        .collect()
}

fn screen(run: &RunState, ui: &Ui, size: (u16, u16)) -> String {
    rows(&drawn(run, ui, size)).join("\n")
}

const LARGE: (u16, u16) = (200, 60);

#[test]
fn the_heat_map_stands_over_the_columns_of_the_loss() {
    let run = run_at(Moment::Healthy);
    let all = rows(&drawn(&run, &Ui::default(), LARGE));
    let row = |text: &str| all.iter().find(|r| r.contains(text)).unwrap();
    let column = |row: &str, c: &str| row[..row.find(c).unwrap()].chars().count();
    // The first column of the loss, and the end of the trained part: 62 % of 122 columns.
    let zero = column(row("◆"), "^grow");
    let line = row("│L13+");
    assert_eq!(column(line, "█"), zero);
    let last = line.rfind('▁').unwrap();
    let end = line[..last].chars().count();
    assert!((74..=78).contains(&(end - zero)), "{end} {zero}");
    assert!(line.contains("× LAZY") && row("│L0 ").contains("23.9"));
}

#[test]
fn growths_stand_in_the_heat_map_of_the_whole_run() {
    let run = run_at(Moment::Healthy);
    let mut ui = Ui::default();
    ui.chart.toggle_whole();
    let all = screen(&run, &ui, LARGE);
    let row = all.lines().find(|r| r.contains("│L0 ")).unwrap();
    assert_eq!(row.matches('|').count(), 2, "rounds 1 and 2: {row}");
    assert!(all.contains("loss · whole run"), "{all}");
}

#[test]
fn layers_that_do_not_fit_are_summed_up_with_what_would_show_them() {
    let run = run_at(Moment::Healthy);
    let all = screen(&run, &Ui::default(), (120, 28));
    let line = all.lines().find(|r| r.contains("more layers")).unwrap();
    assert!(line.contains("4 of them LAZY (L10 L11 L12 L13)"), "{line}");
    let rows: usize = line
        .split("a window ")
        .nth(1)
        .and_then(|r| r.split(' ').next())
        .and_then(|n| n.parse().ok())
        .unwrap();
    let higher = screen(&run, &Ui::default(), (120, 28 + rows as u16));
    assert!(
        higher.contains("L13+") && !higher.contains("more layers"),
        "{higher}"
    );
}

#[test]
fn the_cursor_reads_every_series() {
    let run = run_at(Moment::Healthy);
    let mut ui = Ui::default();
    ui.chart.cursor = Some(30_000.0);
    for size in [(80, 24), LARGE] {
        let buffer = drawn(&run, &ui, size);
        let all = rows(&buffer).join("\n");
        for part in ["@30,000", " train 3.0", " val 3.0", " gap +0.1", " lr 2.4"] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        let cells = buffer.content().iter();
        let line = cells.filter(|c| c.symbol() == "│" && c.modifier.contains(Modifier::REVERSED));
        assert!(line.count() >= 4, "{all}");
    }
    let all = screen(&run, &ui, LARGE);
    assert!(
        all.contains("tok/s  GPU 9") || all.contains("GPU 9"),
        "{all}"
    );
    assert!(all.contains("round 1 3.0"), "{all}");
}

#[test]
fn earlier_rounds_and_what_is_cut_come_and_go() {
    let run = run_at(Moment::Healthy);
    let mut ui = Ui::default();
    let fitted = screen(&run, &ui, LARGE);
    assert!(fitted.contains("∙1∙ round 1 (12L)") && fitted.contains("∙R∙ reference (24L)"));
    assert!(fitted.contains("y fitted (1 cut: Y)") && fitted.contains('▲'));
    ui.chart.toggle_overlay();
    ui.chart.toggle_fit();
    let all = screen(&run, &ui, LARGE);
    assert!(
        !all.contains("round 1 (12L)") && !all.contains('∙'),
        "{all}"
    );
    assert!(all.contains("y all (Y)") && !all.contains('▲'), "{all}");
    // One chart: the gap takes the place of the loss.
    let mut ui = Ui::default();
    assert!(!screen(&run, &ui, (80, 24)).contains("gap to reference"));
    ui.chart.toggle_gap();
    assert!(screen(&run, &ui, (80, 24)).contains("gap to reference ±2 stderr"));
}

#[test]
fn another_run_is_laid_over_the_phase_of_the_same_name() {
    let run = run_at(Moment::Healthy);
    let mut ui = Ui::default();
    ui.chart.toggle_overlay();
    let mut facts = Facts::default();
    let mut with = |other: RunState, ui: &Ui| {
        facts.nearby.compared = Some(Compared {
            name: "wide".into(),
            run: Box::new(other),
        });
        rows(&drawn_with(&run, ui, &facts, LARGE)).join("\n")
    };
    let dots = |all: &str| all.matches('∙').count();
    assert_eq!(dots(&screen(&run, &ui, LARGE)), 0);
    // The other run is ahead: its dots extend beyond the end of this run's line.
    let all = with(run_at(Moment::Deciding), &ui);
    assert!(all.contains("∙C∙ wide"), "{all}");
    let reach = |all: &str| {
        let rows = all.lines().filter(|l| !l.contains("∙C∙"));
        let columns = rows.filter_map(|l| Some(l[..l.rfind('∙')?].chars().count()));
        columns.max()
    };
    let further = reach(&all).unwrap();
    let same = with(run_at(Moment::Healthy), &ui);
    // Where the runs are equal, this run's line hides the dots.
    assert!(
        reach(&same).is_none_or(|r| r + 20 < further),
        "{further}: {same}"
    );
    // The legend states that a run without this round cannot be compared.
    let mut reference = RunState::default();
    for line in journal::journal(Moment::Healthy).lines().take(200) {
        reference.apply(&Event::from_line(line).unwrap());
    }
    let all = with(reference, &ui);
    assert!(all.contains("wide: no round 2") && dots(&all) == 0, "{all}");
    ui.chart.toggle_whole();
    let all = with(run_at(Moment::Deciding), &ui);
    // Two dots belong to the legend; most others lie under this run's line.
    assert!(all.contains("∙C∙ wide") && dots(&all) > 2, "{all}");
}

#[test]
fn small_multiples_show_what_there_is_and_one_can_be_enlarged() {
    let run = run_at(Moment::Healthy);
    let mut ui = Ui::default();
    let all = screen(&run, &ui, LARGE);
    for label in ["│gap ", "│lr ", "│grad ", "│tok/s ", "│GPU % ", "│step ms "] {
        assert!(all.contains(label), "{label}\n{all}");
    }
    let bars = |all: &str| {
        let rows = all.lines().skip_while(|l| !l.contains("also measured"));
        let rows = rows.skip_while(|l| !l.contains("│gap "));
        rows.take_while(|l| !l.contains("│lr ")).count()
    };
    assert_eq!(bars(&all), 2);
    ui.chart.next_multiple(6);
    assert_eq!(bars(&screen(&run, &ui, LARGE)), 6);
    // The reference has no gap.
    let mut reference = RunState::default();
    for line in journal::journal(Moment::Healthy).lines().take(200) {
        reference.apply(&Event::from_line(line).unwrap());
    }
    let all = screen(&reference, &Ui::default(), LARGE);
    assert!(
        all.contains("│lr ") && !all.contains("│gap ") && !all.contains("gap to"),
        "{all}"
    );
}

/// Returns the run with the norms and the share of clipped steps that later versions report.
fn with_norms() -> RunState {
    let mut run = RunState::default();
    for line in journal::journal(Moment::Healthy).lines() {
        let mut event = Event::from_line(line).unwrap();
        if let Body::Train(metrics) = &mut event.body {
            let share = event.phase_step as f64 / 100_000.0;
            metrics.param_norm = Some(90.0 + 60.0 * share.sqrt());
            metrics.momentum_norm = metrics.grad_norm.map(|norm| 0.2 * norm);
            metrics.clip_rate = Some((0.3 - share).max(0.0));
        }
        run.apply(&event);
    }
    run
}

#[test]
fn small_multiples_hold_norms_and_clipped_steps_at_both_sizes() {
    let run = with_norms();
    let mut ui = Ui::default();
    let all = screen(&run, &ui, LARGE);
    insta::assert_snapshot!("small_multiples_200x60", all);
    for label in ["│weights ", "│moments ", "│clipped "] {
        assert!(all.contains(label), "{label}\n{all}");
    }
    // On a small screen the key shows the series in place of the chart, and after the last series the chart again.
    let series = super::small_series(&run);
    assert_eq!(series, 10);
    let chart = screen(&run, &ui, (80, 24));
    assert!(chart.contains("┌ loss") && !chart.contains("also measured"));
    ui.chart.next_multiple(series);
    let all = screen(&run, &ui, (80, 24));
    insta::assert_snapshot!("small_multiples_80x24", all);
    let labels = [
        "gap", "lr", "grad", "tok/s", "weights", "moments", "clipped", "loss",
    ];
    for label in labels {
        assert!(all.contains(&format!("│{label} ")), "{label}\n{all}");
    }
    assert!(
        !all.contains("┌ loss") && all.contains("attention rank"),
        "{all}"
    );
    for _ in 0..series {
        ui.chart.next_multiple(series);
    }
    assert_eq!(screen(&run, &ui, (80, 24)), chart);
    // A larger screen shows them below the chart.
    ui.chart.next_multiple(series);
    let all = screen(&run, &ui, (100, 60));
    assert!(
        all.contains("┌ loss") && all.contains("also measured"),
        "{all}"
    );
    // Journals of earlier versions lack them.
    let old = run_at(Moment::Healthy);
    assert_eq!(super::small_series(&old), 7);
    assert!(!screen(&old, &ui, (80, 24)).contains("│weights"));
}

#[test]
fn ranks_stay_when_the_run_is_over() {
    let run = run_at(Moment::Done);
    let all = screen(&run, &Ui::default(), LARGE);
    for part in [
        "┌ attention rank",
        "│L15+",
        "┌ result",
        "┌ gap to reference",
        "outcome:",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
}

#[test]
fn the_tolerance_of_an_old_journal_is_that_of_its_evidence() {
    let run = run_at(Moment::Healthy);
    assert_eq!(run.info.as_ref().unwrap().tolerance, Some(0.0));
    let mut with_limit = run.clone();
    with_limit.info.as_mut().unwrap().tolerance = Some(0.05);
    let all = screen(&with_limit, &Ui::default(), LARGE);
    assert!(all.contains("╌ tolerance +0.05"), "{all}");
    // The readings of the GPU are in the curves.
    let train = &run.live().train;
    let (low, high) = train.range(GPU_PERCENT, 0, train.len()).unwrap();
    assert!(low > 80.0 && high <= 100.0, "{low} {high}");
}

#[test]
fn every_moment_and_look_can_be_drawn_at_every_size() {
    for moment in [Moment::Healthy, Moment::Nan, Moment::Done] {
        let run = run_at(moment);
        let mut ui = Ui::default();
        for look in 0..4 {
            let chart = &mut ui.chart;
            match look {
                0 => {}
                1 => (chart.gap, chart.cursor, chart.multiple) = (true, Some(1e9), Some(40)),
                2 => {
                    chart.toggle_whole();
                    chart.toggle_log();
                    chart.cycle_axis();
                }
                _ => (chart.zoom, chart.right, chart.axis) = (12, Some(-3.0), Default::default()),
            }
            for size in [
                (1, 1),
                (24, 8),
                (60, 15),
                (80, 24),
                (100, 60),
                (120, 16),
                (130, 40),
            ] {
                drawn(&run, &ui, size);
            }
        }
    }
}
