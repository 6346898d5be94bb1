//! The form for a new run: a preset or a config, a name, a policy.

use std::cell::Cell;

use anyhow::Result;
use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::complete;
use crate::config;
use crate::dashboard::layers::input::insert;
use crate::dashboard::layers::line::shared_prefix;
use crate::dashboard::message::Act;

/// Most characters of a path, and of a name.
const LONGEST: usize = 1000;

/// The preset or config to train.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// A preset's name, or the path of a config as [`crate::text::exact`] writes it.
    pub config: String,
    /// `None`: the preset's, with date and time.
    pub name: Option<String>,
    /// `policy.mode`; `None`: the config's.
    pub policy: Option<&'static str>,
}

impl Start {
    /// Starts a preset or config without changes.
    pub fn of(config: &str) -> Self {
        Self {
            config: config.into(),
            ..Self::default()
        }
    }

    /// Returns the changes to the config, in the form of `--set`.
    pub fn overrides(&self) -> Vec<String> {
        let set = |mode| format!("policy.mode={mode}");
        self.policy.into_iter().map(set).collect()
    }
}

/// Checks that a run can be started.
///
/// # Errors
/// When its config, its name, or a file that it reads is not usable.
pub type Check<'a> = &'a dyn Fn(&Start) -> Result<()>;

/// Values of `policy.mode` with their meanings.
pub const POLICIES: [(Option<&str>, &str); 4] = [
    (None, "from the config; ask if unset there"),
    (
        Some("ask"),
        "ask: train on past the end of a round until you decide",
    ),
    (
        Some("pause"),
        "pause: wait at the end of a round until you decide",
    ),
    (
        Some("auto"),
        "auto: grow while worse than the reference, without asking",
    ),
];

/// The fields of the form, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field {
    #[default]
    Config,
    Name,
    Policy,
}

/// The result of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Stay,
    Close,
    Start(Start),
}

/// The form with its present values.
#[derive(Debug, Default)]
pub struct Form {
    pub field: Field,
    pub config: Input,
    pub name: Input,
    /// Index into [`POLICIES`].
    pub policy: usize,
    /// Why the run cannot be started.
    pub error: Option<String>,
    /// Scrolled lines of the error. `shape` holds their largest possible number and the rows shown, as of the last frame.
    pub from: usize,
    pub shape: Cell<(usize, usize)>,
    /// Completions of the config, and the one that was used last.
    pub candidates: Vec<String>,
    pub taken: Option<usize>,
}

impl Form {
    /// Carries out a command of the form.
    pub fn act(&mut self, act: Act, check: Check<'_>) -> Step {
        let (most, rows) = self.shape.get();
        match act {
            Act::Back => return Step::Close,
            Act::Accept => return self.accept(check),
            Act::Next => self.enter(match self.field {
                Field::Config => Field::Name,
                _ => Field::Policy,
            }),
            Act::Previous => self.enter(match self.field {
                Field::Policy => Field::Name,
                _ => Field::Config,
            }),
            Act::PageDown => self.from = (self.from + rows.max(1)).min(most),
            Act::PageUp => self.from = self.from.min(most).saturating_sub(rows.max(1)),
            Act::Complete => match self.field {
                Field::Config => self.complete(),
                Field::Name => self.enter(Field::Policy),
                Field::Policy => self.turn(1),
            },
            _ => {}
        }
        Step::Stay
    }

    /// Handles a key that no command is bound to.
    pub fn type_key(&mut self, key: &KeyEvent) {
        let field = match self.field {
            Field::Config => &mut self.config,
            Field::Name => &mut self.name,
            Field::Policy => {
                return match key.code {
                    KeyCode::Left => self.turn(POLICIES.len() - 1),
                    KeyCode::Right | KeyCode::Char(' ') => self.turn(1),
                    _ => {}
                };
            }
        };
        let full = field.value().chars().count() >= LONGEST;
        if !(full && matches!(key.code, KeyCode::Char(_))) {
            field.handle_event(&Event::Key(*key));
        }
        self.forget();
    }

    /// Inserts pasted text.
    pub fn paste(&mut self, text: &str) {
        match self.field {
            Field::Config => insert(&mut self.config, text, LONGEST),
            Field::Name => insert(&mut self.name, text, LONGEST),
            Field::Policy => return,
        }
        self.forget();
    }

    /// Returns the values of the fields; the config may be empty.
    pub fn start(&self) -> Start {
        let name = self.name.value().trim();
        Start {
            config: self.config.value().trim().into(),
            name: (!name.is_empty()).then(|| name.into()),
            policy: POLICIES[self.policy].0,
        }
    }

    fn accept(&mut self, check: Check<'_>) -> Step {
        let start = self.start();
        self.forget();
        let problem = match start.config.as_str() {
            "" => {
                let names: Vec<&str> = config::presets().iter().map(|p| p.name).collect();
                let names = names.join(", ");
                Some(format!(
                    "give the name of a preset ({names}) or the path of a config"
                ))
            }
            _ => check(&start).err().map(|error| format!("{error:#}")),
        };
        match problem {
            None => Step::Start(start),
            Some(problem) => {
                self.error = Some(format!("cannot start: {problem}"));
                Step::Stay
            }
        }
    }

    fn enter(&mut self, field: Field) {
        self.field = field;
        self.candidates.clear();
        self.taken = None;
    }

    /// Selects the policy `n` places further down.
    fn turn(&mut self, n: usize) {
        self.policy = (self.policy + n) % POLICIES.len();
        self.forget();
    }

    /// Drops the error and the completions, which belong to earlier values.
    fn forget(&mut self) {
        (self.error, self.taken, self.from) = (None, None, 0);
        self.candidates.clear();
    }

    /// Completes the config to the only match, or to the next one of several. A complete config moves to the next field.
    fn complete(&mut self) {
        if self.taken.is_none() {
            self.forget();
            self.candidates = complete::candidates(self.config.value());
        }
        let typed = self.config.value();
        match &self.candidates[..] {
            [] => {}
            [only] if only == typed => self.enter(Field::Name),
            [only] => {
                self.config = Input::new(only.clone());
                self.candidates.clear();
            }
            several => {
                let shared = shared_prefix(several);
                if self.taken.is_none() && shared.len() > typed.len() {
                    self.config = Input::new(shared);
                    return;
                }
                let next = self.taken.map_or(0, |i| (i + 1) % several.len());
                self.config = Input::new(several[next].clone());
                self.taken = Some(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::dashboard::keys;

    fn typed(form: &mut Form, text: &str) {
        for c in text.chars() {
            form.type_key(&keys::event(&c.to_string()));
        }
    }

    #[test]
    fn a_form_becomes_a_command_once_it_is_right() {
        let mut form = Form::default();
        let check = |start: &Start| match start.name.as_deref() {
            Some("taken") => bail!("run taken exists already"),
            _ => Ok(()),
        };
        assert_eq!(form.act(Act::Accept, &check), Step::Stay);
        let error = form.error.clone().unwrap();
        assert!(
            error.contains("give the name of a preset (tiny, books)"),
            "{error}"
        );
        typed(&mut form, "nq.toml");
        assert_eq!((form.config.value(), &form.error), ("nq.toml", &None));
        form.act(Act::Next, &check);
        typed(&mut form, "taken");
        assert_eq!(form.act(Act::Accept, &check), Step::Stay);
        assert!(
            form.error
                .as_deref()
                .unwrap()
                .ends_with("run taken exists already")
        );
        form.type_key(&keys::event("Home"));
        form.paste("not-\n");
        assert_eq!(form.name.value(), "not- taken");
        for _ in 0.."not- taken".len() {
            form.type_key(&keys::event("End"));
            form.type_key(&KeyEvent::from(KeyCode::Backspace));
        }
        form.act(Act::Next, &check);
        form.act(Act::Complete, &check);
        form.act(Act::Complete, &check);
        form.type_key(&keys::event("Left"));
        let wanted = Start {
            policy: Some("ask"),
            ..Start::of("nq.toml")
        };
        assert_eq!(wanted.overrides(), ["policy.mode=ask"]);
        assert_eq!(form.act(Act::Accept, &check), Step::Start(wanted));
        assert_eq!(form.act(Act::Back, &check), Step::Close);
    }

    #[test]
    fn every_policy_of_the_table_can_be_chosen() {
        let key = config::keys::find("policy.mode").unwrap();
        let offered: Vec<&str> = POLICIES.iter().filter_map(|p| p.0).collect();
        assert_eq!(
            key.kind,
            config::keys::Kind::OneOf(&["ask", "pause", "auto"])
        );
        assert_eq!(offered, ["ask", "pause", "auto"]);
    }
}
