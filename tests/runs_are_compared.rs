//! In the real program at a terminal, another run of the directory is drawn over the chart, and a value of the config is shown; Tab
//! completes the names.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use common::Place;
use common::pty::Pty;
use journal::Moment;

fn write_run(place: &Place, name: &str, moment: Moment) {
    let dir = place.run_dir(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("events.jsonl"), journal::journal(moment)).unwrap();
    std::fs::write(dir.join("config.toml"), "[train]\nlr = 3e-4\n").unwrap();
}

#[test]
fn a_run_and_a_config_key_are_found_by_tab_and_shown() {
    let place = Place::new();
    write_run(&place, "mine", Moment::Healthy);
    write_run(&place, "other-run", Moment::Deciding);
    let mut pty = Pty::start(&place, &["watch", "mine"], 200, 60);
    pty.see("62,300/100,000");
    pty.see_that("all of the journal", |s| !s.contains("LOADING"));
    assert!(!pty.text().contains("∙C∙"));

    pty.press(":compare o\t");
    pty.see(":compare other-run");
    pty.press("\r");
    pty.see("∙C∙ other-run");

    pty.press(":config train.l\t");
    pty.see(":config train.lr");
    pty.press("\r");
    pty.see("train.lr = 0.0003");
    pty.see("Peak learning rate.");
    pty.press("\x1b");
    pty.see_that("no command line", |s| !s.contains(" command "));

    // A missing run is reported with the most similar name.
    pty.press(":compare other-rnu\r");
    pty.see("did you mean other-run?");
    pty.press("\x1b");
    pty.see_that("no command line", |s| !s.contains(" command "));
    pty.press(":compare\r");
    pty.see_that("no comparison", |s| !s.contains("∙C∙"));
}
