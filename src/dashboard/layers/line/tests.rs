use std::time::Instant;

use crossterm::event::KeyModifiers;

use super::*;
use crate::dashboard::layers::LOCK;
use crate::dashboard::session::Facts;
use crate::dashboard::update::{self, Desk};
use crate::run::event::{Body, CheckpointWritten, Event};
use crate::run::state::RunState;

/// A screen on which the command line is used.
struct Typing {
    desk: Desk,
    facts: Facts,
    run: RunState,
    clock: Instant,
}

impl Typing {
    fn new() -> Self {
        Self {
            desk: Desk::default(),
            facts: Facts {
                owner: true,
                ..Facts::default()
            },
            run: RunState::default(),
            clock: Instant::now(),
        }
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
        let key = KeyEvent::new(code, modifiers);
        update::on_key(&mut self.desk, &self.facts, &self.run, &key, self.clock)
    }

    /// Types these characters; line breaks, tabs and arrows stand for their keys.
    fn type_(&mut self, text: &str) -> Vec<Effect> {
        let mut last = Vec::new();
        for c in text.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '↑' => KeyCode::Up,
                '↓' => KeyCode::Down,
                '←' => KeyCode::Left,
                c => KeyCode::Char(c),
            };
            last = self.press(code, KeyModifiers::NONE);
        }
        last
    }

    fn line(&self) -> Option<&CommandLine> {
        self.desk.layers.find::<CommandLine>()
    }

    fn text(&self) -> &str {
        self.line().map_or("closed", |l| l.input.value())
    }
}

#[test]
fn a_command_is_sent_and_a_drastic_one_is_confirmed_first() {
    let mut typing = Typing::new();
    let lr = Effect::Send(Command::SetLr { lr: 2e-4 });
    assert_eq!(typing.type_(":lr 2e-4\n"), [lr]);
    assert_eq!(typing.type_(":quit\n"), []);
    // A second Enter right after the first does not confirm.
    assert_eq!(typing.type_("\n"), []);
    typing.clock += LOCK;
    assert_eq!(typing.type_("\n"), [Effect::Send(Command::Quit)]);
    assert_eq!(typing.type_(":take-control\n"), [Effect::TakeControl]);
}

#[test]
fn a_question_about_another_stretch_of_the_run_is_not_answered() {
    let mut typing = Typing::new();
    typing.type_(":quit\n");
    typing.clock += LOCK;
    typing.run.running_since = 7;
    assert_eq!(typing.type_("\n"), []);
    let notice = typing.desk.ui.notice.take().unwrap();
    assert!(notice.contains("another phase"), "{notice}");
    // Esc followed at once by any other key also goes back.
    typing.type_(":quit\n");
    typing.clock += LOCK;
    assert_eq!(typing.press(KeyCode::Char('y'), KeyModifiers::ALT), []);
    assert!(!typing.desk.layers.confirming());
}

#[test]
fn what_is_not_understood_stays_to_be_corrected() {
    let mut typing = Typing::new();
    typing.type_(":grwo 2\n");
    let error = typing.line().unwrap().error.as_ref().unwrap();
    assert!(error.contains("did you mean grow"), "{error}");
    typing.type_("x");
    assert_eq!(typing.text(), "grwo 2x");
    assert!(typing.line().unwrap().error.is_none());
    // Commands of the screen are also suggested.
    let mut typing = Typing::new();
    typing.type_(":frezee\n");
    let error = typing.line().unwrap().error.as_ref().unwrap();
    assert!(error.contains("did you mean freeze"), "{error}");
}

#[test]
fn tab_completes_commands_settings_and_checkpoints() {
    let mut typing = Typing::new();
    for (seq, name) in (1..).zip(["b0-s00000010-round-1", "b0-s00000020-round-1"]) {
        let body = Body::Checkpoint(CheckpointWritten {
            name: name.into(),
            bytes: 1,
            seconds: 0.1,
            val_loss: None,
            reason: "steps".into(),
            verified: true,
            begun: None,
            of_step: None,
            milestone: None,
        });
        typing.run.apply(&Event::numbered(seq, body));
    }
    for (text, wanted) in [
        (":pau\t", "pause"),
        (":gr\t", "grow "),
        (":se\t", "set lr"),
        (":se\t\t", "set weight_decay"),
        (":set\t", "set "),
        (":set l\t", "set lr "),
        (":set wei\t", "set weight_decay "),
        (":set c\t", "set clip "),
        (":set m\t", "set mixture "),
        (":cool\t", "cooldown "),
        (":unf\t", "unfreeze "),
        (":tr\t", "train-on "),
        (":zoom i\t", "zoom in"),
        (":rollback \t", "rollback b0-s000000"),
        // The newest checkpoint comes first, then the previous one.
        (":rollback \t\t", "rollback b0-s00000020-round-1"),
        (":rollback \t\t\t", "rollback b0-s00000010-round-1"),
        (":rollback b0-s00000010\t", "rollback b0-s00000010-round-1"),
        (":nothing\t", "nothing"),
    ] {
        typing.desk.layers = Default::default();
        typing.type_(text);
        assert_eq!(typing.text(), wanted, "{text:?}");
    }
}

#[test]
fn tab_completes_runs_and_config_keys_and_they_are_shown() {
    let mut typing = Typing::new();
    assert_eq!(typing.type_(":"), [Effect::LookAround]);
    typing.facts.nearby.runs = ["tiny-2", "wide", "has blank"].map(String::from).into();
    typing.facts.nearby.config = vec![("train.lr", "0.0003".into())];
    for (text, wanted) in [
        (":comp\t", "compare "),
        (":compare t\t", "compare tiny-2"),
        // A name of two words is left out.
        (":compare h\t", "compare h"),
        (":conf\t", "config "),
        (":config train.lr\t", "config train.lr"),
        (":config mat\t\t", "config match.tolerance"),
        (":config mat\t\t\t", "config match.patience"),
    ] {
        typing.desk.layers = Default::default();
        typing.type_(text);
        assert_eq!(typing.text(), wanted, "{text:?}");
    }
    typing.desk.layers = Default::default();
    typing.type_(":config train.lr\n");
    let shown = typing.line().unwrap().shown.as_deref().unwrap();
    assert!(
        shown.starts_with("train.lr = 0.0003\nPeak learning rate."),
        "{shown}"
    );
    typing.type_("x");
    assert!(typing.line().unwrap().shown.is_none());
    for (line, wanted) in [
        (":config train.steps\n", "train.steps = not set"),
        (":config train.stpes\n", "did you mean train.steps?"),
        (":config \n", "unknown key \"\""),
        (":compare wdie\n", "did you mean wide?"),
        (":compare zzzzzz\n", "Tab lists those that do"),
    ] {
        typing.desk.layers = Default::default();
        typing.type_(line);
        let p = typing.line().unwrap();
        let answer = p.error.as_deref().or(p.shown.as_deref()).unwrap();
        assert!(answer.contains(wanted), "{line:?}: {answer}");
    }
    typing.desk.layers = Default::default();
    let wide = Effect::Compare(Some("wide".into()));
    assert_eq!(typing.type_(":compare wide\n"), [wide]);
    assert_eq!(typing.type_(":compare\n"), [Effect::Compare(None)]);
}

#[test]
fn earlier_lines_come_back_and_lines_can_be_edited() {
    let mut typing = Typing::new();
    typing.type_(":eval\n");
    typing.type_(":probe\n");
    typing.type_(":↑");
    assert_eq!(typing.text(), "probe");
    typing.type_("↑");
    assert_eq!(typing.text(), "eval");
    typing.type_("↓↓");
    assert_eq!(typing.text(), "");
    typing.type_("set lr 1e-4←←x");
    assert_eq!(typing.text(), "set lr 1ex-4");
    typing.press(KeyCode::Char('w'), KeyModifiers::CONTROL);
    assert!(typing.text().len() < "set lr 1ex-4".len());
    typing.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    assert_eq!(typing.text(), "");
}

#[test]
fn pasted_text_stands_at_the_cursor_and_sends_nothing() {
    let mut typing = Typing::new();
    typing.type_(":set 2e-4←←←←");
    update::on_paste(&mut typing.desk, "lr\n");
    assert_eq!(typing.text(), "set lr 2e-4");
    update::on_paste(&mut typing.desk, &"x".repeat(999));
    assert_eq!(typing.text().chars().count(), LONGEST);
    // Without an open line, pasted text does not act as keys.
    let mut typing = Typing::new();
    update::on_paste(&mut typing.desk, "q");
    assert!(typing.line().is_none());
    assert!(typing.desk.ui.notice.is_some());
}
