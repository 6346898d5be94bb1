use super::*;
use serde_json::json;

fn value(value: f64, stderr: f64, n: usize) -> Value {
    Value { value, stderr, n }
}

fn results(acc: f64, perplexity: f64, difference: Option<f64>) -> Vec<TaskResults> {
    let difference = |metric| {
        difference.map(|value| Difference {
            metric,
            value,
            stderr: 0.004,
        })
    };
    vec![
        TaskResults {
            values: vec![
                (Metric::Acc, value(acc, 0.03, 200)),
                (Metric::AccNorm, value(acc + 0.01, 0.03, 200)),
            ],
            truncated: 2,
            difference: difference(Metric::Acc),
        },
        TaskResults {
            values: vec![
                (Metric::Perplexity, value(perplexity, f64::NAN, 50)),
                (Metric::Acc, value(0.5, 0.04, 50)),
            ],
            truncated: 0,
            difference: difference(Metric::Acc),
        },
    ]
}

fn report(models: &[(&str, Vec<TaskResults>)]) -> Report {
    let task = |name, chance| TaskFacts {
        name,
        version: "1.0",
        chance,
        skipped: 1,
    };
    let model = |(name, tasks): &(&str, Vec<TaskResults>)| ModelResults {
        name: format!("run@{name}"),
        label: (*name).into(),
        tasks: tasks.clone(),
    };
    Report {
        tasks: vec![task("piqa", Some(0.5)), task("lambada_openai", None)],
        models: models.iter().map(model).collect(),
        settings: vec![("limit", json!(null)), ("dtype", json!("f32"))],
    }
}

#[test]
fn one_model_is_an_object_and_what_is_not_defined_is_null() {
    let report = report(&[("a|b,", results(0.625, 20.5, None))]);
    assert_eq!(
        json(&report),
        json!({
            "model": "run@a|b,",
            "label": "a|b,",
            "results": {
                "piqa": {
                    "acc": {"value": 0.625, "stderr": 0.03, "n": 200},
                    "acc_norm": {"value": 0.635, "stderr": 0.03, "n": 200},
                },
                "lambada_openai": {
                    "perplexity": {"value": 20.5, "stderr": null, "n": 50},
                    "acc": {"value": 0.5, "stderr": 0.04, "n": 50},
                },
            },
            // The mean of 0.625 and 0.5; a hypotenuse of 0.03 and 0.04, halved.
            "average": {"acc": {"value": 0.5625, "stderr": 0.025, "n": 2}},
            "skipped": {"piqa": 1, "lambada_openai": 1},
            "truncated": {"piqa": 2, "lambada_openai": 0},
            "versions": {"piqa": "1.0", "lambada_openai": "1.0"},
            "chance": {"piqa": 0.5, "lambada_openai": null},
            "settings": {"limit": null, "dtype": "f32"},
        })
    );
    let wanted = "\
model,task,version,metric,value,stderr,n,chance,skipped,truncated,difference,difference_stderr
\"run@a|b,\",piqa,1.0,acc,0.625,0.03,200,0.5,1,2,,
\"run@a|b,\",piqa,1.0,acc_norm,0.635,0.03,200,0.5,1,2,,
\"run@a|b,\",lambada_openai,1.0,perplexity,20.5,,50,,1,0,,
\"run@a|b,\",lambada_openai,1.0,acc,0.5,0.04,50,,1,0,,
";
    assert_eq!(csv(&report), wanted);
    let wanted = "\
run@a\\|b,

| Tasks | Version | Metric | Value | Stderr | n | Chance |
|---|---|---|--:|--:|--:|--:|
| piqa | 1.0 | acc | 0.6250 | 0.0300 | 200 | 0.50 |
|  |  | acc_norm | 0.6350 | 0.0300 | 200 | 0.50 |
| lambada_openai | 1.0 | perplexity | 20.5000 | - | 50 |  |
|  |  | acc | 0.5000 | 0.0400 | 50 |  |
| average |  | acc | 0.5625 | 0.0250 | 2 tasks |  |
";
    assert_eq!(markdown(&report), wanted);
}

#[test]
fn two_models_are_compared_by_an_object_for_each_task_and_more_by_a_list() {
    let pair = |b: &str, difference: f64| json!({"a": "run@ref", "b": b, "metric": "acc", "difference": difference, "stderr": 0.004});
    let models = [
        ("ref", results(0.625, 20.5, None)),
        ("round 1", results(0.6, 21.0, Some(-0.025))),
        ("round 2", results(0.65, 1234.5678, Some(0.025))),
    ];
    let two = json(&report(&models[..2]));
    assert_eq!(two["paired"]["piqa"], pair("run@round 1", -0.025));
    let names: Vec<_> = two["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["model"])
        .collect();
    assert_eq!(names, ["run@ref", "run@round 1"]);
    // The hypotenuse of twice 0.004, halved.
    let mean = two["paired"]["average"]["stderr"].as_f64().unwrap();
    assert!((mean - 0.004 / 2f64.sqrt()).abs() < 1e-12, "{mean}");
    let three = json(&report(&models));
    assert_eq!(
        three["paired"]["lambada_openai"],
        json!([pair("run@round 1", -0.025), pair("run@round 2", 0.025)])
    );
    let wanted = "\
- ref: run@ref
- round 1: run@round 1
- round 2: run@round 2

| task | metric | n | chance | ref | round 1 | round 2 |
|---|---|--:|--:|--:|--:|--:|
| piqa | acc | 200 | 0.50 | 0.6250 ±0.0300 | 0.6000 ±0.0300 | 0.6500 ±0.0300 |
|  | acc_norm | 200 | 0.50 | 0.6350 ±0.0300 | 0.6100 ±0.0300 | 0.6600 ±0.0300 |
| lambada_openai | perplexity | 50 |  | 20.5000 | 21.0000 | 1234.6 |
|  | acc | 50 |  | 0.5000 ±0.0400 | 0.5000 ±0.0400 | 0.5000 ±0.0400 |
| average | acc | 2 tasks |  | 0.5625 ±0.0250 | 0.5500 ±0.0250 | 0.5750 ±0.0250 |

Paired differences to ref:

| task | metric | round 1 | round 2 |
|---|---|--:|--:|
| piqa | acc | -0.0250 ±0.0040 | +0.0250 ±0.0040 |
| lambada_openai | acc | -0.0250 ±0.0040 | +0.0250 ±0.0040 |
| average | acc | -0.0250 ±0.0028 | +0.0250 ±0.0028 |
";
    assert_eq!(markdown(&report(&models)), wanted);
    let rows = csv(&report(&models));
    assert!(
        rows.contains("run@round 1,piqa,1.0,acc,0.6,0.03,200,0.5,1,2,-0.025,0.004\n"),
        "{rows}"
    );
}
