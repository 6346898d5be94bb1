//! Formats durations.

/// Formats a duration as `48 s`, `3m12s` or `2h05m`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..360_000 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(
            [0.4, 59.0, 192.0, 7500.0, 359_940.0, 642_000.0].map(duration),
            ["0 s", "59 s", "3m12s", "2h05m", "99h59m", "7d10h"]
        );
    }
}
