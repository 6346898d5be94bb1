//! Every op agrees with candle-nn's layers, losses and AdamW and with candle's autograd in f64: the checks of
//! `heirloom selftest --device cpu`, on this machine's best unit.

use std::path::Path;

use candle_core::Device;
use heirloom::selftest::SelfTest;

/// Runs some of the checks on two sets of inputs; at least `least` must have been made.
fn check(least: usize, part: impl Fn(&mut SelfTest<'_>)) {
    for seed in [1, 2] {
        let mut failed = Vec::new();
        let mut told = |good: bool, name: &str, found: &str| {
            if !good {
                failed.push(format!("{name}: {found}"));
            }
        };
        let mut test = SelfTest::new(&Device::Cpu, seed, &mut told);
        part(&mut test);
        let (passed, _) = test.counts();
        assert!(failed.is_empty(), "seed {seed}:\n{}", failed.join("\n"));
        assert!(passed >= least, "{passed} checks");
    }
}

#[test]
fn layers_agree() {
    check(50, |t| t.layers());
}

#[test]
fn distillation_agrees() {
    check(30, |t| t.distillation());
}

#[test]
fn attention_agrees() {
    check(24, |t| t.attentions());
}

#[test]
fn attention_spreads_nan_to_what_sees_it() {
    check(8, |t| t.attention_extremes());
}

#[test]
fn the_optimizer_agrees() {
    check(9, |t| t.optimizer());
}

/// A new op must also be checked.
#[test]
fn every_op_is_among_the_checks() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &str| std::fs::read_to_string(src.join(path)).unwrap();
    let oracle = ["layers", "attention", "optimizer", "distillation", "logits"];
    let checks = oracle.map(|name| read(&format!("selftest/oracle/{name}.rs")));
    let checks = checks.concat();
    let mut seen = 0;
    for file in std::fs::read_dir(src.join("ops")).unwrap() {
        let path = file.unwrap().path();
        // Functions that only move values are not compared.
        if path.is_dir() || path.ends_with("access.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for op in text.split("\npub fn ").skip(1) {
            let (signature, _) = op.split_once("{\n").unwrap();
            let (name, _) = op.split_once('(').unwrap();
            if !signature.contains("&Tensor") {
                continue;
            }
            seen += 1;
            let is_used = checks
                .match_indices(&format!("ops::{name}"))
                .any(|(at, found)| {
                    let next = checks[at + found.len()..].chars().next();
                    next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                });
            assert!(
                is_used,
                "ops::{name} is compared with nothing in src/selftest/oracle"
            );
        }
    }
    assert!(seen > 20, "{seen} ops found");
}
