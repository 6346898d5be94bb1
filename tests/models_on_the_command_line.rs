//! Commands on models of both families, by path and by run: describing, measuring, generating, extracting layers, training.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{MINI, Place, copy, texts};
use serde_json::Value;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    path.display().to_string()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Runs the program, and expects exit code 2 and all of `words` on stderr.
#[track_caller]
fn refused(place: &Place, args: &[&str], words: &[&str]) {
    let output = place.run(args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}\n{out}\n{err}");
    for word in words {
        assert!(err.contains(word), "{err:?} does not say {word:?}");
    }
}

/// Writes the fixture's two windows as a headerless file of u16 tokens. Returns its path, and transformers' mean loss of them.
fn windows(place: &Place, model: &str) -> (String, f64) {
    let text = std::fs::read_to_string(fixture(&format!("models/{model}/expected.json"))).unwrap();
    let expected = json(&text);
    let tokens: Vec<Vec<u16>> = serde_json::from_value(expected["tokens"].clone()).unwrap();
    let bytes: Vec<u8> = tokens
        .concat()
        .iter()
        .flat_map(|t| t.to_le_bytes())
        .collect();
    let path = place.path().join(format!("{model}.bin"));
    std::fs::write(&path, bytes).unwrap();
    (
        path.display().to_string(),
        expected["mean_loss"].as_f64().unwrap(),
    )
}

#[test]
fn a_models_parts_add_up() {
    let place = Place::new();
    for (model, family, vocab) in [
        ("models/gpt2", "gpt2", 96),
        ("models/llama-gqa", "llama", 96),
        ("gguf/qwen2.gguf", "llama", 96),
    ] {
        let told = json(&place.expect(0, &["info", &fixture(model), "--json"]));
        assert_eq!(told["family"], family);
        assert_eq!(told["vocab"], vocab);
        let parts = told["parameters_by_part"].as_object().unwrap();
        let sum: u64 = parts.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(told["parameters"], sum);
        assert_eq!(told["bytes"], 4 * sum, "all of these are stored as F32");
        let memory = |what: &str| told["memory_bytes"][what].as_u64().unwrap();
        assert!(memory("load") > 4 * sum && memory("train") > 4 * memory("load") / 2);
    }
    let text = place.expect(0, &["info", &fixture("models/gpt2-inverse-scale")]);
    assert!(
        text.contains("scales      of attention by layer: 1.000 0.500 0.333"),
        "{text}"
    );
    // The window of a layer with sliding attention limits the context, which is reported.
    let slides = place.path().join("slides");
    let config = serde_json::json!({
        "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 64,
        "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1,
    });
    make_model(&slides, &config, 0, "F32");
    let text = place.expect(0, &["info", "slides"]);
    let line = "the last 8 tokens only (sliding_window): that is the context, of 64 positions";
    assert!(text.contains("context 8,") && text.contains(line), "{text}");
    let long = ["loss", "slides", "--text", "x", "--window-length", "32"];
    refused(
        &place,
        &long,
        &["must be at most 8, is 32", "(sliding_window)"],
    );
    // The reference of a config, before it is trained.
    let text = place.expect(0, &["info", "mini.toml"]);
    assert!(text.contains("4 layers, 2 heads of 16, width 32"), "{text}");
    refused(
        &place,
        &["info", "nowhere"],
        &["nowhere is not a model", ".gguf file, hf:OWNER/NAME"],
    );
    refused(&place, &["info", "nowhere@best"], &["no run nowhere"]);
    refused(
        &place,
        &["info", &fixture("models")],
        &["neither model.safetensors nor"],
    );
    let pickle = place.path().join("pytorch_model.bin");
    std::fs::write(&pickle, b"\x80\x02}q\x00.").unwrap();
    refused(
        &place,
        &["info", pickle.to_str().unwrap()],
        &["Python pickle", "safe_serialization=True"],
    );
}

#[test]
fn the_loss_on_a_text_is_that_of_transformers() {
    let place = Place::new();
    for name in ["llama-gqa", "gpt2", "qwen2"] {
        let (tokens, want) = windows(&place, name);
        let model = fixture(&format!("gguf/{name}.gguf"));
        let args = [
            "loss",
            &model,
            "--tokens",
            &tokens,
            "--windows",
            "2",
            "--window-length",
            "48",
            "--json",
        ];
        let told = json(&place.expect(0, &args));
        let loss = told["loss"].as_f64().unwrap();
        assert!(
            (loss - want).abs() < 1e-5,
            "{name}: {loss}, expected {want}"
        );
        assert_eq!(told["starts"], serde_json::json!([0, 49]));
        assert_eq!(told["n_tokens"], 98);
        let perplexity = told["perplexity"].as_f64().unwrap();
        assert!((perplexity - loss.exp()).abs() < 1e-9 * perplexity);
    }
    let (tokens, _) = windows(&place, "gpt2");
    let model = fixture("gguf/gpt2.gguf");
    let measure = |more: &[&str], words: &[&str]| {
        let args = [&["loss", &model, "--tokens", &tokens][..], more].concat();
        refused(&place, &args, words);
    };
    measure(
        &["--window-length", "49"],
        &["between 1 and the model's context of 48, is 49"],
    );
    measure(&["--windows", "0"], &["--windows must be between 1"]);
    measure(&["--tokenizer", "gpt2"], &["50257", "96"]);
    refused(
        &place,
        &["loss", &fixture("models/gpt2"), "--text", "mini.toml"],
        &["the model has no tokenizer; name one"],
    );
    let short = place.path().join("short.bin");
    std::fs::write(&short, [1, 0, 2, 0]).unwrap();
    refused(
        &place,
        &["loss", &model, "--tokens", short.to_str().unwrap()],
        &["has 2 tokens; a window of 48 and its target need 49"],
    );
}

#[test]
fn a_text_goes_on_the_same_way_for_the_same_seed() {
    let place = Place::new();
    let model = fixture("gguf/llama-gqa.gguf");
    let told = std::fs::read_to_string(fixture("gguf/tokenizers.json")).unwrap();
    let prompt = json(&told)["llama-gqa.gguf"]["text"]
        .as_str()
        .unwrap()
        .to_string();
    let prompt: String = prompt.chars().take(8).collect();
    let go_on = |more: &[&str]| {
        let base = ["generate", &model, "--prompt", &prompt, "-n", "12"];
        place.expect(0, &[&base, more].concat())
    };
    let greedy = go_on(&["--temperature", "0"]);
    assert_eq!(greedy, go_on(&["--temperature", "0", "--seed", "9"]));
    assert_eq!(greedy, go_on(&["--top-k", "1"]));
    let drawn = go_on(&["--temperature", "2", "--seed", "1"]);
    assert_eq!(drawn, go_on(&["--temperature", "2", "--seed", "1"]));
    assert_ne!(drawn, go_on(&["--temperature", "2", "--seed", "2"]));
    // The prompt may come from a pipe.
    let mut command = place.heirloom(&[
        "generate",
        &model,
        "--prompt",
        "-",
        "-n",
        "12",
        "--temperature",
        "0",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(prompt.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), greedy);
    let long = prompt.repeat(40);
    refused(
        &place,
        &["generate", &model, "--prompt", &long],
        &["leave room in the model's context of 48"],
    );
    refused(
        &place,
        &["generate", &model, "--prompt", "a", "--top-p", "0"],
        &["--top-p must be above 0"],
    );
}

#[test]
fn layers_are_taken_as_asked() {
    let place = Place::new();
    let model = fixture("models/gpt2-inverse-scale");
    let take = |out: &str, more: &[&str]| {
        let base = ["inherit", "--from", &model, "--out", out];
        place.expect(0, &[&base, more].concat())
    };
    let info = |out: &str| json(&place.expect(0, &["info", out, "--json"]));
    let table = take("two", &["--layers", "2,0"]);
    assert!(table.contains("0           layer 2"), "{table}");
    let told = info("two");
    assert_eq!(told["n_layer"], 2);
    // Each layer keeps its own scale.
    let scales: Vec<f32> = serde_json::from_value(told["attention_scales"].clone()).unwrap();
    assert_eq!(scales, [1.0 / 3.0, 1.0]);
    take("range", &["--layers", "1..3"]);
    assert_eq!(info("range")["n_layer"], 2);
    take("half", &[]);
    assert_eq!(info("half")["n_layer"], 1);
    // Each norm of a layer is a part, and both together are also a part.
    let dry = |what: &str| {
        let table = take("x", &["--dry-run", "--layers", "1", "--what", what]);
        let layer = table.lines().find(|l| l.contains("layer 0")).unwrap();
        let random = layer.split("layer 0").nth(1).unwrap();
        let words = random.split_whitespace();
        words.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(dry("attention,attention_norm")[..2], ["mlp_norm", "mlp"]);
    assert_eq!(dry("mlp,mlp_norm")[..2], ["attention_norm", "attention"]);
    assert_eq!(dry("attention,mlp")[0], "norms");
    let both = dry("attention_norm,mlp_norm");
    assert_eq!(both, dry("norms"));
    assert_eq!(both[..2], ["attention", "mlp"]);
    // All layers together are the model itself, also through a slices file.
    let (tokens, want) = windows(&place, "gpt2-inverse-scale");
    let recipe = "slices:\n- sources: [{model: MODEL, layer_range: [0, 1]}]\n- sources: [{model: MODEL, layer_range: [1, 3]}]\nmerge_method: passthrough\n";
    std::fs::write(
        place.path().join("slices.yaml"),
        recipe.replace("MODEL", &model),
    )
    .unwrap();
    place.expect(
        0,
        &["inherit", "--slices", "slices.yaml", "--out", "sliced"],
    );
    take("all", &["--layers", "3"]);
    for out in ["sliced", "all"] {
        let args = [
            "loss",
            out,
            "--tokens",
            &tokens,
            "--windows",
            "2",
            "--window-length",
            "48",
            "--json",
        ];
        let told = json(&place.expect(0, &args));
        assert!(
            (told["loss"].as_f64().unwrap() - want).abs() < 1e-5,
            "{out}"
        );
    }
    // Nothing is written by a dry run, over existing files, or after an error.
    take("dry", &["--dry-run"]);
    assert!(!place.path().join("dry").exists());
    let base = ["inherit", "--from", &model, "--out"];
    let taken = |more: &[&str], words: &[&str]| refused(&place, &[&base, more].concat(), words);
    taken(&["two"], &["exists"]);
    taken(&["x", "--layers", "5"], &["layer 3 of a model of 3"]);
    taken(&["x", "--layers", "1..9"], &["layer 3 of a model of 3"]);
    taken(
        &["x", "--layers", "some"],
        &["--layers \"some\" must be a number"],
    );
    taken(
        &["x", "--what", "attention,brain"],
        &["unknown part \"brain\""],
    );
    taken(&["x", "--layers", "auto"], &["--ranks FILE"]);
    assert!(!place.path().join("x").exists());
    let ranks = place.path().join("ranks.json");
    std::fs::write(&ranks, r#"{"max_rank": [9.0, 1.0, 1.0]}"#).unwrap();
    take("auto", &["--layers", "auto", "--ranks", "ranks.json"]);
    assert_eq!(info("auto")["n_layer"], 1);
    std::fs::write(&ranks, r#"{"max_rank": [9.0]}"#).unwrap();
    taken(
        &["x", "--layers", "auto", "--ranks", "ranks.json"],
        &["has the ranks of 1 layers, the reference has 3"],
    );
}

/// Makes a directory with a model of `tests/fixtures/mergekit.json`; `scripts/compare_with_mergekit.py` defines its values.
fn make_model(dir: &Path, config: &Value, number: i64, kind: &str) {
    std::fs::create_dir(dir).unwrap();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let shape = heirloom::model::family::from_json(config).unwrap();
    let mut params = shape.params();
    params.sort_by(|a, b| a.name.cmp(&b.name));
    let (modulus, divisor) = match kind {
        "F32" => (131_071, 65_536.0),
        "F16" => (509, 256.0),
        _ => (255, 128.0),
    };
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (k, p) in params.iter().enumerate() {
        let from = data.len();
        for i in 0..p.len() as i64 {
            let whole = 31_337 * i + 7919 * k as i64 + 104_729 * number;
            let value = (whole % modulus - (modulus - 1) / 2) as f32 / divisor;
            match kind {
                "F32" => data.extend(value.to_le_bytes()),
                "F16" => data.extend(half::f16::from_f32(value).to_le_bytes()),
                _ => data.extend(half::bf16::from_f32(value).to_le_bytes()),
            }
        }
        let offsets = [from, data.len()];
        let entry = serde_json::json!({"dtype": kind, "shape": p.shape, "data_offsets": offsets});
        header.insert(p.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &data].concat();
    std::fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

/// Returns zlib's CRC-32.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), step);
    !bytes.iter().fold(!0, byte)
}

/// Returns a file's types, and the checksums of its tensors in the order of their names.
fn checksums(path: &Path) -> (Vec<String>, String) {
    let bytes = std::fs::read(path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: std::collections::BTreeMap<String, Value> =
        serde_json::from_slice(&bytes[8..data]).unwrap();
    let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
    let tensors: Vec<&Value> = tensors.map(|(_, tensor)| tensor).collect();
    let types = tensors
        .iter()
        .map(|t| t["dtype"].as_str().unwrap().to_string());
    let types: std::collections::BTreeSet<String> = types.collect();
    let sums = tensors.iter().map(|t| {
        let at = |i: usize| data + t["data_offsets"][i].as_u64().unwrap() as usize;
        format!("{:08x}", crc32(&bytes[at(0)..at(1)]))
    });
    (types.into_iter().collect(), sums.collect())
}

/// Writes the embedding a second time, as `lm_head.weight`.
fn add_tied_head(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<String, Value> =
        serde_json::from_slice(&bytes[8..data]).unwrap();
    let embedding = header["model.embed_tokens.weight"].clone();
    let at = |i: usize| embedding["data_offsets"][i].as_u64().unwrap() as usize;
    let head = bytes[data + at(0)..data + at(1)].to_vec();
    let length = bytes.len() - data;
    let mut added = embedding.clone();
    added["data_offsets"] = serde_json::json!([length, length + head.len()]);
    header.insert("lm_head.weight".into(), added);
    let header = serde_json::to_vec(&header).unwrap();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend([&header[..], &bytes[data..], &head].concat());
    std::fs::write(path, out).unwrap();
}

/// Compares with mergekit's results on the same models, from `scripts/compare_with_mergekit.py --write`.
#[test]
fn recipes_make_what_mergekit_makes_of_them() {
    let place = Place::new();
    let table = json(&std::fs::read_to_string(fixture("mergekit.json")).unwrap());
    for (name, model) in table["models"].as_object().unwrap() {
        let config = &table["configs"][model[0].as_u64().unwrap() as usize];
        let (number, kind) = (model[1].as_i64().unwrap(), model[2].as_str().unwrap());
        make_model(&place.path().join(name), config, number, kind);
    }
    let recipes = table["recipes"].as_array().unwrap();
    assert!(recipes.len() > 25);
    let recipe = place.path().join("recipe.yaml");
    for case in recipes {
        let name = case["name"].as_str().unwrap();
        std::fs::write(&recipe, case["recipe"].as_str().unwrap()).unwrap();
        let args = ["inherit", "--slices", "recipe.yaml", "--out", name];
        let out = place.expect(0, &args);
        let (types, sums) = checksums(&place.path().join(name).join("model.safetensors"));
        assert_eq!(
            (types.into(), Value::from(sums)),
            (case["types"].clone(), case["tensors"].clone()),
            "{case}\n{out}"
        );
        match name {
            "two models" => {
                for row in [
                    "embeddings  a embeddings",
                    "final norm  b final norm",
                    "b head",
                ] {
                    assert!(out.contains(row), "{row:?} is not in {out}");
                }
                assert!(
                    !out.contains("scale)") && !out.contains("written as"),
                    "{out}"
                );
            }
            "dtype and scale" => {
                let lines = "30 of 30 tensors times 0.3 (scale)\nwritten as F16\n";
                assert!(out.contains(lines), "{out}");
                let config = place.path().join(name).join("config.json");
                let config = json(&std::fs::read_to_string(config).unwrap());
                assert_eq!(config["torch_dtype"], "float16");
            }
            "scales by name at every place" => {
                assert!(
                    out.contains("48 of 48 tensors times 0.2 to 7 (scale)"),
                    "{out}"
                );
            }
            "keys that mean nothing" => assert!(out.contains("chat_template is ignored"), "{out}"),
            _ => {}
        }
    }
    // A file may contain a head in addition to the embedding that it is tied to.
    let models = table["models"].as_object().unwrap();
    let is_tied = |model: &Value| {
        let config = &table["configs"][model[0].as_u64().unwrap() as usize];
        config["tie_word_embeddings"] == true && config["model_type"] == "llama"
    };
    let (tied, _) = models.iter().find(|(_, model)| is_tied(model)).unwrap();
    copy(&place.path().join(tied), &place.path().join("both"));
    add_tied_head(&place.path().join("both").join("model.safetensors"));
    std::fs::write(
        &recipe,
        format!(
            "slices: [{{sources: [{{model: {tied}, layer_range: [0, 1]}}]}}, {{sources: [{{model: both, layer_range: [1, 2]}}]}}]\nmerge_method: passthrough\n"
        ),
    )
    .unwrap();
    let output = place.run(&["inherit", "--slices", "recipe.yaml", "--out", "untied"]);
    let (_, err) = texts(&output);
    assert!(
        err.contains("both: its head is tied") && err.contains("set tie_word_embeddings"),
        "{err}"
    );
    let slices = "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]\n";
    for (text, words) in [
        (
            format!("{slices}tokenizer_source: base"),
            "tokenizer_source is not supported",
        ),
        (
            format!("{slices}parameters: {{weight: 1}}"),
            "parameter \"weight\" is not one of passthrough",
        ),
        (
            format!("{slices}dtype: float16\nparameters: {{scale: 1e6}}"),
            "which F16 cannot hold",
        ),
        (
            slices.replace("model: a", "model: a+lora"),
            "an adapter (LoRA)",
        ),
        (
            slices.replace("[0, 2]", "[0, 4]"),
            "layer 3 of a model of 3",
        ),
        (slices.replace("[0, 2]", "[1, 1]"), "slices take no layer"),
        (
            format!("{slices}base_model: gpt1"),
            "cannot be put together",
        ),
    ] {
        std::fs::write(&recipe, &text).unwrap();
        refused(
            &place,
            &["inherit", "--slices", "recipe.yaml", "--out", "x"],
            &[words],
        );
    }
}

#[test]
fn a_llama_is_trained_inherited_from_and_inherited_again() {
    let place = Place::new();
    let llama = MINI.replacen(
        "n_embd = 32",
        "n_embd = 32\nfamily = \"llama\"\nn_kv_head = 1\ntie_word_embeddings = true",
        1,
    );
    std::fs::write(place.path().join("llama.toml"), &llama).unwrap();
    let table = place.expect(0, &["train", "llama.toml", "--name", "first"]);
    assert!(table.contains("round 1"), "{table}");
    let told = json(&place.expect(0, &["info", "first@reference", "--json"]));
    assert_eq!(told["family"], "llama");
    assert_eq!(
        (&told["n_layer"], &told["n_kv_head"]),
        (&4.into(), &1.into())
    );
    // A run's model as the reference of another run, with its own tokenizer and shorter windows.
    let second = r#"
[data]
train = "builtin:tinyshakespeare"

[reference]
path = "runs/first@reference"

[inherit]
layers = "0..2"

[train]
steps = 10
context_length = 16
batch_tokens = 128
dtype = "f32"
lr = 1e-3

[eval]
every = 10
windows = 8

[probe]
windows = 2
length = 16

[grow]
max_layers = 2

[policy]
mode = "auto"

[control]
random = false
reference_continued = false
"#;
    std::fs::write(place.path().join("second.toml"), second).unwrap();
    place.expect(0, &["train", "second.toml", "--name", "second"]);
    let shown = json(&place.expect(0, &["show", "second", "--json"]));
    assert_eq!(shown["reference"]["layers"], 4);
    assert_eq!(shown["rounds"][0]["layers"], 2);
    // `loss` on the same windows of the same text gives the loss that the run measured.
    let reference = shown["reference"]["val_loss"].as_f64().unwrap();
    let text: PathBuf = place.path().join("val.txt");
    let whole =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/corpus/tinyshakespeare.txt"))
            .unwrap();
    std::fs::write(&text, &whole[whole.len() - whole.len() / 10..]).unwrap();
    let measure = |model: &str| {
        let args = [
            "--text",
            "val.txt",
            "--windows",
            "8",
            "--window-length",
            "16",
            "--json",
        ];
        json(&place.expect(0, &[&["loss", model][..], &args].concat()))
    };
    let told = measure("second@reference");
    assert_eq!(
        told["padding_rows"], 0,
        "it is a reference's, as it was read"
    );
    assert!((told["loss"].as_f64().unwrap() - reference).abs() < 1e-6);
    // For the run that trained it, the rows that pad its vocabulary are left out.
    let told = measure("first@reference");
    assert_eq!(
        (&told["vocab"], &told["padding_rows"]),
        (&257.into(), &63.into())
    );
    assert!(told["loss"].as_f64().unwrap() < reference);
    // By step: the last ones of the reference and of round 1.
    for (name, layers) in [("first@60", 4), ("first@80", 1)] {
        let at_step = json(&place.expect(0, &["info", name, "--json"]));
        assert_eq!(at_step["n_layer"], layers);
    }
    refused(&place, &["info", "first@61"], &["no checkpoint 61"]);
    // A run without a checkpoint's name means its last round's end.
    let output = place.run(&["generate", "second", "--prompt", "ROMEO:", "-n", "5"]);
    let (_, err) = texts(&output);
    assert!(
        output.status.success() && err.contains("second is the last checkpoint of its last round"),
        "{err}"
    );
}
