//! Ends of the trainer's messages that name keys of the dashboard. In plain lines, which have no keys, they are
//! left out: the available commands are listed there.

/// Ends the reason of a pause past a round's budget.
pub const DECIDE_OR_TRAIN_ON: &str = ": D to decide, p to train on";
/// Ends the reason of a pause after a step that was not taken.
pub const NEXT_BATCH: &str = ": p trains on with the next batch, R rolls back";
/// Ends the reason of a pause after a rollback.
pub const TRAIN_ON: &str = "; p trains on";
/// Ends the reason of a pause after a growth or a decision that failed.
pub const DECIDE_AGAIN: &str = "; D to decide again";

/// Ends that journals of earlier versions hold.
const EARLIER: [&str; 2] = ["; D decides", "; p goes on with the next batch"];

/// Returns a message without the keys that it ends with.
pub fn without_keys(message: &str) -> &str {
    let mut ends = [DECIDE_OR_TRAIN_ON, NEXT_BATCH, TRAIN_ON, DECIDE_AGAIN]
        .into_iter()
        .chain(EARLIER);
    ends.find_map(|end| message.strip_suffix(end))
        .unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_the_end_are_left_out_and_nothing_else() {
        assert_eq!(
            without_keys("20 steps over budget: D to decide, p to train on"),
            "20 steps over budget"
        );
        assert_eq!(
            without_keys("20 steps past the end; D decides"),
            "20 steps past the end"
        );
        assert_eq!(
            without_keys("rolled back to step 20 of round 1; p trains on"),
            "rolled back to step 20 of round 1"
        );
        assert_eq!(without_keys("the disk is full"), "the disk is full");
    }
}
