//! The results of `heirloom doctor`'s checks.

use serde_json::{Value, json};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// Works with a limitation.
    Warn,
    /// No training is possible.
    Fail,
}

impl Level {
    /// Returns its name in lines and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// The result of a check.
#[derive(Debug)]
pub struct Finding {
    name: &'static str,
    level: Level,
    /// The state that was found.
    found: String,
    /// The advice.
    advice: Option<String>,
}

impl Finding {
    /// Makes a finding without a problem.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            found: found.into(),
            advice: None,
        }
    }

    /// Makes a finding of a limitation, with advice.
    pub fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warn,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    /// Makes a finding of a problem that makes training impossible, with advice.
    pub fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(name, found, advice)
        }
    }

    /// Adds advice to a finding that is not a problem.
    pub fn with_advice(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the finding as an object.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "status": self.level.word().to_lowercase(),
            "found": self.found,
            "advice": self.advice,
        })
    }

    /// Returns the finding as a line, and one for its advice.
    pub fn line(&self) -> String {
        let (name, level) = (self.name, self.level.word());
        let mut line = format!("{level:<5} {name:<10} {}\n", self.found);
        if let Some(advice) = &self.advice {
            line.push_str(&format!("{:17}{advice}\n", ""));
        }
        line
    }
}
