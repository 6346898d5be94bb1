//! Every preset for a published experiment describes the published model, and can be planned. The tests use small stand-in data,
//! because the real data has billions of tokens.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, texts};
use serde_json::Value;

/// Preset, layers, width, layers of the first round, and the least and most parameters that round to the published number.
const GPT2: [(&str, u64, u64, u64, [f64; 2]); 8] = [
    ("gpt2-medium-openwebtext", 24, 1024, 12, [354e6, 356e6]),
    ("gpt2-medium-openwebtext-code", 24, 1024, 12, [354e6, 356e6]),
    ("gpt2-medium-fineweb-edu", 24, 1024, 12, [354e6, 356e6]),
    ("gpt2-large-openwebtext", 36, 1280, 18, [770e6, 775e6]),
    ("gpt2-large-openwebtext-code", 36, 1280, 18, [770e6, 775e6]),
    (
        "gpt2-large-dagger-fineweb-edu",
        32,
        1280,
        16,
        [668e6, 696e6],
    ),
    ("gpt2-xl-openwebtext", 48, 1600, 24, [1.5e9, 1.56e9]),
    ("gpt2-xl-openwebtext-code", 48, 1600, 24, [1.5e9, 1.56e9]),
];

fn preset(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/published");
    dir.join(format!("{name}.toml")).display().to_string()
}

/// Writes token files with the names and formats that the presets read, with a few thousand ids below `vocab`.
fn stand_in_data(place: &Place, vocab: u16) -> PathBuf {
    let data = place.path().join("data");
    let ids = |n: u32| -> Vec<u8> {
        let id = |i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as u16 % vocab;
        (0..n).flat_map(|i| id(i).to_le_bytes()).collect()
    };
    let put = |name: &str, bytes: &[u8]| {
        let path = data.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("openwebtext/train.bin", &ids(20_000));
    put("openwebtext/val.bin", &ids(5_000));
    // NumPy's format, version 1.0: the header is padded to a multiple of 64 bytes.
    let npy = |n: u32| {
        let dict = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({n},), }}");
        let length = (10 + dict.len() + 1).next_multiple_of(64) - 10;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(format!("{dict:<width$}\n", width = length - 1).bytes());
        bytes.extend(ids(n));
        bytes
    };
    put("edu_fineweb100B/edufineweb_train_000001.npy", &npy(10_000));
    put("edu_fineweb100B/edufineweb_train_000002.npy", &npy(10_000));
    put("edu_fineweb100B/edufineweb_val_000000.npy", &npy(5_000));
    // lit-gpt's packed format: version 1, type 8 (u16), one chunk.
    for source in [
        "arxiv",
        "book",
        "c4",
        "cc",
        "github",
        "stackexchange",
        "wikipedia",
    ] {
        let n = 20_000u32;
        let mut bytes = b"LITPKDS".to_vec();
        bytes.extend(1u64.to_le_bytes());
        bytes.push(8);
        bytes.extend(u64::from(n).to_le_bytes());
        bytes.extend(ids(n));
        put(
            &format!("lit-redpajama-sample/{source}_sample_0.bin"),
            &bytes,
        );
    }
    data
}

#[track_caller]
fn planned(place: &Place, data: &Path, args: &[&str]) -> String {
    let mut command = place.heirloom(&[&["train"], args, &["--dry-run"]].concat());
    let output = command.env("HEIRLOOM_DATA", data).output().unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{args:?}\n{out}\n{err}");
    out
}

/// Returns the cells of the plan's row that begins with `phase`.
fn row<'p>(plan: &'p str, phase: &str) -> Vec<&'p str> {
    let line = plan.lines().find(|l| l.starts_with(phase));
    let line = line.unwrap_or_else(|| panic!("no {phase} in\n{plan}"));
    line[phase.len()..].split_whitespace().collect()
}

#[test]
fn they_describe_the_models_that_were_published() {
    let place = Place::new();
    let data = stand_in_data(&place, 50_257);
    for (name, layers, width, _, [least, most]) in GPT2 {
        let mut command = place.heirloom(&["info", &preset(name), "--json"]);
        let output = command.env("HEIRLOOM_DATA", &data).output().unwrap();
        let (out, err) = texts(&output);
        let told: Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{name}: {e}\n{err}"));
        assert_eq!(
            (&told["n_layer"], &told["n_embd"]),
            (&layers.into(), &width.into()),
            "{name}"
        );
        assert_eq!(
            (&told["vocab"], &told["context_length"]),
            (&50_304.into(), &1024.into())
        );
        assert_eq!(told["head_size"], 64);
        let parameters = told["parameters"].as_f64().unwrap();
        assert!((least..=most).contains(&parameters), "{name}: {parameters}");
    }
    let published =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/published"));
    assert_eq!(
        published.unwrap().count(),
        GPT2.len() + 1,
        "a preset is not tested"
    );
}

#[test]
fn the_medium_experiment_can_be_planned() {
    let place = Place::new();
    let data = stand_in_data(&place, 50_257);
    let plan = planned(&place, &data, &[&preset("gpt2-medium-openwebtext")]);
    assert_eq!(row(&plan, "reference")[..3], ["24", "355M", "100000"]);
    assert_eq!(row(&plan, "round 1")[..3], ["12", "204M", "100000"]);
    assert_eq!(row(&plan, "round 3 (if needed)")[0], "16");
    // 100,000 steps of 384 windows of 1024 tokens.
    assert_eq!(row(&plan, "round 1")[3], "39.3B");
}

#[test]
#[ignore = "some minutes; cargo test --release --test presets_are_sound -- --ignored"]
fn every_gpt2_experiment_can_be_planned() {
    let place = Place::new();
    let data = stand_in_data(&place, 50_257);
    for (name, layers, _, first, _) in GPT2 {
        let plan = planned(&place, &data, &[&preset(name)]);
        assert_eq!(row(&plan, "reference")[0], layers.to_string(), "{name}");
        assert_eq!(row(&plan, "round 1")[0], first.to_string(), "{name}");
        println!("{name}\n{plan}");
    }
}

#[test]
fn the_openllama_experiment_can_be_planned_with_a_stand_in_of_as_many_layers() {
    let place = Place::new();
    let data = stand_in_data(&place, 90);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/llama-gqa.gguf");
    let slice = format!(
        "- sources: [{{model: {}, layer_range: [0, 2]}}]\n",
        model.display()
    );
    let recipe = format!("slices:\n{}", slice.repeat(13));
    std::fs::write(place.path().join("tall.yaml"), recipe).unwrap();
    place.expect(0, &["inherit", "--slices", "tall.yaml", "--out", "tall"]);
    let plan = planned(
        &place,
        &data,
        &[
            &preset("openllama-3b-redpajama"),
            "--set",
            "reference.path=tall",
            "--set",
            "train.context_length=32",
            "--set",
            "probe.length=32",
        ],
    );
    assert_eq!(row(&plan, "reference")[0], "26");
    assert_eq!(row(&plan, "round 1")[..1], ["13"]);
    assert_eq!(row(&plan, "control random")[0], "13");
    assert!(!plan.contains("round 2"), "{plan}");
}
