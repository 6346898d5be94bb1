//! What the screens look like, and what keys do.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::curve::Curve;
use super::glyphs::Glyphs;
use super::keymap;
use super::keys::Scope;
use super::layers::LOCK;
use super::layers::decision::Decision;
use super::message::Effect;
use super::scene::Scene;
use super::screen;
use super::session::Facts;
use super::stack::Stack;
use super::theme::{ColorMode, Theme};
use super::update::{self, Desk};
use crate::run::command::{By, Command, GrowMode};
use crate::run::event::{
    Body, DecisionReason, DecisionStatus, Event, Evidence, FORMAT_VERSION, Forecast, GrowthCost,
    Outcome, Phase, PhaseResult, Plateau, RunInfo, RunStatus, Start, Suggestion,
};
use crate::run::state::RunState;

mod evidence;
pub(super) mod realistic;
mod replay;
pub(super) mod rows;

/// Events as a trainer would send them.
struct Story {
    state: RunState,
    seq: u64,
    step: u64,
    phase: Phase,
    began: u64,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            state: RunState::default(),
            seq: 0,
            step: 0,
            phase: Phase::Reference,
            began: 0,
        };
        let info = RunInfo {
            program: "heirloom 0.1.0".into(),
            name: "gpt2m-half".into(),
            host: "box".into(),
            pid: 4242,
            device: "cpu".into(),
            threads: 2,
            policy: "ask".into(),
            tokenizer: "byte".into(),
            train_tokens: 1_000_000,
            val_tokens: 100_000,
            n_layer: 8,
            n_head: 4,
            n_embd: 128,
            context_length: 128,
            vocab: 320,
            batch_tokens: 1024,
            reference_steps: 1000,
            round_steps: 200,
            grow_step: 2,
            grow_mode: GrowMode::Restart,
            max_layers: 6,
            tau: 0.9,
            probe_length: 100,
            control_random: true,
            control_reference: true,
            eval_windows: None,
            tolerance: Some(0.0),
        };
        story.tell(Body::Run {
            status: RunStatus::Started,
            info: Some(info),
            message: None,
        });
        story
    }

    fn tell(&mut self, body: Body) {
        self.seq += 1;
        let event = Event {
            v: FORMAT_VERSION,
            seq: self.seq,
            t: 1_700_000_000_000 + 100 * self.step as i64,
            elapsed: self.step as f64 / 10.0,
            step: self.step,
            phase: self.phase.clone(),
            phase_step: self.step - self.began,
            branch: 0,
            body,
        };
        self.state.apply(&event);
    }

    fn phase(&mut self, phase: Phase, layers: usize, steps: u64, start: Start) {
        (self.phase, self.began) = (phase, self.step);
        let source_layers = (0..layers).collect();
        let parameters = 200_000 * layers as u64;
        self.tell(Body::Phase {
            layers,
            parameters,
            steps,
            start,
            source_layers,
            result: None,
        });
    }

    fn train(&mut self, steps: u64, layers: usize, loss: impl Fn(f64) -> f64) {
        for i in (10..=steps).step_by(10) {
            self.step += 10;
            let noise = 0.05 * ((self.step * 7919 % 101) as f64 / 101.0 - 0.5);
            self.tell(Body::Train {
                loss: Some(loss(i as f64) + noise),
                nonfinite: None,
                lr: 1e-3,
                grad_norm: Some(1.25),
                tokens: 1024 * self.step,
                tokens_per_second: 24_500.0,
            });
            if i % 50 == 0 {
                self.eval(loss(i as f64) + 0.05);
            }
        }
        let max_rank: Vec<f64> = (0..layers)
            .map(|l| {
                if l == 7 {
                    1.0
                } else {
                    (40.0 / (l + 1) as f64).max(1.1)
                }
            })
            .collect();
        let lazy_layers = (0..layers).filter(|l| *l == 7).collect();
        self.tell(Body::Probe {
            rank: max_rank.iter().map(|r| vec![*r; 4]).collect(),
            avg_mass: vec![0.5; layers],
            max_rank,
            lazy_layers,
            block_influence: (0..layers).map(|l| 0.4 / (l + 1) as f64).collect(),
            grad_q: Vec::new(),
            grad_k: Vec::new(),
            windows: 20,
            length: 100,
            tau: 0.9,
            seconds: 0.1,
            file: "rank/x.safetensors".into(),
        });
    }

    /// Logs a training loss that is NaN, ten steps on.
    fn not_a_number(&mut self) {
        self.step += 10;
        self.tell(Body::Train {
            loss: None,
            nonfinite: Some("nan".into()),
            lr: 1e-3,
            grad_norm: None,
            tokens: 1024 * self.step,
            tokens_per_second: 1.0,
        });
    }

    fn eval(&mut self, val_loss: f64) {
        let gap = self.state.benchmark().map(|b| val_loss - b);
        self.tell(Body::Eval {
            val_loss: Some(val_loss),
            nonfinite: None,
            stderr: Some(0.01),
            windows: 256,
            blocks: None,
            gap,
            gap_stderr: gap.map(|_| 0.0023),
            matched: gap.is_some_and(|g| g <= 0.0),
            seconds: 0.3,
        });
    }

    fn end(&mut self, layers: usize, gap: Option<f64>) {
        let result = PhaseResult {
            layers,
            parameters: 200_000 * layers as u64,
            steps: self.step - self.began,
            tokens: 1024 * (self.step - self.began),
            val_loss: 2.0 + gap.unwrap_or(0.0),
            stderr: 0.01,
            gap,
            gap_stderr: gap.map(|_| 0.0023),
            tokens_per_second: 24_500.0,
            tokens_per_second_wall: 20_000.0,
            lazy_layers: if layers == 8 { vec![7] } else { Vec::new() },
            max_rank: vec![3.0; layers],
            start: Start::Inherit,
            matched: gap.is_some_and(|g| g <= 0.0),
        };
        self.tell(Body::Phase {
            layers,
            parameters: result.parameters,
            steps: result.steps,
            start: result.start,
            source_layers: Vec::new(),
            result: Some(result),
        });
    }

    fn checkpoint(&mut self) {
        self.tell(Body::Checkpoint {
            name: format!("b0-s{:08}-{}", self.step, self.phase),
            bytes: 1 << 20,
            seconds: 0.1,
            val_loss: None,
            reason: "every".into(),
            verified: true,
            begun: None,
            of_step: None,
        });
    }

    fn decision(&mut self, id: u64) {
        let forecast = |val_loss| {
            Some(Forecast {
                val_loss,
                stderr: 0.012,
                at_phase_step: 400,
            })
        };
        let evidence = Evidence {
            round: 1,
            layers: 4,
            val_loss: 2.0412,
            stderr: 0.0104,
            benchmark: 2.0,
            reference_layers: 8,
            gap: 0.0412,
            gap_stderr: 0.0023,
            tolerance: 0.0,
            matched: false,
            slope_per_1k: Some(-0.7),
            slope_stderr: Some(0.06),
            plateau: Plateau::No,
            forecast: forecast(1.99),
            forecast_grown: None,
            lazy_layers: Vec::new(),
            reference_lazy_layers: vec![7],
            growth: Some(GrowthCost {
                add: 2,
                source_layers: vec![4, 5],
                layers: 6,
                parameters: 1_250_000,
                memory_bytes: 77 << 20,
                tokens_per_second: 35_600.0,
                hours: 0.0016,
            }),
            costs: Vec::new(),
            suggestion: Suggestion::Grow,
            why: "4 layers are 0.0412 ±0.0023 behind the reference".into(),
        };
        self.tell(Body::Decision {
            id,
            status: DecisionStatus::Open,
            reason: DecisionReason::EndOfSteps,
            evidence: Some(Box::new(evidence)),
            evidence_step: Some(self.step),
            choice: None,
            by: None,
        });
    }

    /// In the first round, with a decision open.
    fn deciding() -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1000, Start::Random);
        story.eval(5.7);
        story.train(500, 8, |i| 2.0 + 3.5 * (-i / 80.0).exp());
        story.checkpoint();
        story.train(500, 8, |i| 1.95 + 0.05 * (-i / 80.0).exp());
        story.end(8, None);
        story.phase(Phase::Round(1), 4, 200, Start::Inherit);
        story.eval(3.1);
        story.train(200, 4, |i| 1.97 + 0.4 * (-i / 60.0).exp());
        story.decision(1);
        story
    }

    /// In a phase of a million steps, with one event a step.
    fn long(events: u64) -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1_000_000, Start::Random);
        for i in 0..events {
            story.step += 1;
            story.tell(Body::Train {
                loss: Some(2.0 + (i % 97) as f64 / 100.0),
                nonfinite: None,
                lr: 1e-3,
                grad_norm: Some(1.25),
                tokens: 1024 * story.step,
                tokens_per_second: 24_500.0,
            });
            if i % 50 == 0 {
                story.eval(2.5);
            }
        }
        story
    }

    /// In a round that went back to a checkpoint after its loss had jumped.
    fn gone_back() -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1000, Start::Random);
        story.train(400, 8, |i| 2.0 + 3.5 * (-i / 80.0).exp());
        story.checkpoint();
        let (from_seq, step) = (story.seq, story.step);
        story.train(300, 8, |i| 2.02 + 0.3 * (i / 300.0).powi(2));
        story.step = step;
        story.tell(Body::Rollback {
            checkpoint: "b0-s00000400-reference".into(),
            from_seq,
            why: "the loss jumped".into(),
        });
        story.train(200, 8, |i| 2.02 - 0.05 * (i / 200.0));
        story
    }

    /// After the end.
    fn done() -> Self {
        let mut story = Self::deciding();
        story.end(4, Some(0.0412));
        story.phase(Phase::Round(2), 6, 200, Start::Restart);
        story.tell(Body::Grow {
            from_layers: 4,
            to_layers: 6,
            added: vec![4, 5],
            mode: GrowMode::Restart,
            round: 2,
        });
        story.train(200, 6, |i| 1.92 + 0.4 * (-i / 60.0).exp());
        story.end(6, Some(-0.0123));
        story.phase(Phase::ControlRandom, 6, 200, Start::Random);
        story.train(200, 6, |i| 2.4 + 3.0 * (-i / 60.0).exp());
        story.end(6, Some(0.41));
        let outcome = Some(Outcome::Matched);
        story.tell(Body::Done {
            outcome,
            failed: false,
            message: "6 of 8 layers, gap -0.0123 ±0.0023".into(),
        });
        story
    }
}

/// A screen under test.
struct Screen {
    desk: Desk,
    scopes: Vec<Scope>,
    facts: Facts,
    frozen: bool,
    theme: Theme,
    glyphs: Glyphs,
    curve: Curve,
    clock: Instant,
    zone: TimeZone,
    now: Option<i64>,
}

impl Screen {
    fn new() -> Self {
        Self {
            desk: Desk::default(),
            scopes: Vec::new(),
            facts: Facts {
                owner: true,
                ..Facts::default()
            },
            frozen: false,
            theme: Theme::new(ColorMode::Indexed),
            glyphs: Glyphs::Braille,
            curve: Curve::default(),
            clock: Instant::now(),
            zone: TimeZone::UTC,
            now: None,
        }
    }

    /// What is drawn of a run.
    fn scene<'a>(&'a mut self, run: &'a RunState) -> Scene<'a> {
        self.curve.follow(&run.history);
        self.scopes = keymap::below(&self.desk.ui, &self.facts);
        Scene {
            run,
            facts: &self.facts,
            frozen: self.frozen,
            ui: &self.desk.ui,
            tables: &self.desk.tables,
            scopes: &self.scopes,
            curve: &self.curve,
            theme: &self.theme,
            glyphs: self.glyphs,
            title: "untold",
            zone: &self.zone,
            clock: self.now,
        }
    }

    fn buffer(&mut self, run: &RunState, width: u16, height: u16) -> Buffer {
        let layers = std::mem::take(&mut self.desk.layers);
        let scene = self.scene(run);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let draw = |frame: &mut Frame<'_>| screen::draw(frame, &scene, &layers);
        terminal.draw(draw).unwrap();
        self.desk.layers = layers;
        terminal.backend().buffer().clone()
    }

    fn text(&mut self, run: &RunState, width: u16, height: u16) -> String {
        let buffer = self.buffer(run, width, height);
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| {
            row.iter()
                .map(|c| c.symbol())
                .collect::<String>()
                .trim_end()
                .to_string()
                + "\n"
        })
        .collect()
    }

    /// Presses a key after the lock of a prompt has run out.
    fn press(&mut self, run: &RunState, code: KeyCode) -> Vec<Effect> {
        self.clock += 2 * LOCK;
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        let effects = update::on_key(&mut self.desk, &self.facts, run, &key, self.clock);
        if effects == [Effect::Freeze] {
            self.frozen = !self.frozen;
        }
        effects
    }

    /// Looks at a run that has changed.
    fn look(&mut self, run: &RunState) {
        update::on_run(&mut self.desk, &self.facts, run, self.clock);
    }

    fn decision(&self) -> Option<&Decision> {
        self.desk.layers.find()
    }
}

const D: KeyCode = KeyCode::Char('D');

#[test]
fn overview() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    insta::assert_snapshot!("overview_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("overview_200x60", screen.text(&story.state, 200, 60));
    insta::assert_snapshot!("overview_40x12", screen.text(&story.state, 40, 12));
    insta::assert_snapshot!("overview_1x1", screen.text(&story.state, 1, 1));
    screen.glyphs = Glyphs::Ascii;
    let text = screen.text(&story.state, 80, 24);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!("overview_ascii_80x24", text);
}

#[test]
fn decision() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    insta::assert_snapshot!("decision_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("decision_200x60", screen.text(&story.state, 200, 60));
    insta::assert_snapshot!("decision_40x12", screen.text(&story.state, 40, 12));
    screen.press(&story.state, KeyCode::Enter);
    insta::assert_snapshot!("decision_confirm_80x24", screen.text(&story.state, 80, 24));
}

#[test]
fn what_a_rollback_left_behind_stays_in_sight() {
    let story = Story::gone_back();
    let mut screen = Screen::new();
    insta::assert_snapshot!("rollback_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("rollback_120x40", screen.text(&story.state, 120, 40));
    screen.glyphs = Glyphs::Ascii;
    insta::assert_snapshot!("rollback_ascii_120x40", screen.text(&story.state, 120, 40));
    let dim = |screen: &mut Screen| {
        let buffer = screen.buffer(&story.state, 120, 40);
        let cells = buffer.content().iter();
        let dim = cells.filter(|c| c.modifier.contains(Modifier::DIM) && c.symbol() == ":");
        dim.count()
    };
    assert!(dim(&mut screen) > 10, "the abandoned line is dim");
    screen.press(&story.state, KeyCode::Char('x'));
    screen.press(&story.state, KeyCode::Char('s'));
    screen.press(&story.state, KeyCode::Char('s'));
    assert!(
        dim(&mut screen) > 10,
        "and there without smoothing, over tokens"
    );
}

#[test]
fn a_loss_that_is_no_number_is_a_gap_with_a_cross() {
    let mut story = Story::new();
    story.phase(Phase::Reference, 8, 1000, Start::Random);
    story.train(300, 8, |_| 2.0);
    let before = Screen::new().text(&story.state, 80, 24);
    story.not_a_number();
    story.train(300, 8, |_| 2.0);
    let after = Screen::new().text(&story.state, 80, 24);
    let crosses = |text: &str| {
        let chart = text.lines().take_while(|l| !l.contains("attention rank"));
        chart.map(|l| l.matches('×').count()).sum::<usize>()
    };
    assert_eq!(crosses(&before), 0, "{before}");
    assert_eq!(crosses(&after), 1, "{after}");
}

#[test]
fn loading_tells_how_far_it_is() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    screen.facts.loading = Some(0.429);
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("LOADING 42%"), "{text}");
}

/// `cargo test --lib a_frame_over -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn a_frame_over_a_million_points_is_drawn_and_timed() {
    let long = Story::long(1_000_000);
    let short = Story::long(1000);
    for (width, height) in [(80, 24), (200, 60)] {
        for story in [&short, &long] {
            let mut screen = Screen::new();
            let text = screen.text(&story.state, width, height);
            assert!(text.contains("1,000,000"), "{text}");
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut took: Vec<Duration> = (0..101)
                .map(|_| {
                    let scene = screen.scene(&story.state);
                    let began = Instant::now();
                    let none = Stack::default();
                    let draw = |frame: &mut Frame<'_>| screen::draw(frame, &scene, &none);
                    terminal.draw(draw).unwrap();
                    began.elapsed()
                })
                .collect();
            took.sort();
            let points = story.state.live().train.points();
            println!("{width}x{height}, {points} points: median {:?}", took[50]);
        }
    }
}

#[test]
fn result_help_leave_and_nothing_yet() {
    let story = Story::done();
    let mut screen = Screen::new();
    insta::assert_snapshot!("result_80x24", screen.text(&story.state, 80, 24));
    insta::assert_snapshot!("result_200x60", screen.text(&story.state, 200, 60));
    screen.press(&story.state, KeyCode::Char('?'));
    insta::assert_snapshot!("help_80x24", screen.text(&story.state, 80, 24));
    let mut screen = Screen::new();
    screen.press(&Story::deciding().state, KeyCode::Char('q'));
    insta::assert_snapshot!("leave_80x24", screen.text(&Story::deciding().state, 80, 24));
    insta::assert_snapshot!(
        "empty_80x24",
        Screen::new().text(&RunState::default(), 80, 24)
    );
}

#[test]
fn every_size_and_state_can_be_drawn() {
    let stories = [Story::new(), Story::deciding(), Story::done()];
    for story in &stories {
        for open in [
            None,
            Some(D),
            Some(KeyCode::Char('q')),
            Some(KeyCode::Char('?')),
        ] {
            let mut screen = Screen::new();
            screen.desk.ui.notice = Some("a notice".into());
            if let Some(key) = open {
                screen.press(&story.state, key);
            }
            for width in (0..90).step_by(3).chain([200]) {
                for height in (0..30).chain([60]) {
                    screen.text(&story.state, width, height);
                }
            }
        }
    }
}

#[test]
fn many_layers_and_hostile_names_stay_inside_their_panels() {
    let mut story = Story::new();
    let mut info = story.state.info.clone().unwrap();
    info.name = "evil\u{1b}[2J\u{202e}name".into();
    story.tell(Body::Run {
        status: RunStatus::Running,
        info: Some(info),
        message: None,
    });
    story.phase(Phase::Reference, 48, 1000, Start::Random);
    story.train(100, 48, |_| 2.0);
    story.tell(Body::Warning {
        message: "disk\r\n\u{9b}2J full".into(),
    });
    let text = Screen::new().text(&story.state, 80, 24);
    assert!(text.contains("evilname"), "{text}");
    assert!(text.contains("! disk  full"), "{text}");
    assert!(
        text.contains("L47") && text.contains("1 of 48 LAZY (×)"),
        "{text}"
    );
    assert!(
        !text.contains(['\u{1b}', '\u{9b}', '\r', '\u{202e}']),
        "{text:?}"
    );
}

#[test]
fn without_colour_nothing_is_lost() {
    let story = Story::deciding();
    let mut screen = Screen::new();
    let coloured = screen.text(&story.state, 80, 24);
    screen.theme = Theme::mono();
    assert_eq!(screen.text(&story.state, 80, 24), coloured);
    screen.press(&story.state, D);
    let buffer = screen.buffer(&story.state, 80, 24);
    let reversed = buffer
        .content()
        .iter()
        .filter(|c| c.modifier.contains(Modifier::REVERSED))
        .count();
    assert_eq!(
        reversed,
        "> grow by 2 (restart) ".len(),
        "the chosen entry stands out"
    );
    assert!(
        buffer
            .content()
            .iter()
            .all(|c| c.fg == ratatui::style::Color::Reset)
    );
}

#[test]
fn the_decision_is_chosen_confirmed_and_sent() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    assert_eq!(screen.press(&run, D), []);
    screen.press(&run, KeyCode::Char('-'));
    screen.press(&run, KeyCode::Char('m'));
    screen.press(&run, KeyCode::Enter);
    assert_eq!(
        screen.press(&run, KeyCode::Esc),
        [],
        "back from the confirmation"
    );
    screen.press(&run, KeyCode::Enter);
    let grow = Command::Grow {
        layers: 1,
        mode: Some(GrowMode::Keep),
        decision: Some(1),
    };
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Send(grow)]);
    assert!(screen.desk.layers.top().is_none());

    screen.press(&run, D);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Char('+'));
    screen.press(&run, KeyCode::Enter);
    let train_on = Command::TrainOn {
        steps: 200,
        decision: Some(1),
    };
    assert_eq!(
        screen.press(&run, KeyCode::Char('y')),
        [Effect::Send(train_on)]
    );

    screen.press(&run, D);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Down);
    screen.press(&run, KeyCode::Enter);
    assert_eq!(
        screen.press(&run, KeyCode::Enter),
        [Effect::Send(Command::Stop { decision: Some(1) })]
    );
}

#[test]
fn growth_never_goes_beyond_the_layers_there_are() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, D);
    for _ in 0..9 {
        screen.press(&run, KeyCode::Char('+'));
    }
    screen.press(&run, KeyCode::Enter);
    let [Effect::Send(Command::Grow { layers, .. })] = screen.press(&run, KeyCode::Enter)[..]
    else {
        panic!("no growth")
    };
    assert_eq!(layers, 2, "4 of at most 6");
}

#[test]
fn a_key_pressed_just_as_the_prompt_opens_decides_nothing() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    let now = screen.clock;
    let mut press = |code, at| {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        update::on_key(&mut screen.desk, &screen.facts, &run, &key, at);
        screen.desk.layers.confirming()
    };
    let almost = LOCK - Duration::from_millis(1);
    press(D, now);
    assert!(!press(KeyCode::Enter, now + almost));
    assert!(press(KeyCode::Enter, now + LOCK));
    // The confirmation is locked for as long.
    press(KeyCode::Enter, now + LOCK + almost);
    assert!(screen.desk.layers.confirming());
}

#[test]
fn an_answer_to_a_decision_that_was_replaced_is_not_sent() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    screen.press(&story.state, KeyCode::Enter);
    story.decision(2);
    assert_eq!(screen.press(&story.state, KeyCode::Enter), []);
    assert!(
        screen
            .desk
            .ui
            .notice
            .as_deref()
            .is_some_and(|n| n.contains("changed"))
    );
}

#[test]
fn asking_for_fresh_evidence_opens_the_prompt_when_it_comes() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    screen.press(&story.state, D);
    assert_eq!(
        screen.press(&story.state, KeyCode::Char('r')),
        [Effect::Send(Command::Decide)]
    );
    screen.look(&story.state);
    assert!(
        screen.desk.layers.top().is_none(),
        "the old evidence does not open it"
    );
    story.decision(2);
    screen.look(&story.state);
    assert!(screen.decision().is_some_and(|p| p.decision.id == 2));
}

#[test]
fn leaving_asks_the_owner_and_nobody_else() {
    let run = Story::deciding().state;
    let q = KeyCode::Char('q');
    let mut screen = Screen::new();
    assert_eq!(screen.press(&run, q), []);
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Detach]);
    screen.press(&run, q);
    screen.press(&run, KeyCode::Down);
    assert_eq!(
        screen.press(&run, KeyCode::Enter),
        [Effect::Send(Command::Quit)]
    );
    assert!(screen.desk.ui.quitting);

    let mut watching = Screen::new();
    (watching.facts.read_only, watching.facts.owner) = (true, false);
    assert_eq!(watching.press(&run, KeyCode::Char('p')), []);
    assert!(
        watching
            .desk
            .ui
            .notice
            .as_deref()
            .is_some_and(|n| n.contains("read only"))
    );
    assert_eq!(watching.press(&run, q), [Effect::Close]);

    let mut after = Screen::new();
    assert_eq!(after.press(&Story::done().state, q), [Effect::Close]);
}

#[test]
fn pausing_resuming_and_checkpointing_are_one_key_each() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    let p = KeyCode::Char('p');
    assert_eq!(
        screen.press(&story.state, p),
        [Effect::Send(Command::Pause)]
    );
    story.tell(Body::Run {
        status: RunStatus::Paused,
        info: None,
        message: None,
    });
    assert_eq!(
        screen.press(&story.state, p),
        [Effect::Send(Command::Resume)]
    );
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("PAUSED") && !text.contains("because"));
    story.tell(Body::Run {
        status: RunStatus::Paused,
        info: None,
        message: Some("the finished reference is in memory only ".repeat(3)),
    });
    let text = screen.text(&story.state, 80, 24);
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with(" because the finished reference is in memory"),
        "{text}"
    );
    assert_eq!(
        screen.press(&story.state, KeyCode::Char('c')),
        [Effect::Send(Command::Checkpoint)]
    );
    story.tell(Body::Command {
        id: 1,
        by: By::Keyboard,
        command: Command::Checkpoint,
        pid: None,
    });
}

#[test]
fn a_frozen_display_stands_still_and_a_zoom_moves_the_axis() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char('f'));
    assert!(screen.frozen);
    screen.press(&run, KeyCode::Char('f'));
    assert!(!screen.frozen);
    screen.press(&run, KeyCode::Char('+'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("x2") && text.contains("step 100"), "{text}");
    screen.press(&run, KeyCode::Char('<'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("step 75"), "{text}");
    screen.press(&run, KeyCode::Char('='));
    screen.press(&run, KeyCode::Char('x'));
    assert!(screen.text(&run, 80, 24).contains("tokens 0"));
    screen.press(&run, KeyCode::Char('y'));
    assert!(screen.text(&run, 80, 24).contains("log"));
}

#[test]
fn a_growth_by_no_layers_cannot_be_made_smaller() {
    let mut run = Story::deciding().state;
    let decision = run.core.decision.as_mut().unwrap();
    decision.evidence.growth.as_mut().unwrap().add = 0;
    let mut screen = Screen::new();
    screen.press(&run, D);
    screen.press(&run, KeyCode::Char('-'));
    let Some(prompt) = screen.decision() else {
        panic!("no prompt")
    };
    assert_eq!(prompt.layers, 1);
}
