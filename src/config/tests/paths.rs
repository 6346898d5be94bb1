//! Tests paths and the variables in them.

use super::super::variables::{Unexpanded, expand};
use super::*;

#[test]
fn a_model_of_the_hub_keeps_its_name() {
    let loads = "[data]\ntrain='a'\n[reference]\npath='hf:owner/name@v1'\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    let mut config = loaded(&text(loads), &[]).unwrap().config;
    resolve_paths(&mut config, Path::new("/base"));
    assert_eq!(config.reference.path.as_deref(), Some("hf:owner/name@v1"));
    // A value from the command line is not a path relative to that directory either.
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
    // Paths on the command line are relative to the working directory.
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
fn variables_are_written_under_their_names() {
    let file = "[data]\ntrain = ['$HEIRLOOM_DATA/a.txt', 'x/$REL/b.txt', '$REL/c.txt']\nval = '/v$$.txt'\n\
        tokenizer = '${HEIRLOOM_DATA}/t.json'\n[reference]\npath = '$HEIRLOOM_DATA/model'\n\
        [train]\nsteps = 1\nbatch_tokens = 1000\nlr = 1\n";
    let env = |name: &str| match name {
        "REL" => Some("some/where".into()),
        other => env(other),
    };
    let load = |text: &str, env: &dyn Fn(&str) -> Option<String>| {
        let source = super::text(text);
        load_with(&source, &[], Path::new("/work"), env)
            .unwrap()
            .config
    };
    let mut config = load(file, &env);
    resolve_paths(&mut config, Path::new("/ba$e"));
    let paths = |config: &mut Config| {
        crate::config::paths(config)
            .map(|p| p.clone())
            .collect::<Vec<_>>()
    };
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
    // Checkpoints also compare the written text.
    let values = resume::values(&config);
    assert_eq!(values["reference.path"], "\"$HEIRLOOM_DATA/model\"");
    assert!(!values["data.train"].contains("some/where"), "{values:?}");
    let phase = resume::values(&resume::in_force(&config, &values));
    assert_eq!(phase, values);

    // Read from another directory, and with another value of the variable.
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
