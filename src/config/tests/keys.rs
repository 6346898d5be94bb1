//! Tests the table of keys, which consists of the sections' declarations.

use std::collections::BTreeMap;

use super::super::keys::Kind::{
    Baselines, Count, Flag, Inputs, Layers, OneOf, Pair, Parts, Quoted, Real, SomeOf, Sources,
    Text, Texts, Tokenizer,
};
use super::super::keys::{KEYS, Need, is_section, nearest, nearest_section};
use super::*;

fn leaves(value: &toml::Value, path: &str, found: &mut BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                leaves(value, &path, found);
            }
        }
        value => drop(found.insert(path.into(), value.clone())),
    }
}

fn written(config: &Config) -> BTreeMap<String, toml::Value> {
    let mut found = BTreeMap::new();
    leaves(&toml::Value::try_from(config).unwrap(), "", &mut found);
    found
}

fn minimal() -> Config {
    toml::from_str(
        "data.train = 'a.txt'\nreference.train.steps = 1\n[train]\nsteps = 1\nbatch_tokens = 128\nlr = 0.5\n",
    )
    .unwrap()
}

/// Returns a config with every optional value.
fn full() -> Config {
    let mut config = minimal();
    config.data.val = Some(crate::config::Texts::One("b.txt".into()));
    config.data.tokenizer = Some(TokenizerChoice::Gpt2);
    config.data.text_field = Some("content".into());
    config.reference.path = Some("dir".into());
    config.reference.train = Some(ReferenceTrainConfig {
        steps: 1,
        lr: Some(0.5),
        min_lr: Some(0.5),
        warmup: Some(1),
        schedule: Some(Schedule::Wsd),
    });
    config.train.min_lr = Some(0.5);
    config.train.muon_lr = Some(0.5);
    config.model.tie_word_embeddings = Some(true);
    config.policy.mode = Some(PolicyMode::Ask);
    config.eval.tasks = Some(vec!["piqa".into()]);
    config.eval.tasks_every = Some(100);
    config.eval.limit = Some(10);
    config.eval.data = Some("tasks".into());
    config.eval.samples = Some(vec!["Once".into()]);
    config.policy.only_baseline = Some("half".into());
    let half = "name = 'half'\nstart = 'half-width'".parse::<toml::Table>();
    let half = toml::Value::Table(half.unwrap());
    config.baseline = vec![half.try_into().unwrap()];
    config
}

#[test]
fn the_table_has_exactly_the_keys_that_a_config_writes() {
    let structs = written(&full());
    let mut table: Vec<&str> = KEYS.iter().map(|k| k.path).collect();
    table.sort_unstable();
    assert_eq!(
        table,
        structs.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for key in KEYS {
        let value = &structs[key.path];
        let fits = match key.kind {
            Count => value.is_integer(),
            Real => value.is_float(),
            Flag => value.is_bool(),
            Text | Inputs | Sources | Tokenizer | OneOf(_) | Quoted(_) => value.is_str(),
            Texts | Parts | SomeOf(_) | Pair | Baselines => value.is_array(),
            Layers => value.as_str() == Some("half"),
        };
        assert!(fits, "{}: {value:?}", key.path);
        let is_whole = key.kind == Baselines;
        assert!(is_whole || is_section(key.parts().0), "{}", key.path);
    }
}

#[test]
fn examples_are_toml() {
    for key in KEYS {
        if let Need::Required(example) = key.need {
            toml::from_str::<toml::Table>(&format!("x = {example}")).unwrap();
        }
    }
}

#[test]
fn names_of_choices_are_those_that_serde_reads() {
    for key in KEYS {
        let (names, is_list) = match key.kind {
            OneOf(names) | Quoted(names) => (names, false),
            SomeOf(names) => (names, true),
            _ => continue,
        };
        for name in names {
            let name = toml::Value::String((*name).into());
            let value = match is_list {
                true => toml::Value::Array(vec![name]),
                false => name,
            };
            let mut table = toml::Table::try_from(full()).unwrap();
            let (section, own) = key.parts();
            let mut at = &mut table;
            for part in section.split('.') {
                at = at[part].as_table_mut().unwrap();
            }
            at.insert(own.into(), value.clone());
            let read: Result<Config, _> = table.try_into();
            assert!(read.is_ok(), "{} = {value}", key.path);
        }
    }
}

#[test]
fn a_misspelled_key_finds_its_neighbour() {
    assert_eq!(nearest("train.stpes"), Some("train.steps"));
    assert_eq!(nearest("grow.setp"), Some("grow.step"));
    assert_eq!(nearest("steps"), Some("reference.train.steps"));
    assert_eq!(nearest("train.contxt_length"), Some("train.context_length"));
    assert_eq!(nearest("colour.of.the.sky"), None);
    assert_eq!(nearest_section("trian"), Some("train"));
}

#[test]
fn the_page_names_every_key() {
    let page = keys_markdown();
    for key in KEYS {
        assert!(
            page.contains(&format!("| `{}` |", key.parts().1)),
            "{}",
            key.path
        );
        assert!(page.contains(key.doc));
    }
    assert!(page.contains("## `[reference.train]`"));
}
