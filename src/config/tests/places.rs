//! Tests the lines and keys that problems name, and that messages about hostile configs stay short.

use super::*;

#[test]
fn problems_of_the_file_are_told_together_with_their_lines() {
    let file = "\
[data]
train = 5
[reference.train]
stpes = 100
[trian]
steps = 50
[train]
batch_tokens = 1000
lr = -1.0
warmup = 1
[grow]
step = 0
[[probe]]
";
    assert_eq!(
        problems(file, &["eval.windows=1"]),
        [
            ":2: data.train must be a text in quotes, a list of texts or a list of { path = \"...\", weight = 1.0 }, found the number 5",
            ":3: missing reference.train.steps; add steps = 1000 under [reference.train]",
            ":4: unknown key reference.train.stpes; did you mean reference.train.steps?",
            ":5: unknown section [trian]; did you mean [train]?",
            ":7: missing train.steps; add steps = 200 under [train]",
            ":8: train.batch_tokens must be a multiple of model.context_length (128), is 1000",
            ":9: train.lr must be above 0, is -1",
            ":12: grow.step must be at least 1, is 0",
            ":13: [[probe]] must be one section [probe]",
            "--set eval.windows=...: eval.windows must be at least 2, is 1",
        ]
    );
}

#[test]
fn missing_parts_say_what_to_add() {
    assert_eq!(
        problems("", &[]),
        [
            ": missing data.train; add train = \"corpus.txt\" under [data]",
            ": missing train.steps; add steps = 200 under [train]",
            ": missing train.batch_tokens; add batch_tokens = 1024 under [train]",
            ": missing train.lr; add lr = 1e-3 under [train]",
            ": missing reference; add [reference.train] with steps = 1000, or path = \"DIR\" of a checkpoint under [reference]",
        ]
    );
    assert_eq!(problems("x = [", &[]).len(), 1);
    let said = &problems("[train]\nsteps = \n", &[])[0];
    assert!(said.starts_with(":2: "), "{said}");
    let said = problems("train = 3\n[reference]\ntrain = 4\n", &[]);
    assert!(
        said.contains(&":1: train must be a section [train]".into()),
        "{said:?}"
    );
    assert!(said.contains(&":3: reference.train must be a section [reference.train]".into()));
    let said = problems(
        &GOOD.replace("lr = 1e-3", "lr = 1e-3\n[train.seed]\na = 1"),
        &[],
    );
    assert_eq!(
        said,
        [":8: train.seed must be a whole number, is a section"]
    );
}

#[test]
fn combinations_point_at_the_value_that_was_given() {
    let file = GOOD.to_string() + "[model]\ncontext_length = 64\n";
    assert_eq!(
        problems(&file, &[]),
        [":9: probe.length must be at most model.context_length (64), is 100"]
    );
    let said = problems(GOOD, &["train.min_lr=1"]);
    assert_eq!(
        said[0],
        "--set train.min_lr=...: train.min_lr must be between 0 and train.lr (0.001), is 1"
    );
}

#[test]
fn a_config_changed_in_memory_is_checked_without_places() {
    let mut config = loaded(&text(GOOD), &[]).unwrap().config;
    config.grow.step = 0;
    config.train.lr = f64::NAN;
    let said = check(&config).unwrap_err().to_string();
    assert_eq!(
        said,
        "train.lr must be above 0, is NaN\ngrow.step must be at least 1, is 0"
    );
}

#[test]
fn quoted_names_are_taken_word_for_word_and_cannot_draw() {
    let said = problems(
        &format!("\"train.seed\" = 5\n\"a\\u001b[2J\" = 1\n{GOOD}"),
        &[],
    );
    assert_eq!(
        said,
        [
            ":1: unknown key \"train.seed\"; did you mean train.seed?",
            ":2: unknown key a",
        ]
    );
}

#[test]
fn messages_about_hostile_configs_are_few_short_and_cannot_draw() {
    let many: String = (0..50_000).map(|i| format!("k{i} = 1\n")).collect();
    let list: String = (0..100_000).map(|i| format!("{i},")).collect();
    let words: String = (0..60_000).map(|i| format!("'w{i}',")).collect();
    for (name, source) in [
        ("many keys", many),
        ("a long key", format!("{} = 1", "k".repeat(1_000_000))),
        ("a key that draws", "\"a\\u001b[2J\\u202e\" = 1".into()),
        ("a value that draws", "train = \"\\u001b[2J\\n\"".into()),
        ("deep lists", format!("a = {}", "[".repeat(500_000))),
        ("deep names", format!("a{} = 1", ".a".repeat(400_000))),
        ("many layers", format!("{GOOD}[inherit]\nlayers = [{list}]")),
        ("many parts", format!("{GOOD}[inherit]\nwhat = [{words}]")),
        (
            "a long value",
            format!("{GOOD}dtype = '{}'", "x".repeat(1_000_000)),
        ),
    ] {
        let began = std::time::Instant::now();
        let problems = problems(&source, &[]);
        assert!((1..=101).contains(&problems.len()), "{name}");
        for problem in problems {
            assert!(problem.len() <= 1000, "{name}: {}", problem.len());
            assert_eq!(crate::text::sanitize(&problem), problem, "{name}");
        }
        assert!(
            began.elapsed().as_secs() < 5,
            "{name}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn overrides_without_a_key_cannot_draw_either() {
    let set = "trutoto\u{1}\u{202e}\u{1b}[2J";
    assert_eq!(
        problems(GOOD, &[set]),
        ["--set trutoto: give it as section.key=value"]
    );
}
