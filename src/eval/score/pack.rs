//! Lays the sequences of documents into forward passes.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::encode::{Encoder, Sequence};
use super::pass::{Owned, Owner, Pass, Texts};
use crate::eval::tasks::{Answer, Document};

/// Documents that are finished together.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub documents: Vec<usize>,
    pub passes: Vec<Pass>,
    /// Whether a document asks for the likeliest tokens.
    pub greedy: bool,
}

impl Packing {
    /// Returns the packing for the CPU or a GPU: `tokens` per pass, or a number that suits the device. Prefixes are not shared on a GPU,
    /// whose attention reads each text from its beginning.
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

/// Returns the default number of tokens of a pass on the CPU or a GPU.
pub fn default_tokens(gpu: bool) -> usize {
    if gpu { 32_768 } else { 2048 }
}

/// The way in which documents are packed into passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Tokens of a pass, as long as no document has more.
    pub tokens: usize,
    /// Whether a prefix that several requests share is computed once.
    pub share: bool,
}

/// The documents of a task as a model reads them.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Encodes documents and groups them into passes: the longest documents first, or, with shared prefixes, documents with a
    /// common prefix together. The same documents give the same passes.
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
            encoded.push(Encoded {
                number: i,
                sequences: owned(i, requests),
                greedy: document.answer == Answer::Word,
            });
        }
        // The windows of a page share no prefix, and need not be in memory together.
        let is_page = |d: &Encoded| matches!(documents[d.number].answer, Answer::Page { .. });
        let (shared, alone): (Vec<Encoded>, Vec<Encoded>) = encoded
            .into_iter()
            .partition(|d| packing.share && !is_page(d));
        let mut groups = by_beginning(shared, packing.tokens);
        groups.extend(by_length(alone, packing.tokens));
        let passes = || groups.iter().flat_map(|g| &g.passes);
        Ok(Self {
            rows: passes().map(|p| p.tokens.len()).sum(),
            longest: passes().map(|p| p.tokens.len()).max().unwrap_or(0),
            requests: documents.iter().map(|d| d.requests.len()).collect(),
            facts,
            groups,
        })
    }

    /// Returns the number of documents.
    pub fn documents(&self) -> usize {
        self.requests.len()
    }

    /// Returns the rows of the largest pass.
    pub fn longest_pass(&self) -> usize {
        self.longest
    }

    /// Returns the rows of all passes, which are the cost of an evaluation.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of groups of documents that are finished together.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Returns the rows of a group's passes; 0 after the last group.
    pub fn group_rows(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, Group::rows)
    }

    /// Returns the number of documents of which a part was cut off.
    pub fn truncated(&self) -> usize {
        let cut = |requests: &&Vec<(usize, bool)>| requests.iter().any(|r| r.1);
        self.facts.iter().filter(cut).count()
    }
}

/// A document's sequences.
struct Encoded {
    number: usize,
    sequences: Vec<Owned>,
    greedy: bool,
}

impl Encoded {
    fn texts(&self) -> impl Iterator<Item = &[u32]> {
        self.sequences.iter().map(|(_, s)| &s.inputs[..])
    }
}

fn owned(document: usize, requests: Vec<Vec<Sequence>>) -> Vec<Owned> {
    let numbered = requests.into_iter().enumerate();
    let owner = |request| Owner { document, request };
    numbered
        .flat_map(|(request, windows)| windows.into_iter().map(move |w| (owner(request), w)))
        .collect()
}

/// Groups documents into passes, in the sorted order of their texts: neighbours share the longest prefixes.
fn by_beginning(mut all: Vec<Encoded>, most: usize) -> Vec<Group> {
    all.sort_by(|a, b| {
        let order = a.texts().min().cmp(&b.texts().min());
        order.then(a.number.cmp(&b.number))
    });
    let mut groups = Vec::new();
    let mut rest = &all[..];
    while let Some(first) = rest.first() {
        let mut texts = Texts::default();
        first.texts().for_each(|text| texts.add(text));
        let mut fitting = 1;
        for document in &rest[1..] {
            let mut more = texts.clone();
            document.texts().for_each(|text| more.add(text));
            if more.rows() > most {
                break;
            }
            texts = more;
            fitting += 1;
        }
        let (now, later) = rest.split_at(fitting);
        let mut pass = Pass::default();
        pass.add(now.iter().flat_map(|document| &document.sequences));
        groups.push(Group {
            documents: now.iter().map(|d| d.number).collect(),
            passes: vec![pass],
            greedy: now.iter().any(|d| d.greedy),
        });
        rest = later;
    }
    groups
}

/// Groups documents of similar length, the longest first, each sequence with all of its rows.
fn by_length(mut all: Vec<Encoded>, most: usize) -> Vec<Group> {
    let longest = |d: &Encoded| d.texts().map(<[u32]>::len).max().unwrap_or(0);
    all.sort_by_key(|d| (std::cmp::Reverse(longest(d)), d.number));
    let mut groups: Vec<Group> = Vec::new();
    for document in all {
        let rows: usize = document.texts().map(<[u32]>::len).sum();
        let has_place = |g: &Group| g.rows() + rows <= most;
        if !groups.last().is_some_and(has_place) {
            groups.push(Group::default());
        }
        let Some(group) = groups.last_mut() else {
            continue;
        };
        group.greedy |= document.greedy;
        group.documents.push(document.number);
        for sequence in &document.sequences {
            let has_place = |p: &Pass| p.tokens.len() + sequence.1.inputs.len() <= most;
            if !group.passes.last().is_some_and(has_place) {
                group.passes.push(Pass::default());
            }
            if let Some(pass) = group.passes.last_mut() {
                pass.add([sequence]);
            }
        }
    }
    groups
}
