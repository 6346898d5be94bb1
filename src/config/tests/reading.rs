//! Tests of reading files, presets and overrides.

use super::*;

#[test]
fn a_small_config_takes_the_defaults() {
    let config = loaded(&text(GOOD), &[]).unwrap().config;
    assert_eq!(config.train.steps, 50);
    assert_eq!(config.train.betas, [0.9, 0.95]);
    assert_eq!(config.model.n_layer, 8);
    assert_eq!(config.reference.train.unwrap().lr, None);
}

#[test]
fn a_run_whose_config_lacks_a_precision_was_trained_in_f32() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let dtype = |text: &str, sets: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let of = |source| loaded(&source, sets).unwrap().config.train.dtype;
        (
            of(Source::Path(path.clone())),
            of(Source::Run(path.clone())),
        )
    };
    use crate::ops::PrecisionChoice::{Auto, Bf16, F32};
    assert_eq!(dtype(GOOD, &[]), (Auto, F32));
    assert_eq!(dtype(GOOD, &["train.dtype=auto"]), (Auto, Auto));
    let given = format!("{GOOD}dtype = 'bf16'\n");
    assert_eq!(dtype(&given, &[]), (Bf16, Bf16));
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
    // An override fixes a wrong value of the file.
    assert_eq!(
        problems(&GOOD.replace("lr = 1e-3", "lr = 'x'"), &["train.lr=1"]),
        Vec::<String>::new()
    );
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
    assert_eq!(config.tokenizer().name(), "/work/t/tokenizer.json");
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
    assert_eq!(
        *loaded(&text(GOOD), &[]).unwrap().config.tokenizer(),
        TokenizerChoice::Byte
    );
    let loads =
        "[data]\ntrain='a'\n[reference]\npath='m'\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    assert_eq!(
        *loaded(&text(loads), &[]).unwrap().config.tokenizer(),
        TokenizerChoice::Reference
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
    // Contradictory values of equal rank are an error.
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
    let near = tmp.path().join("mine.tml");
    let said = Source::named(near.to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("mine.tml; did you mean ") && said.ends_with("mine.toml?"),
        "{said}"
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
fn a_range_of_layers_is_written_as_it_was_read() {
    for (given, layers) in [("2 .. 5", vec![2, 3, 4]), ("0..2", vec![0, 1])] {
        let set = format!("inherit.layers={given}");
        let config = loaded(&text(GOOD), &[&set]).unwrap().config;
        assert_eq!(config.inherit.layers.of(8), layers);
        assert!(to_toml(&config).contains(&format!("layers = \"{given}\"")));
    }
}
