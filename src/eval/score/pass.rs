//! Texts of many lengths in one forward pass, in which a prefix that several texts share is computed once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::encode::Sequence;
use crate::model::Asked;
use crate::ops::Branch;

/// The request that a target belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub document: usize,
    pub request: usize,
}

/// A sequence and the request that it answers.
pub(super) type Owned = (Owner, Sequence);

/// One forward pass: its rows, the texts that they form, the targets to score, and the requests of these targets.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Pass {
    pub tokens: Vec<u32>,
    pub branches: Vec<Branch>,
    /// Targets to score, without duplicates.
    pub asked: Vec<Asked>,
    /// Places in `asked` with the requests that their scores belong to; the tokens of a request are in order.
    pub owners: Vec<(usize, Owner)>,
}

impl Pass {
    /// Adds sequences as a tree of branches: a prefix that several of them share is one branch.
    pub(super) fn add<'a>(&mut self, sequences: impl IntoIterator<Item = &'a Owned>) {
        let mut sorted: Vec<&Owned> = sequences.into_iter().collect();
        // Stable: requests with equal inputs keep their order.
        sorted.sort_by(|a, b| a.1.inputs.cmp(&b.1.inputs));
        let mut tree = Tree {
            pass: self,
            asked: HashMap::new(),
            path: Vec::new(),
        };
        tree.branch(&sorted, 0, None);
    }
}

/// A tree that is being added to a pass.
struct Tree<'p> {
    pass: &'p mut Pass,
    /// Places in the pass's `asked`, by row and token.
    asked: HashMap<(u32, u32), usize>,
    /// The branches from the root: position in the text, and row, of each one's first token.
    path: Vec<(usize, usize)>,
}

impl Tree<'_> {
    /// Adds sequences, sorted by inputs, which all begin with the `position` tokens that end with the branch `after`.
    fn branch(&mut self, sorted: &[&Owned], position: usize, after: Option<usize>) {
        // A sequence that ends here sorts before its continuations.
        let ended = sorted.partition_point(|s| s.1.inputs.len() == position);
        let (ended, longer) = sorted.split_at(ended);
        for (owner, sequence) in ended {
            self.ask(*owner, sequence);
        }
        for same in longer.chunk_by(|a, b| a.1.inputs[position] == b.1.inputs[position]) {
            // In sorted order, the first and the last sequence share the shortest prefix.
            let (one, other) = (&same[0].1.inputs, &same[same.len() - 1].1.inputs);
            let end = common(one, other);
            let start = self.pass.tokens.len();
            self.pass.tokens.extend(&one[position..end]);
            self.pass.branches.push(Branch {
                start,
                len: end - position,
                after,
            });
            self.path.push((position, start));
            self.branch(same, end, Some(self.pass.branches.len() - 1));
            self.path.pop();
        }
    }

    /// Asks for a sequence's targets, except those that another sequence has asked for.
    fn ask(&mut self, owner: Owner, sequence: &Sequence) {
        let begin = sequence.inputs.len() - sequence.targets.len();
        for (i, &token) in sequence.targets.iter().enumerate() {
            let position = begin + i;
            // The first branch begins at position 0.
            let branch = self.path.partition_point(|(from, _)| *from <= position) - 1;
            let (from, start) = self.path[branch];
            let row = (start + position - from) as u32;
            let all = &mut self.pass.asked;
            let place = *self.asked.entry((row, token)).or_insert_with(|| {
                all.push(Asked { row, token });
                all.len() - 1
            });
            self.pass.owners.push((place, owner));
        }
    }
}

/// Returns the length of the common prefix in tokens.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The texts of the next pass, and the number of rows that they take as a tree.
#[derive(Debug, Default, Clone)]
pub(super) struct Texts<'a> {
    sorted: Vec<&'a [u32]>,
    rows: usize,
}

impl<'a> Texts<'a> {
    /// Adds a text; counts the rows that it shares with no other text.
    pub(super) fn add(&mut self, text: &'a [u32]) {
        let at = self.sorted.partition_point(|other| *other < text);
        // The longest shared prefix is that of a neighbour in sorted order.
        let neighbours = self.sorted[at.saturating_sub(1)..].iter().take(2);
        let shared = neighbours.map(|other| common(other, text)).max();
        self.rows += text.len() - shared.unwrap_or(0);
        self.sorted.insert(at, text);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}
