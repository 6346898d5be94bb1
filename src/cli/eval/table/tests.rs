use super::*;
use crate::eval::metrics::{Metric, Value};
use crate::eval::report::{Difference, TaskFacts, TaskResults};

fn report(labels: &[&str]) -> Report {
    let value = |value, stderr, n| Value { value, stderr, n };
    let names = [
        ("arc_easy", "1.0", Some(0.25), 0),
        ("lambada_openai", "1.0", None, 3),
        ("wikitext", "2.0", None, 0),
    ];
    let tasks = names.map(|(name, version, chance, skipped)| TaskFacts {
        name,
        version,
        chance,
        skipped,
    });
    let model = |(i, label): (usize, &&str)| {
        let x = 0.01 * i as f64;
        let difference = |metric, value| {
            (i > 0).then_some(Difference {
                metric,
                value,
                stderr: 0.0071,
            })
        };
        ModelResults {
            name: format!("run@{label}"),
            label: label.to_string(),
            tasks: vec![
                TaskResults {
                    values: vec![
                        (Metric::Acc, value(0.6402 - x, 0.0098, 2376)),
                        (Metric::AccNorm, value(0.5901 - x, 0.0101, 2376)),
                    ],
                    truncated: 0,
                    difference: difference(Metric::Acc, -x),
                },
                TaskResults {
                    values: vec![
                        (Metric::Perplexity, value(20.2441 + x, 0.6161, 5153)),
                        (Metric::Acc, value(0.4012, 0.0068, 5153)),
                    ],
                    truncated: i,
                    difference: difference(Metric::Acc, x),
                },
                TaskResults {
                    values: vec![
                        (Metric::WordPerplexity, value(25.5199, f64::NAN, 62)),
                        (Metric::BytePerplexity, value(1.8324, f64::NAN, 62)),
                        (Metric::BitsPerByte, value(0.8737, f64::NAN, 62)),
                    ],
                    truncated: 0,
                    difference: None,
                },
            ],
        }
    };
    Report {
        tasks: tasks.to_vec(),
        models: labels.iter().enumerate().map(model).collect(),
        settings: Vec::new(),
    }
}

#[test]
fn one_model_is_shown_as_the_harness_prints_it() {
    let wanted = "\
task            version  metric             value   stderr        n  chance
arc_easy            1.0  acc               0.6402  ±0.0098     2376    0.25
                         acc_norm          0.5901  ±0.0101     2376    0.25
lambada_openai      1.0  perplexity       20.2441  ±0.6161     5153
                         acc               0.4012  ±0.0068     5153
wikitext            2.0  word_perplexity  25.5199        -       62
                         byte_perplexity   1.8324        -       62
                         bits_per_byte     0.8737        -       62
average                  acc               0.5207  ±0.0060  2 tasks

lambada_openai: 3 documents skipped, as in the harness
";
    let shown = table(&report(&["a"]));
    assert_eq!(shown, wanted);
}

#[test]
fn the_models_of_a_run_stand_side_by_side_in_80_columns() {
    let shown = table(&report(&[
        "reference",
        "round 1",
        "round 2",
        "random",
        "continued",
    ]));
    let wide: Vec<&str> = shown.lines().filter(|l| text::width(l) > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let wanted = "\
task            metric                 n  chance        reference
arc_easy        acc                 2376    0.25   0.6402 ±0.0098
";
    assert!(shown.starts_with(wanted), "{shown}");
    let wanted = "
paired differences to reference

task            metric          round 1          round 2           random
arc_easy        acc     -0.0100 ±0.0071  -0.0200 ±0.0071  -0.0300 ±0.0071
lambada_openai  acc     +0.0100 ±0.0071  +0.0200 ±0.0071  +0.0300 ±0.0071
average         acc     +0.0000 ±0.0050  +0.0000 ±0.0050  +0.0000 ±0.0050

task            metric        continued
arc_easy        acc     -0.0400 ±0.0071
lambada_openai  acc     +0.0400 ±0.0071
average         acc     +0.0000 ±0.0050

lambada_openai: 3 documents skipped, as in the harness
lambada_openai, round 1: 1 document cut to the context
";
    assert!(shown.contains(wanted), "{shown}");
}
