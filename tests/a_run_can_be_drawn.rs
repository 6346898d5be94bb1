//! `heirloom replay --out` writes the dashboard of a run at a step.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use common::{Place, texts};
use journal::{Moment, NAME};

fn place() -> Place {
    let place = Place::new();
    let dir = place.run_dir(NAME);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("events.jsonl"), journal::journal(Moment::Done)).unwrap();
    place
}

#[test]
fn a_picture_and_a_text_show_the_run_at_a_step() {
    let place = place();
    for out in ["x.svg", "x.txt"] {
        let args = [
            "replay", NAME, "--at", "262000", "--size", "120x40", "--out", out,
        ];
        place.expect(0, &args);
    }
    let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
    let (picture, text) = (read("x.svg"), read("x.txt"));
    assert_eq!(text.lines().count(), 40);
    assert!(text.lines().all(|l| l.chars().count() <= 120), "{text}");
    assert!(text.contains(NAME) && text.contains("14 layers"), "{text}");
    assert!(
        !text.contains("matched"),
        "the end is not known yet: {text}"
    );
    let document = roxmltree::Document::parse(&picture).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("width"), Some("1080"));
    assert_eq!(root.attribute("height"), Some("720"));
    let said: String = document.descendants().filter_map(|n| n.text()).collect();
    assert!(
        said.contains(NAME) && said.contains("step 262000"),
        "{said}"
    );
    place.expect(0, &["replay", NAME, "--out", "end.txt"]);
    assert!(read("end.txt").contains("DONE"), "{}", read("end.txt"));
}

#[test]
fn a_picture_that_cannot_be_drawn_is_refused_with_the_reason() {
    let place = place();
    for (args, why) in [
        (&["--out", "x.gif"][..], "written as .svg or .txt"),
        (
            &["--out", "x.svg", "--size", "0x10"],
            "columns and rows as in 80x24",
        ),
        (
            &["--out", "x.svg", "--size", "80"],
            "columns and rows as in 80x24",
        ),
        (&["--out", "x.svg", "--size", "9999x10"], "at most 500x200"),
        (
            &["--out", "x.svg", "--at", "900000"],
            "the run's last step is",
        ),
    ] {
        let output = place.run(&[&["replay", NAME], args].concat());
        let (_, err) = texts(&output);
        assert!(
            !output.status.success() && err.contains(why),
            "{args:?}: {err}"
        );
        assert!(!place.path().join("x.svg").exists(), "{args:?}");
    }
}
