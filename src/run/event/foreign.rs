//! Events as they come in from outside: a journal or a socket that anybody may have written.
//!
//! Everything downstream (the fold, the views, the tables) relies on what is ensured here and nowhere else: texts are
//! [clean](crate::text::clean), numbers can be added and drawn, lists are no longer than models have layers, and an
//! event takes no more memory than a small multiple of its line.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Value};

use super::{Body, Event, Evidence, Phase, PhaseResult, RunInfo};
use crate::run::command::{Command, LONGEST_NOTE};
use crate::text;

/// Values in one event. A probe of a thousand layers with a hundred heads each has about half as many.
const MOST_VALUES: usize = 200_000;
/// Numbers beyond this are no measurements: they are read as `null`, which stands for not a number.
pub const LARGEST_NUMBER: f64 = 1e15;
/// Steps, tokens and the like: sums of them can be counted, and floats hold them exactly.
pub const MOST_COUNTED: u64 = 1 << 53;
/// Layers of a model, and entries of a list that has one for each.
pub const MOST_LAYERS: u64 = 1 << 10;
/// Heads of a layer.
const MOST_HEADS: u64 = 1 << 10;
/// Rounds of a recipe: each adds a layer at least.
pub const MOST_ROUNDS: u64 = MOST_LAYERS;
/// Bytes of a phase's name, of a run's, and of a sentence on screen.
const LONGEST_PHASE: usize = 64;
const LONGEST_NAME: usize = 255;
const LONGEST_SENTENCE: usize = 512;

/// Reads a JSON object with [clean](text::clean) texts, in memory of a small multiple of the line's.
///
/// # Errors
/// When the text is no JSON object, or holds more than 200,000 values.
pub fn object(line: &str) -> Result<Map<String, Value>, Error> {
    let mut json = serde_json::Deserializer::from_str(line);
    let mut left = MOST_VALUES;
    let value = Bounded { left: &mut left }.deserialize(&mut json)?;
    json.end()?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Error::custom("it is no JSON object")),
    }
}

/// A JSON value, as long as there are values `left`.
struct Bounded<'a> {
    left: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| {
            D::Error::custom(format_args!("it holds more than {MOST_VALUES} values"))
        })?;
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(b.into())
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(if x.abs() <= LARGEST_NUMBER {
            x.into()
        } else {
            Value::Null
        })
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(text::clean(s).into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = list.next_element_seed(Bounded { left: self.left })? {
            all.push(value);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = map.next_key_seed(Bounded { left: self.left })? {
            let value = map.next_value_seed(Bounded { left: self.left })?;
            if let Value::String(key) = key {
                all.insert(key, value);
            }
        }
        Ok(all.into())
    }
}

/// Cuts what would crowd a screen.
pub(super) fn shorten(event: &mut Event) {
    if let Phase::Other(name) = &mut event.phase {
        cut(name, LONGEST_PHASE);
    }
    match &mut event.body {
        Body::Run {
            info: Some(info), ..
        } => cut(&mut info.name, LONGEST_NAME),
        Body::Decision {
            evidence: Some(evidence),
            ..
        } => cut(&mut evidence.why, LONGEST_SENTENCE),
        _ => {}
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        *text = text::cut(text, most).into_owned();
    }
}

/// Refuses numbers that no run has: code behind this adds, multiplies and loops over them.
///
/// # Errors
/// The first such number, in words.
pub(super) fn check(event: &Event) -> Result<(), String> {
    let check = Check;
    check.counted("seq", event.seq)?;
    check.counted("step", event.step)?;
    check.counted("phase_step", event.phase_step)?;
    if let Phase::Round(n) = event.phase {
        most("round", n.into(), MOST_ROUNDS)?;
    }
    match &event.body {
        Body::Run {
            info: Some(info), ..
        } => check.info(info),
        Body::Phase {
            layers,
            steps,
            source_layers,
            result,
            ..
        } => {
            check.layers("layers", *layers)?;
            check.counted("steps", *steps)?;
            check.layers("source_layers", source_layers.len())?;
            result.as_ref().map_or(Ok(()), |r| check.result(r))
        }
        Body::Train { tokens, .. } => check.counted("tokens", *tokens),
        Body::Probe {
            max_rank,
            avg_mass,
            rank,
            lazy_layers,
            block_influence,
            grad_q,
            grad_k,
            ..
        } => {
            check.layers("max_rank", max_rank.len())?;
            check.layers("avg_mass", avg_mass.len())?;
            check.layers("rank", rank.len())?;
            check.layers("lazy_layers", lazy_layers.len())?;
            check.layers("block_influence", block_influence.len())?;
            check.layers("grad_q", grad_q.len())?;
            check.layers("grad_k", grad_k.len())?;
            let heads = rank.iter().map(Vec::len).max().unwrap_or(0);
            most("heads", heads as u64, MOST_HEADS)
        }
        Body::Checkpoint { begun, of_step, .. } => {
            check.counted("begun", begun.unwrap_or(0))?;
            check.counted("of_step", of_step.unwrap_or(0))
        }
        Body::Command { command, .. } => check.command(command),
        Body::Decision {
            evidence,
            evidence_step,
            ..
        } => {
            check.counted("evidence_step", evidence_step.unwrap_or(0))?;
            evidence.as_ref().map_or(Ok(()), |e| check.evidence(e))
        }
        Body::Inherit { layers, what, .. } => {
            check.layers("layers", layers.len())?;
            check.layers("what", what.len())
        }
        Body::Grow {
            from_layers,
            to_layers,
            added,
            round,
            ..
        } => {
            check.layers("from_layers", *from_layers)?;
            check.layers("to_layers", *to_layers)?;
            check.layers("added", added.len())?;
            most("round", (*round).into(), MOST_ROUNDS)
        }
        // These are added up.
        Body::Gap { dropped } => most("dropped", *dropped, u32::MAX.into()),
        _ => Ok(()),
    }
}

fn most(what: &str, n: u64, most: u64) -> Result<(), String> {
    if n <= most {
        Ok(())
    } else {
        Err(format!("its {what} is {n}, beyond {most}"))
    }
}

/// The checks of parts that several events share.
pub struct Check;

impl Check {
    pub fn counted(&self, what: &str, n: u64) -> Result<(), String> {
        most(what, n, MOST_COUNTED)
    }

    pub fn layers(&self, what: &str, n: usize) -> Result<(), String> {
        most(what, n as u64, MOST_LAYERS)
    }

    pub fn info(&self, info: &RunInfo) -> Result<(), String> {
        self.layers("n_layer", info.n_layer)?;
        self.layers("grow_step", info.grow_step)?;
        self.layers("max_layers", info.max_layers)?;
        for (what, n) in [
            ("reference_steps", info.reference_steps),
            ("round_steps", info.round_steps),
            ("batch_tokens", info.batch_tokens),
            ("n_embd", info.n_embd as u64),
            ("context_length", info.context_length as u64),
            ("vocab", info.vocab as u64),
        ] {
            self.counted(what, n)?;
        }
        if let Some(w) = &info.eval_windows {
            for n in [w.windows, w.asked, w.disjoint, w.time] {
                self.counted("eval_windows", n as u64)?;
            }
        }
        Ok(())
    }

    fn command(&self, command: &Command) -> Result<(), String> {
        match command {
            Command::Grow { layers, .. } => self.layers("layers", *layers),
            Command::TrainOn { steps, .. } | Command::Extend { steps } => {
                self.counted("steps", *steps)
            }
            Command::Note { text } if text.chars().count() > LONGEST_NOTE => {
                Err(format!("a note of more than {LONGEST_NOTE} characters"))
            }
            _ => Ok(()),
        }
    }

    pub fn result(&self, result: &PhaseResult) -> Result<(), String> {
        self.layers("result.layers", result.layers)?;
        self.layers("result.lazy_layers", result.lazy_layers.len())?;
        self.layers("result.max_rank", result.max_rank.len())
    }

    pub fn evidence(&self, e: &Evidence) -> Result<(), String> {
        self.layers("evidence.layers", e.layers)?;
        self.layers("evidence.reference_layers", e.reference_layers)?;
        self.layers("evidence.lazy_layers", e.lazy_layers.len())?;
        let lazy = e.reference_lazy_layers.len();
        self.layers("evidence.reference_lazy_layers", lazy)?;
        self.layers("evidence.costs", e.costs.len())?;
        for growth in e.growth.iter().chain(&e.costs) {
            self.layers("growth.add", growth.add)?;
            self.layers("growth.layers", growth.layers)?;
            self.layers("growth.source_layers", growth.source_layers.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#""v":1,"seq":1,"t":5,"elapsed":0.5,"step":3,"phase":"round-1","phase_step":3,"branch":0"#;

    fn read(rest: &str) -> Result<Event, String> {
        Event::from_line(&format!("{{{HEAD},{rest}}}")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_text_of_an_event_is_clean() {
        let event = read(r#""kind":"log","message":"a\u001b[2J\u202eb\u0000\nc""#).unwrap();
        let Body::Log { message } = event.body else {
            panic!("{event:?}")
        };
        assert_eq!(message, "ab c");
        // Also where this program does not know what it reads.
        let event = read(r#""kind":"ho\u009b2Jlo","k\u001bcey":[{"d\u0007":"\u001b]0;t\u0007x"}]"#);
        let text = format!("{:?}", event.unwrap().body);
        assert!(
            text.contains(r#""holo""#) && text.contains(r#""key""#),
            "{text}"
        );
        assert!(text.contains(r#""d": String("x")"#), "{text}");
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "x".repeat(1 << 20);
        let event = read(&format!(r#""kind":"log","message":"{long}""#)).unwrap();
        let Body::Log { message } = event.body else {
            panic!("no log")
        };
        assert_eq!(message.len(), text::LONGEST);
        let line = format!("{{{HEAD},\"kind\":\"warning\",\"message\":\"\"}}");
        let line = line.replace("round-1", &long);
        let phase = Event::from_line(&line).unwrap().phase.to_string();
        assert!(
            phase.len() <= LONGEST_PHASE && phase.ends_with('…'),
            "{phase}"
        );
    }

    #[test]
    fn numbers_that_no_run_has_are_refused() {
        let max = u64::MAX;
        for (rest, why) in [
            (
                format!(r#""kind":"gap","dropped":{max}"#),
                "its dropped is 18446744073709551615, beyond 4294967295",
            ),
            (
                format!(
                    r#""kind":"grow","from_layers":1,"to_layers":{max},"added":[],"mode":"keep","round":1"#
                ),
                "its to_layers is 18446744073709551615, beyond 1024",
            ),
            (
                format!(
                    r#""kind":"phase","layers":2,"parameters":1,"steps":{max},"start":"random","source_layers":[]"#
                ),
                "its steps is 18446744073709551615, beyond 9007199254740992",
            ),
            (
                format!(
                    r#""kind":"probe","max_rank":[{}0],"avg_mass":[],"rank":[],"lazy_layers":[],"windows":1,"length":1,"tau":0.9,"seconds":1,"file":"""#,
                    "0,".repeat(1024)
                ),
                "its max_rank is 1025, beyond 1024",
            ),
            (
                format!(
                    r#""kind":"log","message":"","x":[{}0]"#,
                    "0,".repeat(MOST_VALUES)
                ),
                "it holds more than 200000 values",
            ),
        ] {
            let said = read(&rest).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        let line = format!("{{{HEAD},\"kind\":\"log\",\"message\":\"\"}}");
        for (from, to) in [
            ("\"step\":3", "\"step\":9223372036854775807"),
            ("\"seq\":1", "\"seq\":1e300"),
            ("\"elapsed\":0.5", "\"elapsed\":1e300"),
            ("\"elapsed\":0.5", "\"elapsed\":1e999"),
            ("\"elapsed\":0.5", "\"elapsed\":NaN"),
            ("\"step\":3", "\"step\":-3"),
            ("round-1", "round-4000000000"),
            ("round-1", r"\ud800"),
        ] {
            assert!(Event::from_line(&line.replace(from, to)).is_err(), "{to}");
        }
        assert!(Event::from_line(&line).is_ok());
    }

    #[test]
    fn a_loss_beyond_all_measure_is_not_a_number() {
        let rest = r#""kind":"eval","val_loss":1e300,"stderr":-1e18,"windows":1,"gap":null,"gap_stderr":null,"matched":false,"seconds":1e16"#;
        let Body::Eval {
            val_loss,
            stderr,
            seconds,
            ..
        } = read(rest).unwrap().body
        else {
            panic!("no evaluation")
        };
        assert_eq!((val_loss, stderr), (None, None));
        assert!(seconds.is_nan());
    }

    #[test]
    fn deep_json_is_refused_without_a_deep_stack() {
        let deep = format!(r#""kind":"log","message":"","x":{}"#, "[".repeat(100_000));
        assert!(read(&deep).unwrap_err().contains("recursion limit"));
    }
}
