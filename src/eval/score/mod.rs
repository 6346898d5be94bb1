//! Log-likelihoods of continuations.

/// What a model says of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// log p(continuation | context) in nats, summed over its tokens.
    pub log_likelihood: f64,
    /// Every token of the continuation was the likeliest one.
    pub greedy: bool,
    /// Tokens of the continuation.
    pub tokens: usize,
    /// Tokens were cut off on the left: the request is longer than the model's context.
    pub truncated: bool,
}
