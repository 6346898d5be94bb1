//! The facts about a key apart from its values: its place, its type, its default, its meaning, and whether a resume may
//! change it.

use serde::Serialize;

use super::kind::Kind;

/// A section of the config and its keys.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

/// A key, as a [section](super::declare) declares it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    pub on_resume: OnResume,
    pub kind: Kind,
    pub need: Need,
    pub doc: &'static str,
}

impl Key {
    /// Returns the section and the key's own name.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Key {}

/// The meaning of an absent key.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// The key must be given if its section is; holds an example.
    Required(&'static str),
    /// A default value, as TOML.
    Default(fn() -> String),
    /// A meaning that is not a plain value, in words.
    Unless(&'static str),
}

/// Returns a value as TOML; an empty text for one that TOML cannot hold, which never is a default.
pub(super) fn toml_text(value: &impl Serialize) -> String {
    toml::Value::try_from(value).map_or_else(|_| String::new(), |value| value.to_string())
}

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The reference is being trained.
    Reference,
    /// The reference has been trained and measured.
    Measured,
    /// Round 1 has begun.
    Rounds,
    /// The rounds are over.
    Controls,
    /// The last control, the continued reference, has begun.
    LastControl,
    /// The baselines are being trained, or nothing is left to train.
    Baselines,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reference => "the reference is being trained",
            Self::Measured => "the reference has been trained and measured",
            Self::Rounds => "round 1 has begun",
            Self::Controls => "the rounds are over",
            Self::LastControl => "the reference is being continued",
            Self::Baselines => "the controls are over",
        })
    }
}

/// The rule for a value that differs on a resume. A run without a checkpoint starts over, with any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnResume {
    /// Takes effect with the next step.
    Free,
    /// Takes effect with the next step; refused once the run has reached this stage.
    FreeUntil(Stage),
    /// As [`Self::FreeUntil`], and `false` is accepted at any stage.
    OffAfter(Stage),
    /// Takes effect when the next round begins; refused once the run has reached this stage.
    NewPhase(Stage),
    /// Names files: other files may be named if they hold the same tokens.
    SameContent,
    /// Belongs to the contents of checkpoints; the reason.
    Refused(&'static str),
}

impl std::fmt::Display for OnResume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::FreeUntil(stage) => write!(f, "free until {stage}"),
            Self::OffAfter(stage) => write!(f, "free until {stage}, then only `false`"),
            Self::NewPhase(stage) => write!(f, "next round, until {stage}"),
            Self::SameContent => f.write_str("same tokens"),
            Self::Refused(_) => f.write_str("refused"),
        }
    }
}
