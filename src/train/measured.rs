//! Evaluations and probes in the trainer's state: the journal's own, and the step of the phase at which they were made.

use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::run::event::{Evaluation, Phase, Probe, Start};
use crate::run::schedule::Course;

/// A measurement at a step of its phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AtStep<T> {
    pub phase_step: u64,
    #[serde(flatten)]
    pub measured: T,
}

impl<T> Deref for AtStep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.measured
    }
}

/// A phase that is over, and its evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishedPhase {
    pub phase: Phase,
    pub evals: Vec<AtStep<Evaluation>>,
    /// The weights that it started from; absent in states of earlier versions.
    #[serde(default)]
    pub start: Option<Start>,
    /// Its learning rates; in states of earlier versions not known.
    #[serde(default)]
    pub course: Course,
}

/// Reads a measurement of any version. Earlier versions kept fewer of its fields; those that are missing get their defaults.
fn of_any_version<T>(mut fields: Map<String, Value>) -> Result<AtStep<T>, serde_json::Error>
where
    T: Default + Serialize + DeserializeOwned,
{
    if let Value::Object(all) = serde_json::to_value(T::default())? {
        for (name, value) in all {
            fields.entry(name).or_insert(value);
        }
    }
    serde_json::from_value(Value::Object(fields))
}

pub(super) fn evals_of_any_version<'de, D>(d: D) -> Result<Vec<AtStep<Evaluation>>, D::Error>
where
    D: Deserializer<'de>,
{
    let all = Vec::<Map<String, Value>>::deserialize(d)?.into_iter();
    all.map(of_any_version)
        .collect::<Result<_, _>>()
        .map_err(D::Error::custom)
}

pub(super) fn probe_of_any_version<'de, D>(d: D) -> Result<Option<AtStep<Probe>>, D::Error>
where
    D: Deserializer<'de>,
{
    let found = Option::<Map<String, Value>>::deserialize(d)?;
    found
        .map(of_any_version)
        .transpose()
        .map_err(D::Error::custom)
}
