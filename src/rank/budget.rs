//! Limits how often ranks are probed during training.

/// A share of the training time that probes may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeBudget {
    pub share: f64,
}

impl ProbeBudget {
    /// Whether another probe fits: `train_seconds` of training so far, `probe_seconds` of budgeted probes so far, and
    /// the cost of the last probe as the estimate of the next.
    pub fn may_probe(&self, train_seconds: f64, probe_seconds: f64, last: f64) -> bool {
        self.share > 0.0 && probe_seconds + last <= self.share * train_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_stay_within_their_share() {
        let budget = ProbeBudget { share: 0.01 };
        assert!(!budget.may_probe(10.0, 0.0, 0.2));
        assert!(budget.may_probe(20.0, 0.0, 0.2));
        assert!(!budget.may_probe(30.0, 0.2, 0.2));
        assert!(!ProbeBudget { share: 0.0 }.may_probe(1e9, 0.0, 0.0));
    }
}
