//! Losses and gaps: whether they can be used for a decision, and their descriptions in words.

/// Whether a paired gap and its standard error can be used for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapData {
    /// Both are finite: the gap can match.
    Measured,
    /// The gap is finite, its error is not known: a single validation window. It never matches.
    NoError,
    /// The model's loss or the reference's is NaN or infinite. It never matches, and nothing is decided on it.
    NotFinite,
}

impl GapData {
    pub fn of(gap: f64, stderr: f64) -> Self {
        match (gap.is_finite(), stderr.is_finite()) {
            (true, true) => Self::Measured,
            (true, false) => Self::NoError,
            (false, _) => Self::NotFinite,
        }
    }
}

/// Puts a gap into words: `+0.0412 ±0.0023`, `+0.0412 (no error)` with one validation window, or `not finite`.
pub fn gap_words(gap: Option<f64>, stderr: Option<f64>) -> String {
    let (gap, stderr) = (gap.unwrap_or(f64::NAN), stderr.unwrap_or(f64::NAN));
    match GapData::of(gap, stderr) {
        GapData::Measured => format!("{gap:+.4} ±{stderr:.4}"),
        GapData::NoError => format!("{gap:+.4} (no error)"),
        GapData::NotFinite => "not finite".into(),
    }
}

/// A loss with as many digits as mean something: `4.1234`, `1.9e11`.
pub fn loss(loss: f64) -> String {
    match loss.abs() < 1000.0 {
        true => format!("{loss:.4}"),
        false => format!("{loss:.1e}"),
    }
}

/// Puts a loss into words: `2.0412 ±0.0104`, `2.0412` without an error, or `not finite`.
pub fn loss_words(loss: f64, stderr: f64) -> String {
    match GapData::of(loss, stderr) {
        GapData::Measured => format!("{} ±{}", self::loss(loss), self::loss(stderr)),
        GapData::NoError => self::loss(loss),
        GapData::NotFinite => "not finite".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_without_an_error_is_told_from_one_that_is_not_finite() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(GapData::of(-0.5, 0.004), GapData::Measured);
        assert_eq!(GapData::of(-0.5, nan), GapData::NoError);
        for gap in [nan, inf, -inf] {
            assert_eq!(GapData::of(gap, 0.004), GapData::NotFinite);
            assert_eq!(GapData::of(gap, nan), GapData::NotFinite);
        }
    }
}
