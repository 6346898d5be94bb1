//! The dashboard on the journal of a realistic run.

use super::*;

#[path = "../../../tests/fixtures/journal/mod.rs"]
pub mod journal;

use journal::Moment;

pub const SIZES: [(u16, u16); 6] = [(80, 24), (120, 40), (200, 60), (60, 15), (40, 12), (1, 1)];

pub fn run_at(moment: Moment) -> RunState {
    let mut run = RunState::default();
    for line in journal::journal(moment).lines() {
        run.apply(&Event::from_line(line).unwrap());
    }
    run
}

#[test]
fn a_realistic_run_at_every_size() {
    for moment in [Moment::Healthy, Moment::Deciding, Moment::Nan] {
        let run = run_at(moment);
        for (width, height) in SIZES {
            let name = format!("{}_{width}x{height}", moment.name());
            insta::assert_snapshot!(name, Screen::new().text(&run, width, height));
        }
    }
}
