//! Tests the home screen (`heirloom` without a command): its lists, opening and starting runs, and many runs.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use common::pty::Pty;
use common::{Place, wait};
use journal::Moment;

/// Prompts ignore keys for 300 ms.
const LOCK: Duration = Duration::from_millis(400);

fn open(pty: &mut Pty, key: &str, title: &str) {
    pty.press(key);
    pty.see(title);
    std::thread::sleep(LOCK);
}

/// Writes a journal with all its times moved by some milliseconds.
fn put(place: &Place, name: &str, lines: &str, later: i64) {
    let dir = place.run_dir(name);
    fs::create_dir_all(&dir).unwrap();
    let mut moved = String::new();
    for line in lines.lines() {
        let at = line.find("\"t\":").unwrap() + 4;
        let end = at + line[at..].find([',', '}']).unwrap();
        let t: i64 = line[at..end].parse().unwrap();
        moved += &format!("{}{}{}\n", &line[..at], t + later, &line[end..]);
    }
    fs::write(dir.join("events.jsonl"), moved).unwrap();
    fs::write(dir.join("config.toml"), "").unwrap();
}

/// Returns the names in the list, from the top.
fn names(screen: &str, known: &[&str]) -> Vec<String> {
    let first = |line: &str| {
        let line = line.trim_start_matches(['│', '>', ' ']);
        line.split(' ').next().unwrap_or_default().to_string()
    };
    let names = screen.lines().map(first);
    names
        .filter(|name| known.contains(&name.as_str()))
        .collect()
}

/// Returns the selected name.
fn marked(screen: &str) -> String {
    let line = screen.lines().find(|line| line.contains("│> "));
    let line = line.unwrap_or_default().trim_start_matches(['│', '>', ' ']);
    line.split(' ').next().unwrap_or_default().to_string()
}

#[test]
fn a_newcomer_starts_a_preset_with_enter() {
    let place = Place::new();
    let mut home = Pty::start(&place, &[], 80, 24);
    let screen = home.see("no runs yet");
    assert!(
        screen.contains("> tiny") && screen.contains("books"),
        "{screen}"
    );
    assert!(screen.contains("heirloom train tiny"), "{screen}");
    home.press("\r");
    // The preset trains in the same terminal.
    home.see("reference · 8 layers");
    open(&mut home, "q", "leave");
    home.press("j\r");
    assert_eq!(home.exit_code(), 3);
    // The window's title was changed, and is restored.
    let written = String::from_utf8_lossy(&home.written()).into_owned();
    let kept = written.find("\x1b[22;2t\x1b]2;").unwrap();
    let back = written.rfind("\x1b[23;2t").unwrap();
    assert!(kept < back && !written[back..].contains("\x1b]2;"));
    assert!(written.contains("\x1b]2;* tiny"), "no title of the run");
}

/// Enter attaches to a run in progress, and resumes a stopped one after a question.
#[test]
fn enter_attaches_resumes_and_watches_and_the_run_stays_marked() {
    let place = Place::new();
    let older = journal::journal(Moment::Done);
    let long = ["--set", "reference.train.steps=1000000"];
    let _background = place.in_background("mine", &long, "");
    put(&place, "older", &older, -1_000_000);
    put(&place, "oldest", &older, -2_000_000);
    let mut home = Pty::start(&place, &[], 80, 24);
    home.see_that("all that was read", |s| s.matches("matched").count() == 2);
    home.see("running");
    let screen = home.see("Enter attaches to it");
    assert_eq!(marked(&screen), "mine");
    home.press("\r");
    home.see("control: you");
    home.press("q");
    home.see("Enter attaches to it");
    // A finished run is watched, and is still selected afterwards.
    home.press("j");
    home.see("Enter watches it");
    home.press("\r");
    home.see("outcome: ");
    home.press("q");
    let screen = home.see("Enter watches it");
    assert_eq!(marked(&screen), "older");
    home.press("k");
    place.expect(0, &["ctl", "mine", "quit"]);
    home.see("stopped");
    home.press("\r");
    home.see("Enter resumes it");
    home.press("\r");
    home.see("● TRAIN");
    open(&mut home, "q", "leave");
    home.press("j\r");
    home.exit_code();
    assert_eq!(place.show("mine")["state"], "interrupted");
}

#[test]
fn a_run_is_named_and_started_and_what_is_wrong_is_shown_in_place() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "taken"]);
    fs::write(
        place.path().join("odd.toml"),
        "[train]\nlrr = 1\n[data]\ntrain = 5\n",
    )
    .unwrap();
    let mut home = Pty::start(&place, &[], 80, 24);
    home.see("1 run ");
    open(&mut home, "n", " new run ");
    home.press("nowhere.toml\r");
    let screen = home.see("nowhere.toml is neither a config file nor a preset");
    assert!(screen.contains("tiny, books"), "{screen}");
    // Ctrl-U empties a line.
    home.press("\x15odd.toml\r");
    let screen = home.see("odd.toml:2: unknown key train.lrr");
    assert!(screen.contains("odd.toml:4: data.train"), "{screen}");
    home.press("\x15mini.toml\x1b[Btwo words\r");
    home.see("cannot be a run's name");
    home.press("\x15taken\r");
    home.see("run taken exists already");
    // The config's files are also checked.
    fs::write(
        place.path().join("far.toml"),
        common::MINI.replace("builtin:tinyshakespeare", "missing.txt"),
    )
    .unwrap();
    home.press("\x15fresh\x1b[A\x15far.toml\r");
    home.see("missing.txt");
    // Tab completes the config, moves to the next field, and changes the policy.
    home.press("\x15mi\t");
    home.see("> config  mini.toml");
    home.press("\x1b[B\x1b[B\t\t");
    home.see("pause: wait at the end");
    home.see("heirloom train mini.toml --name fresh --set policy.mode=pause");
    home.press("\r");
    home.see("round 1");
    let told = place.wait_event("fresh", "its start", |e| e["status"] == "started");
    assert_eq!(told["info"]["policy"], "pause");
    open(&mut home, "q", "leave");
    home.press("j\r");
    home.exit_code();
}

#[test]
fn esc_closes_the_form_and_the_list_is_as_it_was() {
    let place = Place::new();
    let mut home = Pty::start(&place, &[], 80, 24);
    let before = home.see("> tiny");
    open(&mut home, "n", " new run ");
    // Keys of the list type letters here.
    home.press("qGnw");
    home.see("> config  qGnw");
    home.press("\x1b");
    home.see_that("the list", |s| s == before);
    home.press("q");
    assert_eq!(home.exit_code(), 0);
}

#[test]
fn runs_are_in_the_order_of_ls() {
    let place = Place::new();
    let lines = journal::journal(Moment::Interrupted);
    // The files are written in another order than the events.
    let all = ["b", "d", "a", "c", "e"];
    for (name, later) in all.iter().zip([3, 1, 4, 0, 3]) {
        put(&place, name, &lines, later * 60_000);
    }
    let listed = place.expect(0, &["ls"]);
    let listed = names(&listed, &all);
    assert_eq!(listed, ["a", "b", "e", "d", "c"]);
    let home = Pty::start(&place, &[], 80, 24);
    let screen = home.see_that("all that was read", |s| s.matches("stopped").count() == 5);
    assert_eq!(names(&screen, &all), listed, "{screen}");
}

/// The journal of a copied run has the name of the original.
#[test]
fn a_copied_run_goes_by_its_directory() {
    let place = Place::new();
    put(&place, "copy", &journal::journal(Moment::Done), 0);
    let mut home = Pty::start(&place, &[], 80, 24);
    home.see("matched");
    home.press("\r");
    let screen = home.see("outcome: ");
    let header = screen.lines().next().unwrap();
    assert!(
        header.contains("copy") && !header.contains(journal::NAME),
        "{header}"
    );
    let title = String::from_utf8_lossy(&home.written()).into_owned();
    assert!(title.contains("\x1b]2;= copy "), "no title of the copy");
}

#[test]
fn a_run_that_cannot_be_read_says_why() {
    let place = Place::new();
    let dir = place.run_dir("broken");
    fs::create_dir_all(dir.join("events.jsonl")).unwrap();
    fs::write(dir.join("config.toml"), "").unwrap();
    let home = Pty::start(&place, &[], 80, 24);
    let screen = home.see("its journal cannot be read: ");
    assert!(screen.contains("unreadable"), "{screen}");
}

/// If nothing changes, nothing is written to the terminal.
#[test]
fn an_idle_home_screen_writes_nothing() {
    let place = Place::new();
    put(&place, "old", &journal::journal(Moment::Done), 0);
    let mut home = Pty::start(&place, &[], 80, 24);
    home.see("matched");
    std::thread::sleep(Duration::from_millis(500));
    let before = home.written().len();
    // Longer than the times between two listings and between two updates of ages.
    std::thread::sleep(Duration::from_secs(12));
    let written = home.written();
    let more = String::from_utf8_lossy(&written[before..]).into_owned();
    assert!(more.is_empty(), "written for nothing: {more:?}");
    home.press("q");
    assert_eq!(home.exit_code(), 0);
}

#[test]
fn a_thousand_runs_do_not_keep_a_key_waiting() {
    let place = Place::new();
    let lines = journal::journal(Moment::Interrupted);
    let few: String = lines.lines().take(20).map(|l| format!("{l}\n")).collect();
    for n in 0..1000 {
        let name = format!("run-{n:04}");
        put(&place, &name, &few, n);
        // Each file is a second later, independent of the file system's clock.
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + n as u64);
        let journal = place.run_dir(&name).join("events.jsonl");
        let journal = fs::File::options().append(true).open(journal).unwrap();
        journal.set_modified(at).unwrap();
    }
    let mut home = Pty::start(&place, &[], 80, 24);
    home.see("of 1000");
    let begin = Instant::now();
    home.press("G");
    home.see(" 988-1000 of 1000 ");
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    home.press("\x1b[5~");
    home.see(" 975-987 of 1000 ");
    // In the end all runs are read, including the last one.
    home.press("G");
    wait("the last run", || {
        let screen = home.text();
        let read = !screen.contains("...") && screen.contains("run-0000");
        read.then_some(())
    });
}
