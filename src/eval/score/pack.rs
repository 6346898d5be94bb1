//! Lays the sequences of documents into forward passes.

use anyhow::{Context, Result, ensure};

use super::encode::{Encoder, Sequence};
use crate::eval::tasks::{Answer, Document};
use crate::model::Asked;
use crate::ops::Stretch;

/// Which request a target belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub document: usize,
    pub request: usize,
}

/// One forward pass: rows, how they belong to texts, what is asked, and for which request.
#[derive(Debug, Default, Clone)]
pub(super) struct Pass {
    pub tokens: Vec<u32>,
    pub stretches: Vec<Stretch>,
    pub asked: Vec<Asked>,
    pub owners: Vec<Owner>,
}

/// Documents that are finished together.
#[derive(Debug, Default, Clone)]
pub(super) struct Group {
    pub documents: Vec<usize>,
    pub passes: Vec<Pass>,
    /// Whether a document asks for the likeliest tokens.
    pub greedy: bool,
}

impl Group {
    pub fn rows(&self) -> usize {
        self.passes.iter().map(|p| p.tokens.len()).sum()
    }
}

/// How documents are laid into passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Tokens of a pass, as long as no document has more.
    pub tokens: usize,
    /// Whether the beginning that a document's requests share is computed once.
    pub share: bool,
}

/// The documents of a task as a model reads them.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) groups: Vec<Group>,
    /// Number of requests of each document.
    pub(super) requests: Vec<usize>,
    /// Tokens of each request's continuation, and whether it was cut.
    pub(super) facts: Vec<Vec<(usize, bool)>>,
    rows: usize,
    longest: usize,
}

impl Prepared {
    /// Encodes documents and lays them into passes: documents of like length together, the longest first. The same
    /// documents give the same passes.
    ///
    /// # Errors
    /// Names the document that cannot be encoded, by its number from 1.
    pub fn new(encoder: &Encoder, documents: &[Document], packing: Packing) -> Result<Self> {
        ensure!(packing.tokens > 0, "a pass needs at least one token");
        let mut units = Vec::new();
        let mut facts = Vec::with_capacity(documents.len());
        for (i, document) in documents.iter().enumerate() {
            let requests = encoder
                .sequences(document)
                .with_context(|| format!("document {}", i + 1))?;
            let fact = |windows: &Vec<Sequence>| {
                let tokens = windows.iter().map(|w| w.targets.len()).sum();
                (tokens, windows.iter().any(|w| w.truncated))
            };
            facts.push(requests.iter().map(fact).collect());
            units.push(units_of(i, document, requests, packing.share));
        }
        let size = |i: usize| units[i].iter().map(Unit::rows).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..documents.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(size(i)), i));
        let mut groups: Vec<Group> = Vec::new();
        for i in order {
            let rows: usize = units[i].iter().map(Unit::rows).sum();
            let fits = groups
                .last()
                .is_some_and(|g| g.rows() + rows <= packing.tokens);
            if !fits {
                groups.push(Group::default());
            }
            if let Some(group) = groups.last_mut() {
                group.documents.push(i);
                group.greedy |= documents[i].answer == Answer::Word;
                units[i]
                    .iter()
                    .for_each(|unit| unit.lay(group, packing.tokens));
            }
        }
        let passes = || groups.iter().flat_map(|g| &g.passes);
        Ok(Self {
            rows: passes().map(|p| p.tokens.len()).sum(),
            longest: passes().map(|p| p.tokens.len()).max().unwrap_or(0),
            requests: documents.iter().map(|d| d.requests.len()).collect(),
            facts,
            groups,
        })
    }

    /// Number of documents.
    pub fn documents(&self) -> usize {
        self.requests.len()
    }

    /// Rows of the largest pass.
    pub fn longest_pass(&self) -> usize {
        self.longest
    }

    /// Rows of all passes: what an evaluation costs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of documents of which a part was cut off.
    pub fn truncated(&self) -> usize {
        let cut = |requests: &&Vec<(usize, bool)>| requests.iter().any(|r| r.1);
        self.facts.iter().filter(cut).count()
    }
}

/// Sequences that lie in one pass, with the beginning that they share.
struct Unit {
    document: usize,
    sequences: Vec<(usize, Sequence)>,
    shared: usize,
}

/// The requests of a question are one unit; windows of a page are one each.
fn units_of(
    document: usize,
    of: &Document,
    requests: Vec<Vec<Sequence>>,
    share: bool,
) -> Vec<Unit> {
    let numbered = requests.into_iter().enumerate();
    let sequences: Vec<_> = numbered
        .flat_map(|(request, windows)| windows.into_iter().map(move |w| (request, w)))
        .collect();
    let unit = |sequences: Vec<(usize, Sequence)>, shared| Unit {
        document,
        sequences,
        shared,
    };
    let page = matches!(of.answer, Answer::Page { .. });
    if page || !share || sequences.len() < 2 {
        let one = |sequence| unit(vec![sequence], 0);
        return sequences.into_iter().map(one).collect();
    }
    let first = &sequences[0].1.inputs;
    let common = |s: &[u32]| first.iter().zip(s).take_while(|(a, b)| a == b).count();
    let shared = sequences.iter().map(|(_, s)| common(&s.inputs)).min();
    let shared = shared.unwrap_or(0);
    vec![unit(sequences, shared)]
}

impl Unit {
    fn rows(&self) -> usize {
        let own = |(_, s): &(usize, Sequence)| s.inputs.len() - self.shared;
        self.shared + self.sequences.iter().map(own).sum::<usize>()
    }

    /// Adds the unit to the group's last pass, or to a new one where that has no place left.
    fn lay(&self, group: &mut Group, most: usize) {
        let has_place = |p: &Pass| p.tokens.len() + self.rows() <= most;
        if !group.passes.last().is_some_and(has_place) {
            group.passes.push(Pass::default());
        }
        let Some(pass) = group.passes.last_mut() else {
            return;
        };
        let prefix = (pass.tokens.len(), self.shared);
        if self.shared > 0 {
            let beginning = &self.sequences[0].1.inputs[..self.shared];
            pass.stretch(beginning, (0, 0));
        }
        for (request, sequence) in &self.sequences {
            let start = pass.tokens.len();
            let own = &sequence.inputs[self.shared..];
            if !own.is_empty() {
                let after = if self.shared > 0 { prefix } else { (0, 0) };
                pass.stretch(own, after);
            }
            let first = sequence.inputs.len() - sequence.targets.len();
            for (i, &token) in sequence.targets.iter().enumerate() {
                let position = first + i;
                let row = match position < self.shared {
                    true => prefix.0 + position,
                    false => start + position - self.shared,
                };
                pass.asked.push(Asked {
                    row: row as u32,
                    token,
                });
                pass.owners.push(Owner {
                    document: self.document,
                    request: *request,
                });
            }
        }
    }
}

impl Pass {
    fn stretch(&mut self, tokens: &[u32], prefix: (usize, usize)) {
        self.stretches.push(Stretch {
            start: self.tokens.len(),
            len: tokens.len(),
            prefix,
        });
        self.tokens.extend(tokens);
    }
}
