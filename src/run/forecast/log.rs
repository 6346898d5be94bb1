//! Published training logs: `step N: train loss X, val loss Y`.

/// Reads the steps and validation losses of a log, in its order. Other lines are skipped.
///
/// # Errors
/// The number of a line that begins with `step` and cannot be read, or that the log has no evaluation.
pub fn read(text: &str) -> Result<Vec<(u64, f64)>, String> {
    let mut all = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("step ") else {
            continue;
        };
        let evaluation = || {
            let (step, rest) = rest.split_once(':')?;
            let (_, rest) = rest.split_once("val loss ")?;
            let loss = rest.split([',', ' ']).next()?;
            Some((step.trim().parse().ok()?, loss.trim().parse().ok()?))
        };
        all.push(evaluation().ok_or_else(|| {
            format!(
                "line {}: {:?} is not of the form \"step N: train loss X, val loss Y\"",
                i + 1,
                line.chars().take(80).collect::<String>()
            )
        })?);
    }
    match all.is_empty() {
        true => Err("no line of the form \"step N: train loss X, val loss Y\"".into()),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_lines_are_read_and_others_are_named() {
        let text = "compiling\nstep 0: train loss 11.0, val loss 11.1\n\
                    step 1000: train loss 5.47, val loss 5.57, B_tok: 0.000061\niter 1: loss 2\n";
        assert_eq!(read(text), Ok(vec![(0, 11.1), (1000, 5.57)]));
        let error = read("step 0: train loss 1, val loss 1\nstep x: train loss 1\n").unwrap_err();
        assert!(error.starts_with("line 2: \"step x: train"), "{error}");
        assert!(read("nothing\n").unwrap_err().starts_with("no line"));
        assert!(
            read("step 5: train loss nan, val loss nan").unwrap()[0]
                .1
                .is_nan()
        );
    }
}
