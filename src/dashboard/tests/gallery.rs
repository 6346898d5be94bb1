//! Draws every screen that the tests know, for the tests of contrast and of characters.

use super::realistic::journal::Moment;
use super::realistic::run_at;
use super::*;
use crate::dashboard::neighbours::Compared;
use crate::dashboard::starting::{self, Starting};
use crate::dashboard::{keymap, layers};
use crate::run::event::Warning;

/// The runs that the screens show.
pub struct Gallery {
    moments: Vec<(&'static str, RunState, i64)>,
    stories: Vec<(&'static str, RunState)>,
}

/// Keys that change how the overview and the log look.
const LOOKS: &[(&str, &[&str])] = &[
    ("cursor", &["v"]),
    ("gap", &["t"]),
    ("all values", &["Y", "y"]),
    ("whole run", &["="]),
    ("zoomed", &["+", "+", "<"]),
    ("alone", &["o"]),
    ("multiple", &["]", "]"]),
    ("frozen", &["f"]),
    ("refused", &["y", ":", "x", "y", "Enter"]),
    ("log", &["4"]),
    ("eval", &["5"]),
    ("warnings", &["4", "w"]),
    ("found", &["4", "/", "e", "v", "a", "l", "Enter"]),
];

impl Gallery {
    pub fn new() -> Self {
        let moments = Moment::ALL.iter().map(|&moment| {
            let run = run_at(moment);
            let now = run.t + moment.silence_ms();
            (moment.name(), run, now)
        });
        let mut not_a_number = Story::deciding();
        not_a_number.not_a_number();
        let mut far = Story::deciding();
        far.eval(1e11);
        let mut noted = Story::gone_back();
        noted.emit(Body::Warning(Warning {
            message: "disk full: ±1 of 2 …".into(),
        }));
        Self {
            moments: moments.collect(),
            stories: vec![
                ("empty", RunState::default()),
                ("new", Story::new().state),
                ("deciding story", Story::deciding().state),
                ("not a number", not_a_number.state),
                ("far", far.state),
                ("gone back", noted.state),
                ("done story", Story::done().state),
            ],
        }
    }

    fn moment(&self, moment: Moment) -> &RunState {
        let mut all = self.moments.iter();
        let found = all.find(|(name, ..)| *name == moment.name());
        &found.unwrap().1
    }

    /// Draws everything, with a name for each frame.
    pub fn draw(&self, theme: Theme, glyphs: Glyphs, mut each: impl FnMut(&str, &Buffer)) {
        let screen = || {
            let mut screen = Screen::new();
            (screen.theme, screen.glyphs) = (theme, glyphs);
            screen
        };
        for (name, run, now) in &self.moments {
            for (width, height) in [(80, 24), (200, 60), (40, 12)] {
                let mut screen = screen();
                screen.now = Some(*now);
                each(name, &screen.buffer(run, width, height));
            }
        }
        for (name, run) in &self.stories {
            for (width, height) in [(80, 24), (120, 40)] {
                each(name, &screen().buffer(run, width, height));
            }
        }
        let deciding = self.moment(Moment::Deciding);
        let opened = layers::all().map(|row| (row.id, row.keys[..1].to_vec()));
        let states = super::layers::STATES.iter().map(|(id, _, keys)| {
            let row = layers::all().find(|row| row.id == *id).unwrap();
            (*id, [&row.keys[..1], keys].concat())
        });
        let looks = LOOKS.iter().map(|(name, keys)| (*name, keys.to_vec()));
        for (name, keys) in opened.chain(states).chain(looks) {
            for (width, height) in [(80, 24), (200, 60)] {
                let mut screen = screen();
                for key in &keys {
                    // A layer gets its number of rows from a drawn frame.
                    screen.buffer(deciding, width, height);
                    screen.press(deciding, keymap::event(key).code);
                }
                let name = format!("{name} {keys:?}");
                each(&name, &screen.buffer(deciding, width, height));
            }
        }
        for (name, facts) in facts(self.moment(Moment::Done)) {
            let mut screen = screen();
            screen.facts = facts;
            screen.desk.ui.notice = Some("an answer".into());
            for (width, height) in [(80, 24), (200, 60)] {
                each(name, &screen.buffer(deciding, width, height));
            }
        }
    }
}

/// Returns facts with which a run is drawn, with names.
fn facts(other: &RunState) -> Vec<(&'static str, Facts)> {
    let starting = |stopping, step: Option<(&str, &str)>| Starting {
        facts: std::sync::Arc::new(starting::Facts {
            title: "a run".into(),
            device: "cpu · 2 threads".into(),
            phases: vec!["Reference: 12 layers, 1500 steps".into()],
        }),
        reading: "/a/path/so/long/that/its/beginning/has/no/room/on/a/screen/of/80/columns/x.txt"
            .into(),
        bytes: (25, 60),
        note: Some("tokenizing".into()),
        step: step.map(|(a, b)| (a.into(), b.into())),
        stopping,
    };
    let of = |change: &dyn Fn(&mut Facts)| {
        let mut facts = Facts::default();
        change(&mut facts);
        facts
    };
    vec![
        ("loading", of(&|f| f.loading = Some(0.4))),
        ("read only", of(&|f| f.read_only = true)),
        (
            "controlled",
            of(&|f| f.controller = Some("ann@pts/3".into())),
        ),
        (
            "compared",
            of(&|f| {
                f.nearby.compared = Some(Compared {
                    name: "wide".into(),
                    run: Box::new(other.clone()),
                });
            }),
        ),
        ("replay", of(&|f| f.replay = Some(super::replay::playing()))),
        (
            "starting",
            of(&|f| f.starting = Some(starting(false, None))),
        ),
        (
            "stopping",
            of(&|f| f.starting = Some(starting(true, Some(("building", "the model"))))),
        ),
    ]
}

#[test]
fn a_screen_without_utf8_is_ascii_everywhere() {
    let gallery = Gallery::new();
    gallery.draw(Theme::mono(), Glyphs::Ascii, |name, buffer| {
        for (i, cell) in buffer.content().iter().enumerate() {
            let (x, y) = buffer.pos_of(i);
            let symbol = cell.symbol();
            assert!(
                symbol.is_ascii(),
                "{name}: {symbol:?} at {x},{y}: {buffer:?}"
            );
        }
    });
}

/// The fonts of Linux's console have no Braille.
#[test]
fn a_screen_of_blocks_has_no_braille() {
    let gallery = Gallery::new();
    gallery.draw(Theme::mono(), Glyphs::Block, |name, buffer| {
        let mut cells = buffer.content().iter().flat_map(|c| c.symbol().chars());
        let braille = cells.find(|c| ('\u{2800}'..='\u{28ff}').contains(c));
        assert_eq!(braille, None, "{name}: {buffer:?}");
    });
}
