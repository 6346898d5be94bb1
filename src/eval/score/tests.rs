//! Compares packed passes with passes over one text at a time.

use candle_core::Device;

use super::*;
use crate::corpus::Tokenizer;
use crate::eval::tasks::{Answer, Document, Request};
use crate::model::{Sizes, Workspace};
use crate::ops;

const SIZES: Sizes = Sizes {
    n_layer: 2,
    n_head: 4,
    n_embd: 32,
    context_length: 160,
    vocab: 320,
};

fn document(context: &str, continuations: &[&str], answer: Answer) -> Document {
    let request = |c: &&str| Request {
        context: context.into(),
        continuation: (*c).into(),
    };
    Document {
        requests: continuations.iter().map(request).collect(),
        answer,
        group: None,
    }
}

/// Makes a question of one subject, after examples.
fn question(examples: &str, text: &str) -> Document {
    Document {
        group: Some("subject".into()),
        ..document(
            &format!("{examples}{text}"),
            &["A", "B"],
            Answer::Choice {
                gold: 0,
                lengths: vec![1, 1],
            },
        )
    }
}

fn documents() -> Vec<Document> {
    let choice = || Answer::Choice {
        gold: 0,
        lengths: vec![1, 1],
    };
    let long =
        "A long beginning of very many words, so that several blocks of queries follow one another. "
            .repeat(2);
    vec![
        document("Who is it?", &[" me", " you and others"], choice()),
        document(&long, &[" yes", " no"], choice()),
        document("One token", &["A", "B", "C"], choice()),
        document("", &["nothing before", "nothing"], choice()),
        document("The last", &[" word"], Answer::Word),
        question(&long[..90], "Is it?"),
        question(&long[..90], "Is it so?"),
        question(&long[..90], "Or?"),
        document("", &[&long.repeat(3)], Answer::Page { words: 9, bytes: 9 }),
    ]
}

/// Computes the score of a request from logits, by running each of its sequences separately.
fn alone(model: &Decoder, sequences: &[Sequence], vocab: usize) -> (f64, bool) {
    let (mut sum, mut greedy) = (0.0, true);
    for s in sequences {
        let ws = Workspace::new(
            &model.config,
            1,
            s.inputs.len(),
            Mode::Forward,
            &Device::Cpu,
        )
        .unwrap();
        ops::write(&ws.inputs, &s.inputs).unwrap();
        let logits = ops::read(&model.logits(&ws).unwrap()).unwrap();
        let rows = logits
            .chunks(model.config.vocab)
            .skip(s.inputs.len() - s.targets.len());
        for (row, &target) in rows.zip(&s.targets) {
            let row: Vec<f64> = row[..vocab].iter().map(|&x| f64::from(x)).collect();
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - most).exp()).sum();
            sum += row[target as usize] - most - total.ln();
            greedy &= row[target as usize] == most;
        }
    }
    (sum, greedy)
}

#[test]
fn packed_and_shared_passes_give_the_scores_of_each_text_alone() {
    let llama = DecoderConfig {
        n_kv_head: 2,
        ..DecoderConfig::llama(SIZES)
    };
    let documents = documents();
    for config in [DecoderConfig::gpt2(SIZES, true), llama] {
        let model = Decoder::random(config, 3, &Device::Cpu).unwrap();
        let encoder = Encoder::new(Tokenizer::byte(), None, false, 160).unwrap();
        for (tokens, share) in [(64, true), (400, true), (400, false), (4000, true)] {
            let prepared = Prepared::new(&encoder, &documents, Packing { tokens, share }).unwrap();
            assert_eq!(
                prepared.truncated(),
                1,
                "the long one does not fit 160 tokens"
            );
            let rows = prepared.longest_pass();
            let scorer =
                Scorer::new(&model.config, rows, Precision::F32, 257, &Device::Cpu).unwrap();
            let mut done = 0;
            let scores = scorer.score(&model, &prepared, &Known::new(), &mut |f| {
                done = f.rows;
                ControlFlow::Continue(())
            });
            assert_eq!(done, prepared.rows());
            for (document, scores) in documents.iter().zip(scores.unwrap().unwrap()) {
                let sequences = encoder.sequences(document).unwrap();
                assert_eq!(scores.len(), sequences.len());
                for (score, sequences) in scores.iter().zip(&sequences) {
                    let (want, greedy) = alone(&model, sequences, 257);
                    let got = score.log_likelihood;
                    assert!((got - want).abs() < 2e-4, "{got}, not {want}");
                    if document.answer == Answer::Word {
                        assert_eq!(score.greedy, greedy);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_known_is_not_computed_again_and_a_break_ends_it() {
    let documents = documents();
    let model = Decoder::random(DecoderConfig::gpt2(SIZES, true), 3, &Device::Cpu).unwrap();
    let encoder = Encoder::new(Tokenizer::byte(), None, false, 160).unwrap();
    let packing = Packing {
        tokens: 64,
        share: true,
    };
    let prepared = Prepared::new(&encoder, &documents, packing).unwrap();
    let rows = prepared.longest_pass();
    let scorer = Scorer::new(&model.config, rows, Precision::F32, 257, &Device::Cpu).unwrap();
    let mut known = Known::new();
    let mut groups = 0;
    let broken = scorer.score(&model, &prepared, &known.clone(), &mut |f| {
        known.extend(f.scores.iter().cloned());
        groups += 1;
        match groups {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(broken.unwrap().is_none());
    let all = |known: &Known| {
        let mut count = 0;
        let scores = scorer.score(&model, &prepared, known, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        (scores.unwrap().unwrap(), count)
    };
    let (whole, count) = all(&Known::new());
    let (rest, fewer) = all(&known);
    assert_eq!(whole, rest);
    assert_eq!(fewer, count - 2);
}

#[test]
fn questions_after_the_same_examples_read_them_once() {
    let documents = documents();
    let encoder = Encoder::new(Tokenizer::byte(), None, false, 160).unwrap();
    let rows = |documents: &[Document], share| {
        let packing = Packing { tokens: 400, share };
        Prepared::new(&encoder, documents, packing).unwrap().rows()
    };
    // Bytes: 90 of examples, 6, 9 and 3 of questions; both answers follow the same text, and two questions begin alike.
    assert_eq!(rows(&documents[5..8], true), 90 + 6 + (9 - 5) + 3);
    assert_eq!(rows(&documents[5..8], false), 2 * (96 + 99 + 93));
    // A choice adds all but its last byte; both begin with a space.
    assert_eq!(rows(&documents[..1], true), 11 + 1 + 13);
    // Of this and a document that begins alike, "Who is " is read once.
    let mut like = documents[..1].to_vec();
    like.push(document(
        "Who is she?",
        &[" I", " me"],
        documents[0].answer.clone(),
    ));
    assert_eq!(rows(&like, true), 11 + 1 + 13 + 4 + 1 + 1);
}
