//! Settings that an operator changes during training take effect with the next step, are repeated and resumed bit for bit, and are
//! undone by a rollback.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Background, Place, is_alive, signal, wait};
use nix::sys::signal::Signal;
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Two sources, models of width 8, a loss at every step.
const CONFIG: &str = r#"
[model]
n_layer = 3
n_head = 2
n_embd = 8
context_length = 16

[data]
train = [{ path = "a.txt", weight = 1 }, { path = "b.txt", weight = 3 }]
val_fraction = 0.1
tokenizer = "byte"

[reference.train]
steps = 10
lr = 1e-2

[inherit]
layers = 2

[train]
steps = 100000
batch_tokens = 32
dtype = "f32"
lr = 2e-3
schedule = "constant"
log_every = 1

[eval]
every = 20
windows = 4

[probe]
budget = 0
windows = 1
length = 16

[grow]
step = 1
max_layers = 3
mode = "keep"

[match]
patience = 1000

[policy]
mode = "pause"

[control]
random = true
reference_continued = false

[checkpoint]
every = 40
keep = 99
"#;

/// Makes a directory with the config and its texts.
fn place() -> Place {
    let place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
    write("mini.toml", CONFIG);
    write("a.txt", &"one two three four five six. ".repeat(60));
    write("b.txt", &"THE QUICK BROWN FOX JUMPS OVER! ".repeat(60));
    place
}

fn start(place: &Place, name: &str, settings: &[&str]) -> Background {
    place.in_background(name, &[&["--threads", "1"], settings].concat(), "")
}

/// A run and its journal.
struct Run<'a>(&'a Place, &'a str);

impl Run<'_> {
    /// Sends a command, and expects that it is applied.
    #[track_caller]
    fn ctl(&self, line: &str) -> String {
        let (code, out, err) = self.try_ctl(line);
        assert_eq!(code, 0, "{line}: {out}{err}");
        out
    }

    fn try_ctl(&self, line: &str) -> (i32, String, String) {
        let words: Vec<&str> = line.split(' ').collect();
        // A run accepts ten commands a second, fewer than a test sends.
        loop {
            let done = self.0.ctl(self.1, &words);
            if !done.2.contains("too many commands") {
                return done;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Sets a value. Returns the setting, and the old and the new value in the journal.
    #[track_caller]
    fn set(&self, line: &str) -> (String, String, String) {
        self.ctl(line);
        let events = self.0.events(self.1);
        let answer = events.iter().rfind(|e| e["kind"] == "answer").unwrap();
        let word = |key: &str| answer["change"][key].as_str().unwrap().to_string();
        (word("what"), word("old"), word("new"))
    }

    #[track_caller]
    fn refuses(&self, line: &str, code: i32, why: &str) {
        let (got, out, err) = self.try_ctl(line);
        assert_eq!(got, code, "{line}: {out}{err}");
        assert!(err.contains(why), "{line}: {err}");
    }

    /// Waits for a step of a phase on a branch, and pauses. Returns the phase's step at the pause.
    #[track_caller]
    fn pause_after(&self, branch: u64, phase: &str, step: u64) -> u64 {
        self.0.wait_event(self.1, "the step", |e| {
            e["kind"] == "train"
                && e["branch"] == branch
                && e["phase"] == phase
                && e["phase_step"].as_u64().unwrap() >= step
        });
        let said = self.ctl("pause");
        let words = said.split(' ').nth(3).unwrap();
        words.trim_end_matches(',').parse().unwrap()
    }

    #[track_caller]
    fn checkpoint(&self) -> String {
        let said = self.ctl("checkpoint");
        said.trim().strip_prefix("checkpoint ").unwrap().into()
    }

    fn losses(&self) -> Losses {
        losses(&self.0.events(self.1))
    }

    /// Returns the settings that `ctl status` lists as set by the operator.
    fn set_values(&self) -> Option<String> {
        let said = self.ctl("status");
        let line = said
            .lines()
            .find_map(|l| l.strip_prefix("set by the operator: "));
        line.map(String::from)
    }

    /// Returns the tensors of a file that differ between two checkpoints.
    fn changed(&self, file: &str, before: &str, after: &str) -> BTreeSet<String> {
        let read = |name: &str| {
            let dir = self.0.run_dir(self.1).join("checkpoints").join(name);
            std::fs::read(dir.join(file)).unwrap()
        };
        let (before, after) = (read(before), read(after));
        let before = SafeTensors::deserialize(&before).unwrap();
        let after = SafeTensors::deserialize(&after).unwrap();
        let differs =
            |name: &&str| before.tensor(name).unwrap().data() != after.tensor(name).unwrap().data();
        let names = before.names();
        names
            .into_iter()
            .filter(differs)
            .map(String::from)
            .collect()
    }

    fn end(&self, process: u32) {
        self.ctl("quit");
        wait("the end", || (!is_alive(process)).then_some(()));
    }
}

/// Losses by branch, phase, step of the phase and kind. Of steps that a resumed process repeated, the last value counts.
type Losses = BTreeMap<(u64, String, u64, String), Value>;

fn losses(events: &[Value]) -> Losses {
    let field = |e: &Value| match e["kind"].as_str() {
        Some("train") => Some(json!([e["loss"], e["lr"], e["grad_norm"]])),
        Some("eval") => Some(json!([e["val_loss"], e["gap"]])),
        _ => None,
    };
    let of = |e: &Value| {
        let (phase, kind) = (e["phase"].as_str()?, e["kind"].as_str()?);
        let place = (
            e["branch"].as_u64()?,
            phase.into(),
            e["phase_step"].as_u64()?,
            kind.into(),
        );
        Some((place, field(e)?))
    };
    events.iter().filter_map(of).collect()
}

/// Returns the losses of the steps after `from` up to `to` of a phase on a branch.
fn of_steps(all: &Losses, branch: u64, phase: &str, from: u64, to: u64) -> Vec<Value> {
    let steps = (from + 1)..=to;
    let loss = |step| all[&(branch, phase.to_string(), step, "train".to_string())].clone();
    steps.map(loss).collect()
}

fn changed(what: &str, old: &str, new: &str) -> (String, String, String) {
    (what.into(), old.into(), new.into())
}

#[track_caller]
fn same(got: &Losses, wanted: &Losses, what: &str) {
    let places: BTreeSet<_> = got.keys().chain(wanted.keys()).collect();
    for place in places {
        assert_eq!(got.get(place), wanted.get(place), "{what}: {place:?}");
    }
}

/// Whether a tensor belongs to the first layer.
fn of_first_layer(name: &str) -> bool {
    name.contains("h.0.")
}

/// Compares a run with every command with runs that repeat it: one undisturbed, one killed and one stopped on the way.
#[test]
fn what_is_set_counts_from_the_next_step_and_is_repeated_and_resumed_to_the_bit() {
    let place = place();
    let run = Run(&place, "told");
    let process = start(&place, "told", &[]);

    // Trains the same steps without and with the settings.
    let began = run.pause_after(0, "round-1", 3);
    let origin = run.checkpoint();
    run.ctl("resume");
    let step = run.pause_after(0, "round-1", began + 10);
    let plain = run.losses();
    let before = run.checkpoint();
    run.refuses("set beta2 1", 2, "in [0, 1), got 1");
    run.refuses("set clip 1", 1, "clip is 1 already");
    run.refuses("set weight_decay 11", 2, "in [0, 10]");
    run.refuses("set mixture 2 1", 1, "sources 0 to 1, no source 2");
    run.refuses("set mixture 0 1", 1, "the weight of source 0 is 1 already");
    run.refuses("set mixture 0 inf", 2, "in [0, 1000000]");
    run.refuses("freeze 1..3", 1, "the model has layers 0..2");
    run.refuses("unfreeze 0..1", 1, "trained already; frozen: none");
    run.refuses("cooldown 0", 2, "from 1");
    assert_eq!(run.set_values(), None);
    assert_eq!(run.set("set clip 0.05"), changed("clip", "1", "0.05"));
    assert_eq!(
        run.set("set weight_decay 0.5"),
        changed("weight_decay", "0.1", "0.5")
    );
    assert_eq!(run.set("set beta2 0.5"), changed("beta2", "0.95", "0.5"));
    assert_eq!(run.set("set mixture 1 0"), changed("mixture 1", "3", "0"));
    run.refuses("set mixture 0 0", 1, "would sum to 0");
    assert_eq!(run.set("freeze 0"), changed("frozen layers", "none", "0"));
    run.refuses("freeze 0..1", 1, "frozen already; frozen: 0");
    assert_eq!(
        run.set_values().unwrap(),
        "clip 0.05 (was 1), weight_decay 0.5 (was 0.1), beta2 0.5 (was 0.95), mixture 1 0 (was 3), \
         frozen layers 0 (was none)"
    );
    run.ctl("resume");
    let until = run.pause_after(0, "round-1", step + 10);
    let after = run.checkpoint();
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let moved = run.changed(file, &before, &after);
        assert!(!moved.iter().any(|name| of_first_layer(name)), "{moved:?}");
        assert!(moved.iter().any(|name| name.contains("h.1.")), "{moved:?}");
        // The layer was trained before it was frozen.
        let moved = run.changed(file, &origin, &before);
        assert!(moved.iter().any(|name| of_first_layer(name)), "{moved:?}");
    }

    // A rollback undoes the settings: the earlier steps are repeated, and the later ones differ.
    let with = run.losses();
    run.ctl(&format!("rollback {origin}"));
    assert_eq!(run.set_values(), None);
    run.ctl("resume");
    let end = run.pause_after(1, "round-1", until);
    let without = run.losses();
    let first = of_steps(&plain, 0, "round-1", began, step);
    assert_eq!(first, of_steps(&without, 1, "round-1", began, step));
    let first = of_steps(&with, 0, "round-1", step, until);
    let second = of_steps(&without, 1, "round-1", step, until);
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?}");

    // Sets one value after the other; the growth keeps the frozen layers.
    for line in [
        "set clip 0.5",
        "set mixture 0 5",
        "freeze 0..2",
        "unfreeze 1",
        "set beta2 0.9",
    ] {
        run.set(line);
        run.ctl("resume");
        run.pause_after(1, "round-1", end + 3);
    }
    run.ctl("grow 1 keep");
    let step = run.pause_after(1, "round-2", 3);
    let frozen =
        "clip 0.5 (was 1), mixture 0 5 (was 1), frozen layers 0 (was none), beta2 0.9 (was 0.95)";
    assert_eq!(run.set_values().unwrap(), frozen);
    let before = run.checkpoint();
    let (what, old, new) = run.set("cooldown 100");
    assert_eq!(
        (what.as_str(), old.as_str(), new.as_str()),
        ("cooldown", "2.000e-3", "2.000e-4")
    );
    run.ctl("resume");
    place.wait_event("told", "the decision", |e| {
        e["kind"] == "decision" && e["status"] == "open" && e["phase"] == "round-2"
    });
    place.wait_event("told", "the pause", |e| {
        e["status"] == "paused" && e["message"] == "waiting for a decision"
    });
    run.refuses("cooldown 10", 1, "nothing to cool down");
    let after = run.checkpoint();
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let moved = run.changed(file, &before, &after);
        assert!(!moved.iter().any(|name| of_first_layer(name)), "{moved:?}");
        assert!(moved.iter().any(|name| name.contains("h.2.")), "{moved:?}");
    }
    // The rate falls linearly until the last update before the decision.
    let events = place.events("told");
    let rates: Vec<(u64, f64)> = events
        .iter()
        .filter(|e| e["kind"] == "train" && e["phase"] == "round-2")
        .map(|e| (e["phase_step"].as_u64().unwrap(), e["lr"].as_f64().unwrap()))
        .collect();
    assert_eq!(rates.last().unwrap().0, step + 100);
    for (at, rate) in rates {
        let share = at.saturating_sub(step) as f64 / 100.0;
        let wanted = 2e-3 + (2e-4 - 2e-3) * share;
        assert!(
            (rate - wanted).abs() < 1e-12,
            "{at}: {rate} and not {wanted}"
        );
    }
    run.ctl("stop");
    wait("the end", || (!is_alive(process.0)).then_some(()));
    assert_eq!(place.show("told")["state"], "done");
    let wanted = run.losses();
    assert!(
        wanted
            .keys()
            .any(|(_, phase, ..)| phase == "control-random")
    );

    let repeat = [
        "train",
        "mini.toml",
        "--threads",
        "1",
        "--decisions",
        "told",
        "--name",
    ];
    place.expect(0, &[&repeat[..], &["repeated"]].concat());
    same(&Run(&place, "repeated").losses(), &wanted, "repeated");

    for (name, how, phase) in [
        ("killed", Signal::SIGKILL, "round-2"),
        ("stopped", Signal::SIGTERM, "round-1"),
        ("killed-in-a-control", Signal::SIGKILL, "control-random"),
    ] {
        let mut child = place.start(&[&repeat[..], &[name]].concat());
        place.wait_event(name, "a step after a checkpoint", |e| {
            e["kind"] == "train" && e["phase"] == phase && e["phase_step"].as_u64() > Some(20)
        });
        signal(child.id(), how);
        let code = wait("the end", || child.try_wait().unwrap()).code();
        assert_eq!(code, (how == Signal::SIGTERM).then_some(75), "{name}");
        place.expect(0, &["train", "--resume", name]);
        let events = place.events(name);
        let resumed = events.iter().find(|e| e["kind"] == "resumed").unwrap();
        assert!(
            resumed["checkpoint"].as_str().unwrap().starts_with('b'),
            "{resumed}"
        );
        same(&losses(&events), &wanted, name);
    }
}

/// Controls have the settings of the rounds, and refuse others.
#[test]
fn controls_and_single_sources_take_no_settings() {
    let place = place();
    let settings = "data.train=a.txt policy.mode=auto train.steps=10 grow.max_layers=2";
    let mut train = vec!["train", "mini.toml", "--threads", "1"];
    for setting in settings.split(' ') {
        train.extend(["--set", setting]);
    }
    place.expect(0, &[&train[..], &["--name", "asked"]].concat());
    // Adds commands at a step of each phase to the journal, because the finished process cannot take commands.
    let clip = json!({"name": "set", "setting": "clip", "value": 0.5});
    let mixture = json!({"name": "set_mixture", "source": 0, "weight": 2.0});
    let freeze = json!({"name": "freeze", "from": 0, "to": 2});
    let all = [
        json!({"name": "set", "setting": "clip", "value": 0.2}),
        mixture.clone(),
        json!({"name": "cooldown", "steps": 5}),
        json!({"name": "freeze", "from": 0, "to": 1}),
        json!({"name": "unfreeze", "from": 0, "to": 1}),
    ];
    let mut lines = Vec::new();
    let mut id = 100;
    for event in place.events("asked") {
        let commands = match (event["phase"].as_str(), event["phase_step"].as_u64()) {
            _ if event["kind"] != "train" => &[][..],
            (Some("round-1"), Some(3)) => &[clip.clone(), freeze.clone(), mixture.clone()],
            (Some("control-random"), Some(3)) => &all,
            _ => &[],
        };
        lines.push(event.clone());
        for command in commands {
            id += 1;
            let envelope = ["v", "t", "elapsed", "step", "phase", "phase_step", "branch"];
            let mut with = |more: Value| {
                let mut line = more;
                for key in envelope {
                    line[key] = event[key].clone();
                }
                lines.push(line);
            };
            with(json!({"kind": "command", "id": id, "by": "control", "command": command}));
            with(json!({"kind": "answer", "id": id, "applied": true, "message": "done"}));
        }
    }
    let numbered = lines.iter_mut().zip(1..).map(|(line, seq)| {
        line["seq"] = json!(seq);
        format!("{line}\n")
    });
    let journal: String = numbered.collect();
    std::fs::write(place.run_dir("asked").join("events.jsonl"), journal).unwrap();
    place.expect(
        0,
        &[&train[..], &["--decisions", "asked", "--name", "mine"]].concat(),
    );
    let events = place.events("mine");
    let answers = |phase: &str, applied: bool| -> Vec<&str> {
        let of = events.iter().filter(|e| e["kind"] == "answer");
        let of = of.filter(|e| e["phase"] == phase && e["applied"] == applied);
        of.map(|e| e["message"].as_str().unwrap()).collect()
    };
    assert_eq!(answers("round-1", true).len(), 2);
    let refused = answers("round-1", false);
    assert!(
        refused.len() == 1 && refused[0].contains("has one source"),
        "{refused:?}"
    );
    let why = "a control is trained with the same values as the model it is compared with";
    assert_eq!(answers("control-random", false), [why; 5]);
    let clip = json!([{"what": "clip", "old": "1", "new": "0.5"}]);
    assert_eq!(place.show("mine")["changes"], clip);
}

/// A value that the config changes on a resume replaces what an operator has set before.
#[test]
fn a_resume_with_another_config_counts_more_than_what_was_set_before() {
    let place = place();
    let process = start(&place, "mine", &[]);
    let run = Run(&place, "mine");
    run.pause_after(0, "round-1", 1);
    for line in ["set clip 0.5", "set beta2 0.5", "set weight_decay 0.3"] {
        run.ctl(line);
    }
    let before = run.checkpoint();
    run.end(process.0);

    // Other settings stay as they were set.
    let resume = |set: &[&str]| {
        let args = ["train", "-d", "--resume", "mine"];
        place.expect(0, &[&args[..], set].concat());
        Background(place.lock("mine")["pid"].as_u64().unwrap() as u32)
    };
    let process = resume(&[]);
    let all = "clip 0.5 (was 1), beta2 0.5 (was 0.95), weight_decay 0.3 (was 0.1)";
    assert_eq!(run.set_values().unwrap(), all);
    run.end(process.0);
    let process = resume(&[
        "--set",
        "train.clip=0.7",
        "--set",
        "train.betas=[0.9, 0.99]",
    ]);
    assert_eq!(run.set_values().unwrap(), "weight_decay 0.3 (was 0.1)");
    // The answer comes from the fold, which may be ahead of the file.
    for start in [
        "train.clip = 0.7 takes effect with the next step",
        "clip is 0.7 from step ",
        "beta2 is 0.99 from step ",
    ] {
        place.wait_event("mine", start, |e| {
            e["kind"] == "log" && e["message"].as_str().unwrap().starts_with(start)
        });
    }
    run.ctl("pause");
    assert_eq!(run.set("set clip 0.2"), changed("clip", "0.7", "0.2"));
    // A rollback does not restore a value that the config has replaced.
    run.ctl(&format!("rollback {before}"));
    assert_eq!(run.set_values().unwrap(), "weight_decay 0.3 (was 0.1)");
    assert_eq!(run.set("set clip 0.3"), changed("clip", "0.7", "0.3"));
    let now = run.checkpoint();
    let path = place
        .run_dir("mine")
        .join("checkpoints")
        .join(now)
        .join("state.json");
    let state: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let live = state["state"]["live"]["settings"].as_array().unwrap();
    let kept: Vec<&Value> = live.iter().map(|c| &c["setting"]).collect();
    assert_eq!(kept, ["weight_decay", "clip"]);
    run.end(process.0);
}

#[test]
fn a_dry_run_numbers_the_sources_of_a_mixture() {
    let place = place();
    let dry = ["train", "mini.toml", "--dry-run"];
    let text = place.expect(0, &dry);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first() == Some(&"source"))
        .collect();
    let said = |n: &str, weight: &str, share: &str, tokens: &str| {
        ["source", n, "weight", weight, share, "%", tokens, "tokens"].map(String::from)
    };
    let wanted = [
        said("0", "1", "25.0", "1566"),
        said("1", "3", "75.0", "1728"),
    ];
    for ((line, wanted), file) in lines.iter().zip(&wanted).zip(["a.txt", "b.txt"]) {
        assert_eq!(line[..8], wanted[..], "{text}");
        assert!(line[8].ends_with(file), "{text}");
    }
    assert_eq!(lines.len(), 2, "{text}");
    let all: Value =
        serde_json::from_str(&place.expect(0, &[&dry[..], &["--json"]].concat())).unwrap();
    let of = |key: &str| {
        all["sources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s[key].clone())
            .collect::<Value>()
    };
    assert_eq!(
        [of("number"), of("weight"), of("share")],
        [json!([0, 1]), json!([1.0, 3.0]), json!([0.25, 0.75])]
    );
    // A single source has no number.
    let one = place.expect(0, &[&dry[..], &["--set", "data.train=a.txt"]].concat());
    assert!(!one.contains("source"), "{one}");
}
