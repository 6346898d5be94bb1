//! Formats ages and times for an operator.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Formats an age as `just now`, `40 s ago`, `12 min ago`, `3 h ago` or `2 d ago`.
pub fn ago(seconds: f64) -> String {
    match seconds.max(0.0).round() as u64 {
        0..10 => "just now".into(),
        s @ 10..120 => format!("{} s ago", s / 10 * 10),
        s @ 120..7200 => format!("{} min ago", s / 60),
        s @ 7200..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} d ago", s / 86_400),
    }
}

/// Formats an age in at most six columns: `now`, `40 s`, `12 min`, `3 h`, `2 d`.
pub fn age(seconds: f64) -> String {
    match ago(seconds).strip_suffix(" ago") {
        Some(age) => age.into(),
        None => "now".into(),
    }
}

/// Formats the local time `seconds` after a Unix time in milliseconds: the time of day, with the weekday within a week, or the date.
pub fn at(now: i64, seconds: f64, zone: &TimeZone) -> Option<String> {
    let then = now.checked_add((seconds * 1000.0) as i64)?;
    let local = |ms| {
        let time: Option<Timestamp> = Timestamp::from_millisecond(ms).ok();
        time.map(|t| t.to_zoned_datetime(zone.clone()))
    };
    let (now, then) = (local(now)?, local(then)?);
    let days = now.date().until(then.date()).ok()?.get_days();
    let form = match days {
        0 => "%H:%M",
        -6..7 => "%a %H:%M",
        _ => "%b %-d",
    };
    Some(then.strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_they_need_to_be() {
        let words = [3.0, 47.0, 750.0, 9000.0, 400_000.0].map(ago);
        let wanted = ["just now", "40 s ago", "12 min ago", "2 h ago", "4 d ago"];
        assert_eq!(words, wanted);
        assert_eq!([3.0, 750.0].map(age), ["now", "12 min"]);
        // Unix time 0 is Thursday, 1 January 1970.
        let at = |seconds| at(0, seconds, &TimeZone::UTC).unwrap();
        assert_eq!(at(3600.0), "01:00");
        assert_eq!(at(86_400.0 + 60.0), "Fri 00:01");
        assert_eq!(at(40.0 * 86_400.0), "Feb 10");
    }
}
