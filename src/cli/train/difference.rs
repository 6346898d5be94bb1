//! Compares a rank with rank 0; an error names the difference, with both values.

use anyhow::{Result, bail};
use toml::{Table, Value};

/// Advice that resolves most differences.
const HELP: &str = "start all ranks with the same program, command and files";

/// Compares a value of this rank with rank 0's. `what` names it in the error.
///
/// # Errors
/// When they differ.
pub(super) fn of(what: &str, own: &str, rank0: &str) -> Result<()> {
    if own != rank0 {
        bail!("{what} is {own}, rank 0's is {rank0}: {HELP}");
    }
    Ok(())
}

/// Compares two configs, as TOML.
///
/// # Errors
/// Names the first key that differs.
pub(super) fn of_configs(own: &str, rank0: &str) -> Result<()> {
    let (own, rank0): (Table, Table) = (toml::from_str(own)?, toml::from_str(rank0)?);
    match first(&own, &rank0, "") {
        None => Ok(()),
        Some((path, [own, rank0])) => of(&path, &own, &rank0),
    }
}

/// Returns the first key that differs, with both values.
fn first(own: &Table, rank0: &Table, above: &str) -> Option<(String, [String; 2])> {
    let more = rank0.keys().filter(|key| !own.contains_key(*key));
    own.keys().chain(more).find_map(|key| {
        let path = match above {
            "" => key.clone(),
            above => format!("{above}.{key}"),
        };
        match (own.get(key), rank0.get(key)) {
            (Some(Value::Table(own)), Some(Value::Table(rank0))) => first(own, rank0, &path),
            (own, rank0) if own != rank0 => {
                let word = |value: Option<&Value>| match value {
                    Some(value) => value.to_string(),
                    None => "not set".into(),
                };
                Some((path, [word(own), word(rank0)]))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_that_differs_is_named_with_both_values() {
        let config = "# written\n[train]\nlr = 0.001\nsteps = 5\n[reference.train]\nsteps = 3\n";
        of_configs(config, config).unwrap();
        let differs = |other: &str| of_configs(config, other).unwrap_err().to_string();
        let lr = differs(&config.replace("0.001", "0.002"));
        assert!(
            lr.starts_with("train.lr is 0.001, rank 0's is 0.002: start"),
            "{lr}"
        );
        let below = differs(&config.replace("steps = 3", "steps = 4"));
        assert!(
            below.starts_with("reference.train.steps is 3, rank 0's is 4"),
            "{below}"
        );
        let absent = differs(&config.replace("steps = 5\n", ""));
        assert!(
            absent.starts_with("train.steps is 5, rank 0's is not set"),
            "{absent}"
        );
        let more = differs(&format!("{config}[eval]\nwindows = 2\n"));
        assert!(more.starts_with("eval is not set, rank 0's is {"), "{more}");
    }
}
