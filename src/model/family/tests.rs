//! Checks that a `config.json` is read as by transformers 5, in every spelling, and that settings which would be computed
//! differently are refused by name. The table is `tests/fixtures/configs.json`, made by `tests/fixtures/make_config_fixture.py`.

use serde_json::{Value, json};

use super::{from_json, to_json};
use crate::model::{Biases, DecoderConfig, Norms, Positions, Sizes};
use crate::text;

/// Describes a config in the terms of the table.
fn described(config: &DecoderConfig) -> Value {
    let mut says = json!({
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_kv_head": config.n_kv_head,
        "n_embd": config.n_embd,
        "n_inner": config.n_inner,
        "vocab": config.vocab,
        "context": config.context_length,
        "tied": config.tied_head,
    });
    if let Positions::Rotary(rope) = &config.positions {
        let b = config.biases;
        says["biases"] = json!([b.qkv, b.attention_out, b.mlp]);
        says["frequencies"] = json!(rope.frequencies(config.head_size));
    }
    says
}

/// Whether two values are equal, numbers to six digits.
fn agree(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| agree(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * b.abs(),
            _ => a == b,
        },
    }
}

/// Returns an object with other values, and without some keys.
fn changed(object: &Value, set: &Value, without: &Value) -> Value {
    let mut new = object.as_object().unwrap().clone();
    let set = set.as_object().into_iter().flatten();
    new.extend(set.map(|(key, value)| (key.clone(), value.clone())));
    for key in without.as_array().into_iter().flatten() {
        new.remove(key.as_str().unwrap());
    }
    new.into()
}

fn without_null(object: &Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    object.retain(|_, value| !value.is_null());
    object.into()
}

#[test]
fn every_spelling_means_what_transformers_takes_it_for() {
    let table = include_str!("../../../tests/fixtures/configs.json");
    let table: Value = serde_json::from_str(table).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in cases {
        let config = changed(&table["config"], &case["set"], &case["without"]);
        let config = config.to_string();
        let end = case["end"].as_str().unwrap_or_default();
        let config = format!("{}{end}}}", config.strip_suffix('}').unwrap());
        let says = changed(&table["says"], &case["says"], &Value::Null);
        let wanted = case["heirloom"].as_str().unwrap();
        let json = text::python_json(config.as_bytes()).unwrap();
        let read = from_json(&json).map(|config| described(&config));
        let fine = match (wanted, &read) {
            ("same", Ok(read)) => agree(read, &without_null(&says)),
            ("read", Ok(_)) => true,
            (wanted, Err(error)) => wanted
                .strip_prefix("refused: ")
                .is_some_and(|words| error.0.contains(words)),
            _ => false,
        };
        if !fine {
            wrong.push(format!(
                "{}: {config}\n  transformers: {says}\n  wanted: {wanted}\n  read: {read:?}",
                case["name"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_this_program_writes_it_reads_again() {
    let sizes = Sizes {
        n_layer: 2,
        n_head: 2,
        n_embd: 16,
        context_length: 64,
        vocab: 64,
    };
    let all = [false, true];
    for norm in [Norms::RmsNorm, Norms::Plain] {
        for (qkv, attention_out) in [(false, false), (true, false), (true, true)] {
            for mlp in all {
                let config = DecoderConfig {
                    norm,
                    norm_epsilon: 1e-5,
                    biases: Biases {
                        norms: false,
                        qkv,
                        attention_out,
                        mlp,
                    },
                    ..DecoderConfig::llama(sizes)
                };
                if norm == Norms::Plain && qkv != attention_out {
                    continue; // no family has this
                }
                let json = to_json(&config);
                assert_eq!(from_json(&json), Ok(config), "{json}");
            }
        }
    }
}
