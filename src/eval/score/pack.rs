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

impl Packing {
    /// How documents are laid out on the CPU or a GPU: `tokens` of a pass, or as many as suit the device. The GPU's attention reads
    /// each text from its beginning.
    pub fn on(gpu: bool, tokens: Option<usize>) -> Self {
        Self {
            tokens: tokens.unwrap_or(default_tokens(gpu)),
            share: !gpu,
        }
    }
}

impl Group {
    pub fn rows(&self) -> usize {
        self.passes.iter().map(|p| p.tokens.len()).sum()
    }
}

/// Tokens of a pass on the CPU and on a GPU, unless the user says otherwise.
pub fn default_tokens(gpu: bool) -> usize {
    if gpu { 32_768 } else { 2048 }
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
        let mut encoded = Vec::with_capacity(documents.len());
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
            encoded.push(owned(i, requests));
        }
        let mut bundles = bundles(documents, encoded, packing);
        let size = |b: &Bundle| b.units.iter().map(Unit::rows).max().unwrap_or(0);
        bundles.sort_by_key(|b| (std::cmp::Reverse(size(b)), b.documents[0]));
        let mut groups: Vec<Group> = Vec::new();
        for bundle in bundles {
            let rows: usize = bundle.units.iter().map(Unit::rows).sum();
            let has_place = |g: &Group| g.rows() + rows <= packing.tokens;
            if !groups.last().is_some_and(has_place) {
                groups.push(Group::default());
            }
            if let Some(group) = groups.last_mut() {
                group.greedy |= bundle.greedy;
                group.documents.extend(bundle.documents);
                for unit in &bundle.units {
                    unit.lay(group, packing.tokens);
                }
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

/// A sequence and the request that it answers.
type Owned = (Owner, Sequence);

fn owned(document: usize, requests: Vec<Vec<Sequence>>) -> Vec<Owned> {
    let numbered = requests.into_iter().enumerate();
    let owner = |request| Owner { document, request };
    numbered
        .flat_map(|(request, windows)| windows.into_iter().map(move |w| (owner(request), w)))
        .collect()
}

/// Documents that are laid out together.
struct Bundle {
    documents: Vec<usize>,
    units: Vec<Unit>,
    greedy: bool,
}

/// A document alone, or several of one group that are one text with a token asked for at its end and share at least half
/// of it: questions after the same examples.
fn bundles(documents: &[Document], encoded: Vec<Vec<Owned>>, packing: Packing) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    let mut joinable = false;
    for (i, (document, sequences)) in documents.iter().zip(encoded).enumerate() {
        let page = matches!(document.answer, Answer::Page { .. });
        let one_text = sequences.windows(2).all(|w| w[0].1.inputs == w[1].1.inputs);
        let join = packing.share && !page && one_text && document.group.is_some();
        if join
            && joinable
            && let Some(last) = bundles.last_mut()
            && documents[last.documents[0]].group == document.group
            && let ([unit], Some((_, first))) = (&mut last.units[..], sequences.first())
            && let Some(shared) = unit.shared_with(&first.inputs)
            && 2 * shared >= first.inputs.len()
            && unit.rows() + (unit.shared - shared) * unit.texts() + first.inputs.len() - shared
                <= packing.tokens
        {
            unit.shared = shared;
            unit.sequences.extend(sequences);
            last.documents.push(i);
            continue;
        }
        joinable = join;
        bundles.push(Bundle {
            documents: vec![i],
            units: units_of(sequences, packing.share && !page),
            greedy: document.answer == Answer::Word,
        });
    }
    bundles
}

/// With `share`, all sequences are one unit; without, they are one each.
fn units_of(sequences: Vec<Owned>, share: bool) -> Vec<Unit> {
    if !share || sequences.len() < 2 {
        let one = |sequence| Unit {
            sequences: vec![sequence],
            shared: 0,
        };
        return sequences.into_iter().map(one).collect();
    }
    let first = &sequences[0].1.inputs;
    let shared = sequences
        .iter()
        .map(|(_, s)| common(first, &s.inputs))
        .min();
    vec![Unit {
        shared: shared.unwrap_or(0),
        sequences,
    }]
}

/// Number of tokens that both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Sequences that lie in one pass, with the beginning that they share.
struct Unit {
    sequences: Vec<Owned>,
    shared: usize,
}

impl Unit {
    /// The beginning that would be shared with another text as well.
    fn shared_with(&self, inputs: &[u32]) -> Option<usize> {
        let first = &self.sequences.first()?.1.inputs;
        let texts = self.sequences.iter().map(|(_, s)| &s.inputs);
        let least = texts.map(|text| common(first, text)).min()?;
        Some(least.min(common(first, inputs)))
    }

    /// Number of texts: neighbours that read the same are one.
    fn texts(&self) -> usize {
        let differ = |w: &&[Owned]| w[0].1.inputs != w[1].1.inputs;
        1 + self.sequences.windows(2).filter(differ).count()
    }

    fn rows(&self) -> usize {
        let own = |same: &[Owned]| same[0].1.inputs.len() - self.shared;
        let texts = self.sequences.chunk_by(|a, b| a.1.inputs == b.1.inputs);
        self.shared + texts.map(own).sum::<usize>()
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
            pass.stretch(&self.sequences[0].1.inputs[..self.shared], (0, 0));
        }
        for same in self.sequences.chunk_by(|a, b| a.1.inputs == b.1.inputs) {
            let start = pass.tokens.len();
            let own = &same[0].1.inputs[self.shared..];
            if !own.is_empty() {
                let after = if self.shared > 0 { prefix } else { (0, 0) };
                pass.stretch(own, after);
            }
            for (owner, sequence) in same {
                let first = sequence.inputs.len() - sequence.targets.len();
                for (i, &token) in sequence.targets.iter().enumerate() {
                    let position = first + i;
                    let row = match position < self.shared {
                        true => prefix.0 + position,
                        false => start + position - self.shared,
                    };
                    let row = row as u32;
                    pass.asked.push(Asked { row, token });
                    pass.owners.push(*owner);
                }
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
