//! Forecasts in a run are the same in its evidence and on the command line, and a round that will not match ends early if the config
//! asks for it.

mod common;

use common::Place;
use serde_json::Value;

/// A round that cannot match: one layer of three, with a learning rate that hardly trains it.
const HOPELESS: &str = r#"
[model]
n_layer = 3
n_head = 2
n_embd = 24
context_length = 32

[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.1

[reference.train]
steps = 200
lr = 3e-3

[inherit]
layers = 1

[train]
steps = 200
batch_tokens = 256
dtype = "f32"
lr = 1e-5
warmup = 5

[eval]
every = 0
windows = 32

[probe]
windows = 2
length = 16

[grow]
step = 1
max_layers = 2

[control]
random = false
reference_continued = false

[policy]
mode = "auto"
"#;

fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| e["kind"] == kind).collect()
}

/// Returns the steps of each round, from its result.
fn steps(events: &[Value]) -> Vec<u64> {
    let rounds = of_kind(events, "phase").into_iter().filter(|e| {
        let is_round = e["phase"].as_str().is_some_and(|p| p.starts_with("round"));
        is_round && !e["result"].is_null()
    });
    rounds
        .map(|e| e["result"]["steps"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_round_that_will_not_match_ends_early_where_the_policy_says_so() {
    let place = Place::new();
    std::fs::write(place.path().join("hopeless.toml"), HOPELESS).unwrap();
    place.expect(0, &["train", "hopeless.toml", "--name", "whole"]);
    let set = ["--set", "policy.forecast=true"];
    place.expect(
        0,
        &[&["train", "hopeless.toml", "--name", "early"], &set[..]].concat(),
    );

    let whole = place.events("whole");
    assert_eq!(steps(&whole), [200, 200]);
    // One per twentieth of the phase's steps, and one at its start.
    let first = of_kind(&whole, "eval")
        .into_iter()
        .filter(|e| e["phase"] == "round-1");
    let at: Vec<u64> = first.map(|e| e["phase_step"].as_u64().unwrap()).collect();
    assert_eq!(at, (0..=20).map(|i| 10 * i).collect::<Vec<_>>());

    let early = place.events("early");
    // The earliest end is after 30 % of 200 steps and three evaluations in a row.
    assert!(
        steps(&early)[0] >= 90 && steps(&early)[0] < 200,
        "{:?}",
        steps(&early)
    );
    let open = of_kind(&early, "decision")
        .into_iter()
        .find(|e| e["status"] == "open");
    assert_eq!(open.unwrap()["reason"], "forecast");
    let warnings = of_kind(&early, "warning");
    let why = warnings.iter().find_map(|e| {
        e["message"]
            .as_str()
            .filter(|m| m.contains("policy.forecast"))
    });
    let why = why.expect("the end is announced");
    assert!(
        why.contains("steps early") && why.contains("will not match: by "),
        "{why}"
    );
}

#[test]
fn evidence_and_the_command_line_forecast_the_same() {
    let place = Place::new();
    std::fs::write(place.path().join("hopeless.toml"), HOPELESS).unwrap();
    place.expect(0, &["train", "hopeless.toml", "--name", "run"]);
    let events = place.events("run");
    let decisions = of_kind(&events, "decision");
    let open = |round: &str| {
        let mut all = decisions.iter().filter(|e| e["status"] == "open");
        all.find(|e| e["phase"] == round).unwrap()["evidence"].clone()
    };
    let choice = |evidence: &Value, choice: &str| {
        let all = evidence["forecasts"].as_array().unwrap();
        all.iter().find(|f| f["choice"] == choice).cloned()
    };
    // At a round's end there are no planned steps left, and growing needs a finished round.
    let first = open("round-1");
    assert_eq!(choice(&first, "as_planned"), None);
    let grown = choice(&first, "grow").unwrap();
    assert_eq!(grown["verdict"], "insufficient data");
    assert_eq!(
        grown["why"],
        "insufficient data: no round with fewer layers has finished yet"
    );
    assert!(choice(&first, "train_on").is_some());
    let why = first["why"].as_str().unwrap();
    assert!(why.contains("behind the reference; "), "{why}");

    // `heirloom forecast` uses the last round: here with 200 more steps.
    let second = open("round-2");
    let on = choice(&second, "train_on").unwrap();
    let args = ["forecast", "run", "--at", "200", "--to", "400", "--json"];
    let printed: Value = serde_json::from_str(&place.expect(0, &args)).unwrap();
    let value = |of: &Value| of["final_loss"]["value"].as_f64().unwrap();
    assert!(
        (value(&on) - value(&printed)).abs() < 1e-6,
        "{on} {printed}"
    );
    for key in ["verdict", "why", "evaluations_used"] {
        assert_eq!(on[key], printed[key]);
    }
    // Rules from the literature, and known speeds.
    let rules = second["rules"].as_array().unwrap();
    assert!(
        rules[0].as_str().unwrap().contains("tokens per parameter"),
        "{rules:?}"
    );
    assert_eq!(second["costs"][0]["measured"], true);
    // Attention on the first token is recorded for each head.
    let probes = of_kind(&events, "probe");
    let sink = probes.last().unwrap()["sink"].as_array().unwrap();
    assert_eq!((sink.len(), sink[0].as_array().unwrap().len()), (2, 2));
    assert!(
        sink.iter()
            .flat_map(|l| l.as_array().unwrap())
            .all(|s| (0.0..=1.0).contains(&s.as_f64().unwrap()))
    );
}
