//! Events from untrusted sources: a journal or a socket that any program may have written.
//!
//! Everything downstream (the fold, the views, the tables) relies on what is checked here and nowhere else: texts are
//! [clean](crate::text::clean), numbers can be added and drawn, lists are no longer than models have layers, and an
//! event takes no more memory than a small multiple of its line.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Value};

use crate::text;

/// Values in one event. A probe of a thousand layers with a hundred heads each has about half as many.
const MOST_VALUES: usize = 200_000;
/// Numbers beyond this are not measurements: they are read as `null`, which stands for NaN.
pub const LARGEST_NUMBER: f64 = 1e15;
/// Steps, tokens and the like: sums of them can be counted, and floats hold them exactly.
pub const MOST_COUNTED: u64 = 1 << 53;
/// Layers of a model, and entries of a list that has one for each.
pub const MOST_LAYERS: u64 = 1 << 10;
/// Heads of a layer.
pub(super) const MOST_HEADS: u64 = 1 << 10;
/// Rounds of a recipe: each adds a layer at least.
pub const MOST_ROUNDS: u64 = MOST_LAYERS;
/// Bytes of a phase's name, of a run's, and of a sentence on screen.
pub(super) const LONGEST_PHASE: usize = 64;
pub(super) const LONGEST_NAME: usize = 255;
pub(super) const LONGEST_SENTENCE: usize = 512;

/// Reads a JSON object with [clean](text::clean) texts, in memory of a small multiple of the line's.
///
/// # Errors
/// When the text is not a JSON object, or holds more than 200,000 values.
pub fn object(line: &str) -> Result<Map<String, Value>, Error> {
    let mut json = serde_json::Deserializer::from_str(line);
    let mut left = MOST_VALUES;
    let value = Bounded { left: &mut left }.deserialize(&mut json)?;
    json.end()?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Error::custom("it is not a JSON object")),
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

/// Cuts a text to `most` bytes, with an ellipsis.
pub(super) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        *text = text::cut(text, most).into_owned();
    }
}

/// Checks that a number of something is not beyond `limit`.
///
/// # Errors
/// Naming the number.
pub(super) fn most(what: &str, n: u64, limit: u64) -> Result<(), String> {
    if n <= limit {
        Ok(())
    } else {
        Err(format!("its {what} is {n}, beyond {limit}"))
    }
}

/// Checks a number of steps, tokens or the like.
///
/// # Errors
/// Naming the number.
pub fn counted(what: &str, n: u64) -> Result<(), String> {
    most(what, n, MOST_COUNTED)
}

/// Checks a number of layers, or the length of a list that has an entry for each.
///
/// # Errors
/// Naming the number.
pub fn layers(what: &str, n: usize) -> Result<(), String> {
    most(what, n as u64, MOST_LAYERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Body, Evaluation, Event, Log};

    const HEAD: &str =
        r#""v":1,"seq":1,"t":5,"elapsed":0.5,"step":3,"phase":"round-1","phase_step":3,"branch":0"#;

    fn read(rest: &str) -> Result<Event, String> {
        Event::from_line(&format!("{{{HEAD},{rest}}}")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_text_of_an_event_is_clean() {
        let event = read(r#""kind":"log","message":"a\u001b[2J\u202eb\u0000\nc""#).unwrap();
        let Body::Log(Log { message }) = event.body else {
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
        let Body::Log(Log { message }) = event.body else {
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
        let Body::Eval(Evaluation {
            val_loss,
            stderr,
            seconds,
            ..
        }) = read(rest).unwrap().body
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
