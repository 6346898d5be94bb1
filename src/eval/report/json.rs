//! A report as JSON.

use serde_json::{Map, Value, json};

use super::{Average, ModelResults, Report};

/// Returns the results of one model as an object, of several models as `{"models": [...], "paired": {...}}`.
///
/// `paired` holds for each task the difference of the second model (`b`) to the first (`a`); with more than two models
/// a list of such objects, one for each model after the first. What is not defined is null.
pub fn json(report: &Report) -> Value {
    let mut all = match &report.models[..] {
        [only] => model(report, only),
        several => {
            let models: Vec<Value> = several
                .iter()
                .map(|m| Value::Object(model(report, m)))
                .collect();
            let mut all = Map::new();
            all.insert("models".into(), models.into());
            all.insert("paired".into(), Value::Object(paired(report)));
            all
        }
    };
    let settings = report.settings.iter();
    let settings: Map<String, Value> = settings.map(|(k, v)| ((*k).into(), v.clone())).collect();
    all.insert("settings".into(), settings.into());
    Value::Object(all)
}

fn model(report: &Report, model: &ModelResults) -> Map<String, Value> {
    let tasks = || report.tasks.iter().zip(&model.tasks);
    let by_task = |value: &dyn Fn(usize) -> Value| -> Value {
        let all = report.tasks.iter().enumerate();
        all.map(|(i, task)| (task.name.to_string(), value(i)))
            .collect::<Map<_, _>>()
            .into()
    };
    let results: Map<String, Value> = tasks()
        .map(|(task, results)| {
            let values = results.values.iter().map(|(metric, v)| {
                let value = json!({"value": v.value, "stderr": v.stderr, "n": v.n});
                (metric.name().to_string(), value)
            });
            (task.name.into(), values.collect::<Map<_, _>>().into())
        })
        .collect();
    let mut out = Map::new();
    out.insert("model".into(), model.name.clone().into());
    out.insert("label".into(), model.label.clone().into());
    out.insert("results".into(), results.into());
    if let Some(mean) = model.average() {
        out.insert("average".into(), json!({"acc": average(mean)}));
    }
    out.insert(
        "skipped".into(),
        by_task(&|i| report.tasks[i].skipped.into()),
    );
    out.insert(
        "truncated".into(),
        by_task(&|i| model.tasks[i].truncated.into()),
    );
    out.insert(
        "versions".into(),
        by_task(&|i| report.tasks[i].version.into()),
    );
    out.insert("chance".into(), by_task(&|i| report.tasks[i].chance.into()));
    out
}

fn average(mean: Average) -> Value {
    json!({"value": mean.value, "stderr": mean.stderr, "n": mean.tasks})
}

fn paired(report: &Report) -> Map<String, Value> {
    let Some((first, others)) = report.models.split_first() else {
        return Map::new();
    };
    let of_task = |i: usize| {
        let all = others.iter().filter_map(|other| {
            let difference = other.tasks[i].difference?;
            Some(json!({
                "a": first.name,
                "b": other.name,
                "metric": difference.metric.name(),
                "difference": difference.value,
                "stderr": difference.stderr,
            }))
        });
        one_or_list(all.collect(), others.len())
    };
    let tasks = report.tasks.iter().enumerate();
    let mut out: Map<String, Value> = tasks
        .filter_map(|(i, task)| Some((task.name.to_string(), of_task(i)?)))
        .collect();
    let means = others.iter().filter_map(|other| {
        let mean = other.average_difference()?;
        Some(json!({
            "a": first.name,
            "b": other.name,
            "metric": "acc",
            "difference": mean.value,
            "stderr": mean.stderr,
        }))
    });
    if let Some(means) = one_or_list(means.collect(), others.len()) {
        out.insert("average".into(), means);
    }
    out
}

/// The only pair, or the list of pairs.
fn one_or_list(mut pairs: Vec<Value>, others: usize) -> Option<Value> {
    match (pairs.len(), others) {
        (0, _) => None,
        (_, 1) => pairs.pop(),
        _ => Some(pairs.into()),
    }
}
