//! Numbers that JSON cannot hold: written as `null`, together with their name where it matters.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a number that is not finite: `nan`, `inf` or `-inf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    Nan,
    Infinite,
    NegativeInfinite,
}

impl NonFinite {
    /// Returns a number of this name.
    pub(super) fn value(self) -> f64 {
        match self {
            Self::Nan => f64::NAN,
            Self::Infinite => f64::INFINITY,
            Self::NegativeInfinite => f64::NEG_INFINITY,
        }
    }

    /// Reads the name that this program writes; `None` for any other.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "nan" => Some(Self::Nan),
            "inf" => Some(Self::Infinite),
            "-inf" => Some(Self::NegativeInfinite),
            _ => None,
        }
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nan => "nan",
            Self::Infinite => "inf",
            Self::NegativeInfinite => "-inf",
        })
    }
}

impl Serialize for NonFinite {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NonFinite {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // Another writer's name only shows that the value is not finite.
        Ok(Self::from_name(&String::deserialize(d)?).unwrap_or(Self::Nan))
    }
}

/// Splits a number into what JSON can hold and the name of what it cannot.
pub fn finite(x: f64) -> (Option<f64>, Option<NonFinite>) {
    if x.is_finite() {
        (Some(x), None)
    } else if x.is_nan() {
        (None, Some(NonFinite::Nan))
    } else if x > 0.0 {
        (None, Some(NonFinite::Infinite))
    } else {
        (None, Some(NonFinite::NegativeInfinite))
    }
}

/// Reads the `null` that a number which is not finite is written as.
pub fn null_is_nan<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
}
