//! A document: its requests, and what their scores are compared with.

use std::sync::Arc;

/// A text and how it may continue: the model is asked for log p(continuation | context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Empty: the text follows the token that begins (or ends) documents. Requests of a document share it.
    pub context: Arc<str>,
    pub continuation: String,
}

/// The correct answer of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One request for each choice.
    Choice {
        /// Index of the right one.
        gold: usize,
        /// Characters (Unicode scalar values) of each choice, for `acc_norm`.
        lengths: Vec<usize>,
    },
    /// One request for each choice; several may be true (TruthfulQA's second form).
    Truths(Vec<bool>),
    /// One request, whose continuation should be the likeliest token by token.
    Word,
    /// One request without context, scored in windows over its whole length.
    Page { words: usize, bytes: usize },
}

/// One question, or one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub requests: Vec<Request>,
    pub answer: Answer,
    /// The part of a task that it belongs to (a subject of MMLU); the parts' accuracies are averaged.
    pub group: Option<String>,
}

impl Document {
    /// Choices that follow one context, each after a space.
    pub fn choices(context: &str, choices: &[impl AsRef<str>], gold: usize) -> Self {
        let context: Arc<str> = context.into();
        let request = |choice: &str| Request {
            context: context.clone(),
            continuation: format!(" {choice}"),
        };
        let choices = choices.iter().map(AsRef::as_ref);
        let lengths = choices.clone().map(|choice: &str| choice.chars().count());
        Self {
            answer: Answer::Choice {
                gold,
                lengths: lengths.collect(),
            },
            requests: choices.map(request).collect(),
            group: None,
        }
    }

    /// Contexts that the same text follows after a space.
    pub fn contexts(contexts: [String; 2], continuation: &str, gold: usize) -> Self {
        let lengths = contexts.iter().map(|context| context.chars().count());
        let lengths = lengths.collect();
        let request = |context: String| Request {
            context: context.into(),
            continuation: format!(" {continuation}"),
        };
        Self {
            requests: contexts.map(request).into(),
            answer: Answer::Choice { gold, lengths },
            group: None,
        }
    }
}
