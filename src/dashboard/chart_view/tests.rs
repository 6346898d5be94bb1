use super::*;
use crate::run::event::{Phase, Start};
use crate::run::state::PhaseNow;

/// Makes a run at step `phase_step` of a phase of `due` steps.
fn run(began_at: u64, due: u64, phase_step: u64) -> RunState {
    let mut run = RunState::default();
    run.core.phase = Some(PhaseNow {
        phase: Phase::Round(2),
        began_at,
        layers: 14,
        parameters: 1,
        steps: due,
        due,
        start: Start::Restart,
        source_layers: Vec::new(),
        added: 2,
        began_seq: 0,
        course: Default::default(),
    });
    (run.core.step, run.core.phase_step) = (began_at + phase_step, phase_step);
    run
}

fn bounds(view: &ChartView, run: &RunState) -> (f64, f64) {
    let window = view.window(run);
    (window.from, window.to)
}

#[test]
fn the_present_phase_is_shown_up_to_its_end_as_extended_and_the_whole_run_on_demand() {
    let mut view = ChartView::default();
    let extended = run(200_000, 120_000, 62_000);
    assert_eq!(bounds(&view, &extended), (0.0, 120_000.0));
    view.toggle_whole();
    assert_eq!(bounds(&view, &extended), (0.0, 320_000.0));
    view.toggle_whole();
    assert_eq!(view, ChartView::default());
    // Beyond the end, the axis grows.
    assert_eq!(bounds(&view, &run(0, 100, 103)), (0.0, 103.0));
}

#[test]
fn a_zoom_after_panning_keeps_its_place() {
    let run = run(0, 80_000, 60_000);
    let mut view = ChartView::default();
    view.zoom_in();
    view.zoom_in();
    assert_eq!(bounds(&view, &run), (40_000.0, 60_000.0));
    for _ in 0..4 {
        view.pan_left(&run);
    }
    assert_eq!(bounds(&view, &run), (20_000.0, 40_000.0));
    view.zoom_in();
    assert_eq!(bounds(&view, &run), (30_000.0, 40_000.0));
    view.zoom_out();
    assert_eq!(bounds(&view, &run), (20_000.0, 40_000.0));
    // The window is fixed while training continues, and follows the latest step again afterwards.
    let mut later = run.clone();
    later.core.step += 5000;
    assert_eq!(bounds(&view, &later), (20_000.0, 40_000.0));
    for _ in 0..9 {
        view.pan_right(&later);
    }
    assert_eq!(view.right, None);
    assert_eq!(bounds(&view, &later), (45_000.0, 65_000.0));
    for _ in 0..99 {
        view.pan_left(&later);
    }
    assert_eq!(bounds(&view, &later), (0.0, 20_000.0));
    view.zoom_out();
    view.zoom_out();
    assert_eq!(view, ChartView::default());
}

#[test]
fn the_smoothing_fits_the_width() {
    let mut view = ChartView::default();
    let run = run(0, 100_000, 60_000);
    let constant = |view: &ChartView, columns| -1.0 / view.decay(&run, columns).unwrap().ln();
    assert!((constant(&view, 100) - 1500.0).abs() < 1.0);
    assert!((constant(&view, 200) - 750.0).abs() < 1.0);
    view.zoom_in();
    assert!((constant(&view, 100) - 750.0).abs() < 1.0);
    view.cycle_smoothing();
    assert!((constant(&view, 100) - 250.0).abs() < 1.0);
    view.cycle_smoothing();
    assert_eq!(view.decay(&run, 100), None);
}

#[test]
fn the_cursor_moves_within_what_has_happened_and_the_window_goes_with_it() {
    let run = run(0, 100_000, 60_000);
    let mut view = ChartView::default();
    view.cursor_left(&run);
    assert_eq!(view.cursor, None);
    view.toggle_cursor(&run);
    assert_eq!(view.cursor, Some(60_000.0));
    view.cursor_right(&run);
    assert_eq!(view.cursor, Some(60_000.0));
    view.cursor_left(&run);
    assert_eq!(view.cursor, Some(59_000.0));
    view.zoom_in();
    view.zoom_in();
    assert_eq!(bounds(&view, &run), (37_500.0, 62_500.0));
    for _ in 0..200 {
        view.cursor_left(&run);
    }
    let x = view.cursor.unwrap();
    let (from, to) = bounds(&view, &run);
    assert!(x > 8000.0 && (from..=to).contains(&x), "{x} {from} {to}");
    view.cycle_axis();
    assert_eq!(view.cursor, None);
}

#[test]
fn small_multiples_are_chosen_in_a_circle_with_none() {
    let mut view = ChartView::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        view.next_multiple(3);
        seen.push(view.multiple);
    }
    assert_eq!(seen, [Some(0), Some(1), Some(2), None]);
    view.previous_multiple(3);
    assert_eq!(view.multiple, Some(2));
    view.previous_multiple(0);
    assert_eq!(view.multiple, None);
}
