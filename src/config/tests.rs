//! What a config file may say, and every message about what it may not.

use std::path::Path;

use super::load::load_with;
use super::variables::{Unexpanded, expand};
use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "HEIRLOOM_DATA" => Some("/data".into()),
        "HOME" => Some("/home/me".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn text(text: &str) -> Source {
    Source::Text {
        name: "t".into(),
        text: text.into(),
    }
}

fn loaded(source: &Source, overrides: &[&str]) -> Result<Loaded, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    load_with(source, &overrides, Path::new("/work"), &env)
}

/// The problems, without the `preset t` that all file places begin with.
fn problems(source: &str, overrides: &[&str]) -> Vec<String> {
    match loaded(&text(source), overrides) {
        Ok(_) => Vec::new(),
        Err(e) => e
            .problems
            .iter()
            .map(|p| p.strip_prefix("preset t").unwrap_or(p).to_string())
            .collect(),
    }
}

const GOOD: &str = "\
data.train = 'builtin:tinyshakespeare'
[reference.train]
steps = 100
[train]
steps = 50
batch_tokens = 1024
lr = 1e-3
";

#[test]
fn a_small_config_takes_the_defaults() {
    let config = loaded(&text(GOOD), &[]).unwrap().config;
    assert_eq!(config.train.steps, 50);
    assert_eq!(config.train.betas, [0.9, 0.95]);
    assert_eq!(config.model.n_layer, 8);
    assert_eq!(config.reference.train.unwrap().lr, None);
}

/// Each override makes one value wrong; the message must be exactly this one.
#[test]
fn every_wrong_value_is_told_in_its_own_words() {
    for (set, message) in [
        (
            "model.family=mamba",
            "model.family must be one of gpt2, llama, is \"mamba\"",
        ),
        (
            "model.n_kv_head=3",
            "model.n_kv_head has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.n_kv_head=2",
            "model.n_kv_head has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.rope_theta=0.5",
            "model.rope_theta has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.n_inner=99999999",
            "model.n_inner must be at most 1048576, is 99999999",
        ),
        (
            "train.context_length=129",
            "train.context_length must be at most model.context_length (128), is 129",
        ),
        ("model.n_layer=0", "model.n_layer must be at least 1, is 0"),
        (
            "model.n_layer=5000",
            "model.n_layer must be at most 1000, is 5000",
        ),
        ("model.n_head=0", "model.n_head must be at least 1, is 0"),
        (
            "model.n_head=3",
            "model.n_head must divide model.n_embd: 3 heads, width 128",
        ),
        (
            "model.n_head=128",
            "model.n_embd / model.n_head must be even, is 1",
        ),
        ("model.n_embd=0", "model.n_embd must be at least 1, is 0"),
        (
            "model.context_length=0",
            "model.context_length must be at least 1, is 0",
        ),
        (
            "model.vocab=256",
            "model.vocab must be 0 or at least 257 for the byte tokenizer, is 256",
        ),
        (
            "model.bias=1",
            "model.bias must be true or false, found the number 1",
        ),
        ("data.train=", "data.train is empty"),
        (
            "data.train=builtin:x",
            "data.train: no builtin text \"x\"; there is builtin:tinyshakespeare",
        ),
        (
            "data.val_fraction=0",
            "data.val_fraction must be between 0 and 1 (both excluded), is 0",
        ),
        (
            "data.val_fraction=1.0",
            "data.val_fraction must be between 0 and 1 (both excluded), is 1",
        ),
        (
            "data.tokenizer=gpt-2",
            "data.tokenizer must be byte, gpt2, reference or a path, is \"gpt-2\"; did you mean \"gpt2\"?",
        ),
        (
            "data.train=$NOPE/a",
            "data.train needs the environment variable NOPE, which is not set; export it, or give --set data.train=PATH",
        ),
        (
            "data.train=${EMPTY}/a",
            "data.train needs the environment variable EMPTY, which is not set; export it, or give --set data.train=PATH",
        ),
        (
            "reference.train.steps=0",
            "reference.train.steps must be at least 1, is 0",
        ),
        (
            "reference.train.lr=0",
            "reference.train.lr must be above 0, is 0",
        ),
        (
            "reference.train.min_lr=1",
            "reference.train.min_lr must be between 0 and reference.train.lr (0.001), is 1",
        ),
        (
            "reference.train.warmup=101",
            "reference.train.warmup must be at most reference.train.steps (100), is 101",
        ),
        (
            "reference.train.schedule=cosin",
            "reference.train.schedule must be one of cosine, linear, constant, wsd, is \"cosin\"; did you mean \"cosine\"?",
        ),
        (
            "inherit.layers=all",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\" or a list of layer indices, is \"all\"",
        ),
        (
            "inherit.layers=0",
            "inherit.layers must be at least 1, is 0",
        ),
        (
            "inherit.layers=8",
            "inherit.layers must be fewer than the reference's 8, is 8",
        ),
        (
            "inherit.layers=[]",
            "inherit.layers is an empty list; name at least one layer",
        ),
        (
            "inherit.layers=[0, 0]",
            "inherit.layers names layer 0 twice",
        ),
        (
            "inherit.layers=[0, 8]",
            "inherit.layers: no layer 8 in a reference of 8 (they count from 0)",
        ),
        (
            "inherit.layers=[0, -1]",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\" or a list of layer indices, found a list of 2",
        ),
        (
            "inherit.layers=1.5",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\" or a list of layer indices, found the number 1.5",
        ),
        (
            "inherit.what=[]",
            "inherit.what is empty; name some of attention, mlp, norms, embeddings, positions, final_norm, head",
        ),
        (
            "inherit.what=['atention']",
            "inherit.what: unknown part \"atention\"; did you mean \"attention\"?",
        ),
        (
            "inherit.what=['mlp', 'mlp']",
            "inherit.what names \"mlp\" twice",
        ),
        (
            "inherit.what=mlp",
            "inherit.what must be a list of texts, found the text \"mlp\"",
        ),
        ("train.steps=0", "train.steps must be at least 1, is 0"),
        (
            "train.steps=-3",
            "train.steps must be a whole number of at least 0, is -3",
        ),
        (
            "train.steps=1e3",
            "train.steps must be a whole number, found the number 1000.0",
        ),
        (
            "train.steps=many",
            "train.steps must be a whole number, found the text \"many\"",
        ),
        (
            "train.steps=2020-01-01",
            "train.steps must be a whole number, found a date",
        ),
        (
            "train.batch_tokens=0",
            "train.batch_tokens must be at least 1, is 0",
        ),
        (
            "train.batch_tokens=1000",
            "train.batch_tokens must be a multiple of model.context_length (128), is 1000",
        ),
        (
            "train.micro_batch=3",
            "train.micro_batch must divide the 8 windows of a batch, is 3",
        ),
        ("train.lr=0", "train.lr must be above 0, is 0"),
        ("train.lr=nan", "train.lr must be a finite number, is NaN"),
        ("train.lr=inf", "train.lr must be a finite number, is inf"),
        (
            "train.lr=fast",
            "train.lr must be a number, found the text \"fast\"",
        ),
        (
            "train.warmup=51",
            "train.warmup must be at most train.steps (50), is 51",
        ),
        (
            "train.schedule=step",
            "train.schedule must be one of cosine, linear, constant, wsd, is \"step\"",
        ),
        (
            "train.betas=[0.9, 1.0]",
            "train.betas must be at least 0 and below 1, holds 1",
        ),
        (
            "train.betas=[0.9, nan]",
            "train.betas must be finite numbers, holds NaN",
        ),
        (
            "train.betas=[0.9]",
            "train.betas must be a list of two numbers, found a list of 1",
        ),
        (
            "train.betas=0.9",
            "train.betas must be a list of two numbers, found the number 0.9",
        ),
        (
            "train.weight_decay=-1",
            "train.weight_decay must be at least 0, is -1",
        ),
        ("train.clip=-0.5", "train.clip must be at least 0, is -0.5"),
        (
            "train.dtype=fp16",
            "train.dtype must be \"f32\" or \"bf16\", is \"fp16\"",
        ),
        (
            "train.dtype=f8",
            "train.dtype must be \"f32\" or \"bf16\", is \"f8\"",
        ),
        (
            "train.log_every=0",
            "train.log_every must be at least 1, is 0",
        ),
        ("eval.every=0", "eval.every must be at least 1, is 0"),
        ("eval.windows=1", "eval.windows must be at least 2, is 1"),
        (
            "probe.budget=1.5",
            "probe.budget must be between 0 and 1, is 1.5",
        ),
        ("probe.windows=0", "probe.windows must be at least 1, is 0"),
        ("probe.length=1", "probe.length must be at least 2, is 1"),
        (
            "probe.length=129",
            "probe.length must be at most model.context_length (128), is 129",
        ),
        (
            "probe.tau=0",
            "probe.tau must be above 0 and at most 1, is 0",
        ),
        (
            "probe.tau=1.1",
            "probe.tau must be above 0 and at most 1, is 1.1",
        ),
        ("grow.step=0", "grow.step must be at least 1, is 0"),
        (
            "grow.mode=keeep",
            "grow.mode must be one of restart, keep, is \"keeep\"; did you mean \"keep\"?",
        ),
        (
            "grow.max_layers=3",
            "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 3",
        ),
        (
            "grow.max_layers=9",
            "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 9",
        ),
        (
            "match.tolerance=-inf",
            "match.tolerance must be a finite number, is -inf",
        ),
        (
            "match.patience=0",
            "match.patience must be at least 1, is 0",
        ),
        (
            "notify.command=notify-send",
            "notify.command must be a list of texts, found the text \"notify-send\"",
        ),
        (
            "notify.command=['', 'done']",
            "notify.command must begin with the program to run, its first word is empty; an empty list runs nothing",
        ),
        (
            "notify.command=[\"a\", \"\\u0000\"]",
            "notify.command holds the character U+0000, which no program can be given",
        ),
        (
            "notify.on=['decision', 'finish']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds the text \"finish\"",
        ),
        (
            "notify.on=['don']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds the text \"don\"; did you mean \"done\"?",
        ),
        (
            "notify.on=['nan', 'nan']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds \"nan\" twice",
        ),
        (
            "notify.on=done",
            "notify.on must be a list of any of decision, nan, stall, best, done, found the text \"done\"",
        ),
        (
            "notify.terminal=beep",
            "notify.terminal must be one of off, bell, osc9, is \"beep\"",
        ),
        (
            "policy.mode=never",
            "policy.mode must be one of ask, pause, auto, is \"never\"",
        ),
        (
            "policy.max_hours=-1",
            "policy.max_hours must be at least 0, is -1",
        ),
        (
            "control.random=yes",
            "control.random must be true or false, found the text \"yes\"",
        ),
        (
            "checkpoint.keep=0",
            "checkpoint.keep must be at least 1, is 0",
        ),
        (
            "train.stpes=5",
            "unknown key train.stpes; did you mean train.steps?",
        ),
        ("train=5", "train is a section; name one of its keys"),
        ("zzz=5", "unknown key zzz"),
    ] {
        let key = set.split('=').next().unwrap();
        assert_eq!(
            problems(GOOD, &[set]),
            [format!("--set {key}=...: {message}")],
            "{set}"
        );
    }
    assert_eq!(
        problems(GOOD, &["lr"]),
        ["--set lr: give it as section.key=value"]
    );
}

#[test]
fn good_values_pass() {
    for set in [
        "inherit.layers=4",
        "inherit.layers=auto",
        "inherit.layers=[0, 2, 5]",
        "inherit.what=[\"mlp\"]",
        "grow.max_layers=8",
        "grow.max_layers=4",
        "train.micro_batch=4",
        "train.lr=3e-4",
        "train.weight_decay=0",
        "model.vocab=320",
        "probe.budget=0",
        "match.tolerance=-0.01",
        "checkpoint.every=0",
        "policy.mode=pause",
        "train.min_lr=0",
        "notify.command=[]",
        "notify.command=[\"notify-send\", \"heirloom\"]",
        "notify.on=[]",
        "notify.on=['done', 'nan']",
        "notify.terminal=osc9",
    ] {
        assert_eq!(problems(GOOD, &[set]), Vec::<String>::new(), "{set}");
    }
    // A share is not needed where there is a validation text.
    assert_eq!(
        problems(GOOD, &["data.val=v.txt", "data.val_fraction=0"]),
        Vec::<String>::new()
    );
    // A loaded reference brings its own shape.
    let loaded = "[data]\ntrain='a'\n[reference]\npath='m'\n[inherit]\nlayers=12\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    assert_eq!(problems(loaded, &[]), Vec::<String>::new());
}

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
fn overrides_beat_the_file_and_the_last_one_wins() {
    let sets = [
        "train.lr=3e-4",
        "train.steps=7",
        "train.steps = 8",
        "grow.mode=keep",
        "inherit.layers=[1,2]",
    ];
    let config = loaded(&text(GOOD), &sets).unwrap().config;
    assert_eq!((config.train.lr, config.train.steps), (3e-4, 8));
    assert_eq!(config.grow.mode, crate::run::command::GrowMode::Keep);
    assert_eq!(config.inherit.layers.of(8), [1, 2]);
    // An override mends a wrong value of the file.
    assert_eq!(
        problems(&GOOD.replace("lr = 1e-3", "lr = 'x'"), &["train.lr=1"]),
        Vec::<String>::new()
    );
}

fn one(path: &str) -> TrainTexts {
    TrainTexts::One(path.into())
}

#[test]
fn several_texts_and_mixtures_are_read_with_their_paths() {
    let mixed = "train = [{ path = \"$HEIRLOOM_DATA/a.bin\", weight = 2.5 }, { path = \"b_*.bin\", weight = 67 }]";
    let with = |line: &str| text(&GOOD.replace("train = 'builtin:tinyshakespeare'", line));
    let Loaded { mut config, .. } = loaded(&with(mixed), &[]).unwrap();
    resolve_paths(&mut config, Path::new("/base"));
    let sources = config.data.train.sources();
    let got: Vec<(&str, f64)> = sources
        .iter()
        .map(|s| (s.inputs[0].as_str(), s.weight))
        .collect();
    assert_eq!(got, [("/data/a.bin", 2.5), ("/base/b_*.bin", 67.0)]);
    let again = loaded(&text(&to_toml(&config)), &[]).unwrap().config;
    assert_eq!(again, config);

    let sets = [
        "data.train=[\"a.txt\", \"/b.txt\"]",
        "data.tokenizer=t/tokenizer.json",
    ];
    let config = loaded(&text(GOOD), &sets).unwrap().config;
    assert_eq!(
        config.data.train.sources()[0].inputs,
        ["/work/a.txt", "/b.txt"]
    );
    assert_eq!(config.tokenizer(), "/work/t/tokenizer.json");
    for (line, message) in [
        ("train = []", "data.train is an empty list"),
        (
            "train = [{ path = \"a\", weight = 0 }]",
            "the one at 0 needs a weight above 0",
        ),
        (
            "train = [{ path = \"a\", weight = 1 }, { weight = 1 }]",
            "the one at 1 has no path",
        ),
        (
            "train = [{ path = \"a\", wieght = 1 }]",
            "the one at 0 has the unknown key wieght",
        ),
        (
            "train = [\"a\", 5]",
            "data.train must be a text in quotes, a list of texts or a list of {",
        ),
    ] {
        let error = loaded(&with(line), &[]).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_tokenizer_is_the_references_where_one_is_loaded() {
    assert_eq!(loaded(&text(GOOD), &[]).unwrap().config.tokenizer(), "byte");
    let loads =
        "[data]\ntrain='a'\n[reference]\npath='m'\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    assert_eq!(
        loaded(&text(loads), &[]).unwrap().config.tokenizer(),
        "reference"
    );
    let error = loaded(&text(GOOD), &["data.tokenizer=reference"]).unwrap_err();
    assert!(
        error.to_string().contains("needs reference.path"),
        "{error}"
    );
}

#[test]
fn an_override_chooses_between_a_trained_and_a_loaded_reference() {
    let config = loaded(&text(GOOD), &["reference.path=/m"]).unwrap().config;
    assert_eq!(config.reference.path.as_deref(), Some("/m"));
    assert!(config.reference.train.is_none());
    let loads =
        "[data]\ntrain='a'\n[reference]\npath='/m'\n[train]\nsteps=1\nbatch_tokens=1024\nlr=1\n";
    let config = loaded(&text(loads), &["reference.train.steps=5"])
        .unwrap()
        .config;
    assert_eq!(config.reference.path, None);
    assert_eq!(config.reference.train.unwrap().steps, 5);
    // Two words in one place are a contradiction.
    let both = "reference.path and [reference.train] exclude each other; keep one";
    let sets = ["reference.path=/m", "reference.train.steps=5"];
    let file = GOOD.replace(
        "[reference.train]",
        "[reference]\npath='/m'\n[reference.train]",
    );
    for problems in [problems(GOOD, &sets), problems(&file, &[])] {
        assert!(problems.iter().any(|p| p.contains(both)), "{problems:?}");
    }
}

#[test]
fn a_model_of_the_hub_keeps_its_name() {
    let loads = "[data]\ntrain='a'\n[reference]\npath='hf:owner/name@v1'\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    let mut config = loaded(&text(loads), &[]).unwrap().config;
    resolve_paths(&mut config, Path::new("/base"));
    assert_eq!(config.reference.path.as_deref(), Some("hf:owner/name@v1"));
    // Typed at a shell it is no path from there, either.
    let sets = ["reference.path=hf:other/one"];
    let config = loaded(&text(loads), &sets).unwrap().config;
    assert_eq!(config.reference.path.as_deref(), Some("hf:other/one"));
}

#[test]
fn paths_expand_and_become_absolute() {
    let file = GOOD.replace("builtin:tinyshakespeare", "texts/a.txt");
    let sets = ["data.val=$HEIRLOOM_DATA/v.txt"];
    let Loaded { mut config, .. } = loaded(&text(&file), &sets).unwrap();
    resolve_paths(&mut config, Path::new("/base"));
    assert_eq!(config.data.train, one("/base/texts/a.txt"));
    assert_eq!(config.data.val, Some(Texts::One("/data/v.txt".into())));
    // What is typed at a shell starts from where it is typed.
    let config = loaded(&text(GOOD), &["data.train=5"]).unwrap().config;
    assert_eq!(config.data.train, one("/work/5"));
    let mut config = loaded(&text(GOOD), &[]).unwrap().config;
    resolve_paths(&mut config, Path::new("/base"));
    assert_eq!(config.data.train, one("builtin:tinyshakespeare"));
}

#[test]
fn variables_expand_in_both_spellings() {
    let said = |text: &str| expand(text, &env).map(|e| e.path);
    assert_eq!(said("$HEIRLOOM_DATA/x").unwrap(), "/data/x");
    assert_eq!(said("${HEIRLOOM_DATA}s/x").unwrap(), "/datas/x");
    assert_eq!(said("a$$HEIRLOOM_DATA").unwrap(), "a$HEIRLOOM_DATA");
    assert_eq!(said("100$ $5 $").unwrap(), "100$ $5 $");
    assert_eq!(said("$NOPE"), Err(Unexpanded::Unset("NOPE".into())));
    let secret = Err(Unexpanded::Secret("HF_TOKEN".into()));
    assert_eq!(said("/x/${HF_TOKEN}"), secret);
    assert_eq!(said("~/x").unwrap(), "/home/me/x");
    assert_eq!(said("x~/x").unwrap(), "x~/x");
}

#[test]
fn a_written_config_reads_back_the_same() {
    let presets = presets().iter().map(|p| Source::named(p.name).unwrap());
    let odd = text(&GOOD.replace("builtin:tinyshakespeare", "/odd $$HOME/\u{e4} \\ text"));
    for source in presets.chain([odd, text(GOOD)]) {
        let Loaded {
            mut config, base, ..
        } = loaded(&source, &["train.min_lr=1e-5"]).unwrap();
        resolve_paths(&mut config, &base);
        let written = to_toml(&config);
        assert!(written.starts_with("# The resolved config of a run, written by heirloom 0."));
        let again = loaded(&text(&written), &[]).unwrap().config;
        assert_eq!(again, config);
        assert_eq!(check(&again), Ok(()));
    }
}

#[test]
fn presets_load_by_name_and_files_by_path() {
    let tiny = loaded(&Source::named("tiny").unwrap(), &[]).unwrap();
    assert_eq!(
        (tiny.name.as_str(), tiny.config.grow.max_layers),
        ("tiny", 6)
    );
    let books = loaded(&Source::named("books").unwrap(), &[])
        .unwrap()
        .config;
    assert_eq!(books.data.train, one("/data/books/train.txt"));
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("mine.toml");
    std::fs::write(&path, GOOD.replace("50", "0")).unwrap();
    let source = Source::named(&path.display().to_string()).unwrap();
    let said = loaded(&source, &[]).unwrap_err().to_string();
    assert_eq!(
        said,
        format!("{}:5: train.steps must be at least 1, is 0", path.display())
    );
    std::fs::write(&path, GOOD).unwrap();
    let mine = loaded(&source, &[]).unwrap();
    assert_eq!(
        (mine.name.as_str(), mine.base.as_path()),
        ("mine", tmp.path())
    );
    let said = Source::named("tinny").unwrap_err().to_string();
    assert_eq!(
        said,
        "tinny is neither a config file nor a preset; did you mean the preset tiny?"
    );
    let said = Source::named("none.toml").unwrap_err().to_string();
    assert!(said.ends_with("presets are tiny, books"), "{said}");
    let gone = Source::Path("/nowhere/x.toml".into());
    assert!(
        loaded(&gone, &[])
            .unwrap_err()
            .to_string()
            .starts_with("cannot read /nowhere/x.toml: ")
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

#[test]
fn numbers_at_the_end_of_what_can_be_written_are_told_as_wrong() {
    let most = i64::MAX;
    for (set, message) in [
        (
            format!("inherit.layers={most}"),
            format!("inherit.layers must be fewer than the reference's 8, is {most}"),
        ),
        (
            format!("checkpoint.keep={most}"),
            format!("checkpoint.keep must be at most 1000000, is {most}"),
        ),
    ] {
        let said = problems(GOOD, &[&set, "grow.max_layers=3"]);
        assert!(said.iter().any(|p| p.ends_with(&message)), "{said:?}");
    }
}

#[test]
fn a_file_that_is_no_config_is_not_read_to_its_end() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("huge.toml");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = loaded(&Source::Path(path), &[]).unwrap_err().to_string();
    assert!(
        error.ends_with("huge.toml: it is larger than 1024 KiB"),
        "{error}"
    );
}

#[test]
fn variables_are_written_under_their_names() {
    let file = "[data]\ntrain = ['$HEIRLOOM_DATA/a.txt', 'x/$REL/b.txt', '$REL/c.txt']\nval = '/v$$.txt'\n\
        tokenizer = '${HEIRLOOM_DATA}/t.json'\n[reference]\npath = '$HEIRLOOM_DATA/model'\n\
        [train]\nsteps = 1\nbatch_tokens = 1000\nlr = 1\n";
    let env = |name: &str| match name {
        "REL" => Some("some/where".into()),
        other => env(other),
    };
    let load = |text: &str, env: &dyn Fn(&str) -> Option<String>| {
        let source = super::tests::text(text);
        load_with(&source, &[], Path::new("/work"), env)
            .unwrap()
            .config
    };
    let mut config = load(file, &env);
    resolve_paths(&mut config, Path::new("/ba$e"));
    let paths = |config: &mut Config| super::paths(config).map(|p| p.clone()).collect::<Vec<_>>();
    let wanted = [
        "/data/a.txt",
        "/ba$e/x/some/where/b.txt",
        "/ba$e/some/where/c.txt",
        "/v$.txt",
        "/data/t.json",
        "/data/model",
    ];
    assert_eq!(paths(&mut config), wanted);
    let written = to_toml(&config);
    assert!(
        !written.contains("/data") && !written.contains("some/where"),
        "{written}"
    );
    // Checkpoints compare what is written, too.
    let values = resume::values(&config);
    assert_eq!(values["reference.path"], "\"$HEIRLOOM_DATA/model\"");
    assert!(!values["data.train"].contains("some/where"), "{values:?}");
    let phase = resume::values(&resume::in_force(&config, &values));
    assert_eq!(phase, values);

    // Read from anywhere, and with another value.
    let mut again = load(&written, &env);
    resolve_paths(&mut again, Path::new("/elsewhere"));
    assert_eq!(paths(&mut again), wanted);
    assert_eq!(to_toml(&again), written);
    let moved = |name: &str| match name {
        "HEIRLOOM_DATA" => Some("/moved".into()),
        other => env(other),
    };
    let mut again = load(&written, &moved);
    assert_eq!(paths(&mut again)[5], "/moved/model");
    assert_eq!(resume::values(&again), values);
}

#[test]
fn variables_are_for_paths_and_hold_no_secrets() {
    let secret = |name: &str| Some(format!("value-of-{name}"));
    for (set, wanted) in [
        (
            "data.train=$HF_TOKEN/a",
            "names the environment variable HF_TOKEN, which looks like a secret",
        ),
        (
            "data.val=/x/${MY_SECRET}",
            "names the environment variable MY_SECRET",
        ),
        (
            "data.tokenizer=/x/$DB_PASSWORD",
            "names the environment variable DB_PASSWORD",
        ),
        ("reference.path=hf:$USER/model", "hf:$USER/model"),
        ("policy.mode=$USER", "$USER"),
    ] {
        let sets = [set.to_string()];
        let told = load_with(&text(GOOD), &sets, Path::new("/work"), &secret);
        let told = told
            .map(|l| format!("{:?}", l.config))
            .unwrap_or_else(|e| e.to_string());
        assert!(
            told.contains(wanted) && !told.contains("value-of"),
            "{told}"
        );
    }
}
