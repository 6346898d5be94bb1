//! `train` lines read straight into an event: nearly all lines of a long journal are of this kind, and reading them
//! as any JSON first takes several times as long.

use std::borrow::Cow;

use serde::Deserialize;

use super::body::Body;
use super::envelope::Event;
use super::foreign::LARGEST_NUMBER;
use super::measure::TrainMetrics;
use super::number::{NonFinite, null_is_nan};
use super::phase::Phase;

/// The fields of a `train` line; a line with any other field is left to the general reader.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainLine<'a> {
    v: u32,
    seq: u64,
    t: i64,
    elapsed: f64,
    step: u64,
    #[serde(borrow)]
    phase: Cow<'a, str>,
    phase_step: u64,
    branch: u32,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    loss: Option<f64>,
    #[serde(default)]
    nonfinite: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "null_is_nan")]
    lr: f64,
    grad_norm: Option<f64>,
    #[serde(default)]
    param_norm: Option<f64>,
    #[serde(default)]
    momentum_norm: Option<f64>,
    #[serde(default)]
    clip_rate: Option<f64>,
    tokens: u64,
    #[serde(deserialize_with = "null_is_nan")]
    tokens_per_second: f64,
}

/// Returns the event if the line is a `train` line without anything unusual; the general reader handles all others.
pub(super) fn read(line: &str) -> Option<Event> {
    if !line.contains(r#""kind":"train""#) {
        return None;
    }
    let l: TrainLine<'_> = serde_json::from_str(line).ok()?;
    if l.kind != "train" || !l.is_usual() {
        return None;
    }
    let event = Event {
        v: l.v,
        seq: l.seq,
        t: l.t,
        elapsed: l.elapsed,
        step: l.step,
        phase: Phase::from(&*l.phase),
        phase_step: l.phase_step,
        branch: l.branch,
        body: Body::Train(TrainMetrics {
            loss: l.loss,
            nonfinite: l.nonfinite.as_deref().and_then(NonFinite::from_name),
            lr: l.lr,
            grad_norm: l.grad_norm,
            param_norm: l.param_norm,
            momentum_norm: l.momentum_norm,
            clip_rate: l.clip_rate,
            tokens: l.tokens,
            tokens_per_second: l.tokens_per_second,
        }),
    };
    let known = !matches!(event.phase, Phase::Other(_));
    (known && event.check().is_ok()).then_some(event)
}

impl TrainLine<'_> {
    /// Whether the general reader would leave every text and number unchanged.
    fn is_usual(&self) -> bool {
        let floats = [
            Some(self.elapsed),
            self.loss,
            self.grad_norm,
            self.param_norm,
            self.momentum_norm,
            self.clip_rate,
        ];
        // Null, read as NaN, is usual.
        let rates = [self.lr, self.tokens_per_second].map(|x| (!x.is_nan()).then_some(x));
        let mut all = floats.into_iter().chain(rates).flatten();
        let nonfinite = self.nonfinite.as_deref();
        all.all(|x| x.abs() <= LARGEST_NUMBER)
            && nonfinite.is_none_or(|name| NonFinite::from_name(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"v":1,"seq":7,"t":1700000000000,"elapsed":12.25,"step":40,"phase":"round-2","phase_step":4,"#,
        r#""branch":1,"kind":"train","loss":3.1415926535897931,"lr":0.0003,"grad_norm":null,"#,
        r#""tokens":40960,"tokens_per_second":1234.5}"#
    );

    #[test]
    fn a_train_line_reads_as_it_does_the_long_way() {
        let long = |line: &str| Event::from_value_of(line).unwrap();
        let nan = LINE.replace("3.1415926535897931", r#"null,"nonfinite":"nan""#);
        let whole = LINE.replace("0.0003", "null").replace("12.25", "12");
        let norms = LINE.replace(
            r#""tokens""#,
            r#""param_norm":45.125,"momentum_norm":1.5e-3,"clip_rate":0.1,"tokens""#,
        );
        for line in [LINE, &nan, &whole, &norms] {
            let (short, long) = (read(line).unwrap(), long(line));
            assert_eq!(format!("{short:?}"), format!("{long:?}"));
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_long_way() {
        let more = LINE.replace(r#""branch""#, r#""new":1,"branch""#);
        let twice = LINE.replace(r#""branch""#, r#""step":1,"branch""#);
        let other = LINE.replace(
            r#""kind":"train""#,
            r#""kind":"log","message":"\"kind\":\"train\"""#,
        );
        let strange = LINE.replace("round-2", "\\u001b[2J");
        let huge = LINE.replace("40960", &u64::MAX.to_string());
        let norm = LINE.replace(r#""tokens""#, r#""param_norm":1e300,"tokens""#);
        let beyond = LINE.replace("0.0003", "1e300");
        for line in [
            &more,
            &twice,
            &other,
            &strange,
            &huge,
            &beyond,
            &norm,
            &LINE[..90].to_string(),
        ] {
            assert!(read(line).is_none(), "{line}");
        }
        assert!(Event::from_line(&more).is_ok());
    }
}
