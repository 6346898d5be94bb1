//! Baselines: models that a run trains for comparison in addition to its controls, each named by the config.

use std::fmt;

/// Prefix of the names of their phases.
const PREFIX: &str = "baseline-";
/// Longest name of a baseline, in bytes.
pub const LONGEST: usize = 24;
/// Most phases of one baseline: stacking has two.
const MOST_PARTS: u32 = 2;

/// Whether this is a valid name of a baseline.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain)
}

/// One phase of a baseline: `baseline-NAME`, and `baseline-NAME.2` for a second one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaselinePhase {
    name: String,
    /// The number of the phase, from 1.
    part: u32,
}

impl BaselinePhase {
    /// Returns phase `part`, from 1, of a baseline; `None` for an invalid name or number.
    pub fn new(name: &str, part: u32) -> Option<Self> {
        let fits = is_name(name) && (1..=MOST_PARTS).contains(&part);
        fits.then(|| Self {
            name: name.into(),
            part,
        })
    }

    /// Reads the name of a phase.
    pub fn of_phase(id: &str) -> Option<Self> {
        let name = id.strip_prefix(PREFIX)?;
        match name.split_once('.') {
            None => Self::new(name, 1),
            Some((name, part)) => Self::new(name, part.parse().ok().filter(|&part| part > 1)?),
        }
    }

    /// Returns the baseline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of the phase, from 1.
    pub fn part(&self) -> u32 {
        self.part
    }

    /// Returns its name in tables and charts: `stacking`, `stacking.2`.
    pub fn short(&self) -> String {
        short(&self.name, self.part)
    }
}

/// The name of a baseline's phase in tables and charts.
pub(in crate::run) fn short(name: &str, part: u32) -> String {
    match part {
        1 => name.into(),
        part => format!("{name}.{part}"),
    }
}

impl fmt::Display for BaselinePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_as_they_are_written() {
        for (id, name, part) in [
            ("baseline-random", "random", 1),
            ("baseline-half-width_2", "half-width_2", 1),
            ("baseline-stacking.2", "stacking", 2),
        ] {
            let phase = BaselinePhase::of_phase(id).unwrap();
            assert_eq!((phase.name(), phase.part()), (name, part));
            assert_eq!(phase.to_string(), id);
        }
        let long = format!("baseline-{}", "a".repeat(LONGEST + 1));
        for id in [
            "random",
            "baseline-",
            "baseline-A",
            "baseline-a.1",
            "baseline-a.9",
            "baseline-a/b",
            &long,
        ] {
            assert_eq!(BaselinePhase::of_phase(id), None, "{id}");
        }
    }
}
