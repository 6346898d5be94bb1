//! Events as lines of JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::Body;
use super::envelope::Event;
use super::phase::Phase;
use super::{foreign, train_line};

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    seq: u64,
    t: i64,
    elapsed: f64,
    step: u64,
    phase: Phase,
    phase_step: u64,
    branch: u32,
}

impl Event {
    /// The event as one line of JSON, without the newline.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.to_json()).expect("a JSON value always serialises")
    }

    fn to_json(&self) -> Value {
        let envelope = Envelope {
            v: self.v,
            seq: self.seq,
            t: self.t,
            elapsed: self.elapsed,
            step: self.step,
            phase: self.phase.clone(),
            phase_step: self.phase_step,
            branch: self.branch,
        };
        let mut map = into_map(serde_json::to_value(envelope));
        map.extend(match &self.body {
            Body::Unknown(rest) => rest.clone(),
            body => into_map(serde_json::to_value(body)),
        });
        Value::Object(map)
    }

    /// Reads one line of a journal. Its texts are [cleaned](crate::text::clean), because any program may have written it.
    ///
    /// # Errors
    /// When the line is not a JSON object with the envelope's fields, or holds numbers or lists outside the limits of a run. An unknown
    /// `kind`, or a known one whose fields do not fit (a newer writer's), is not an error: it becomes [`Body::Unknown`].
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        match train_line::read(line) {
            Some(event) => Ok(event),
            None => Self::from_value_of(line),
        }
    }

    /// Reads a line of any kind.
    pub(super) fn from_value_of(line: &str) -> Result<Self, serde_json::Error> {
        let value = Value::Object(foreign::object(line)?);
        let e = Envelope::deserialize(&value)?;
        let body = Body::deserialize(&value).unwrap_or_else(|_| {
            let Value::Object(mut rest) = value else {
                unreachable!("built from a map above")
            };
            for key in [
                "v",
                "seq",
                "t",
                "elapsed",
                "step",
                "phase",
                "phase_step",
                "branch",
            ] {
                rest.remove(key);
            }
            Body::Unknown(rest)
        });
        let mut event = Self {
            v: e.v,
            seq: e.seq,
            t: e.t,
            elapsed: e.elapsed,
            step: e.step,
            phase: e.phase,
            phase_step: e.phase_step,
            branch: e.branch,
            body,
        };
        event.shorten();
        event.check().map_err(serde::de::Error::custom)?;
        Ok(event)
    }
}

fn into_map(value: Result<Value, serde_json::Error>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("structs with string keys serialise to objects"),
    }
}
