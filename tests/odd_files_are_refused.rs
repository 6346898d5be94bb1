//! A FIFO, a socket, a device or a directory in the place of a file to read is refused at once, with a sentence: reading it might
//! never begin or never end. The pointer that git leaves for a large file that was not fetched is also refused.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Place, texts};

const KINDS: [&str; 4] = ["fifo", "socket", "device", "directory"];
/// Longest time of a refusal, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Creates a FIFO, socket, device link or directory at `path`.
fn put(kind: &str, path: &Path) {
    let _ = fs::remove_file(path);
    match kind {
        "fifo" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "device" => symlink("/dev/zero", path).unwrap(),
        _ => fs::create_dir(path).unwrap(),
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama-bf16-sharded")
}

/// Makes a copy of a model in which one file is replaced.
fn model(place: &Place, kind: &str, odd: &str) -> String {
    let dir = place.path().join("model");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(fixture()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    put(kind, &dir.join(odd));
    dir.display().to_string()
}

/// Runs the program, and expects a refusal within [`AT_ONCE`]. Returns its output.
#[track_caller]
fn refuses(place: &Place, what: &str, args: &[&str]) -> String {
    let mut command = place.heirloom(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > AT_ONCE {
            child.kill().unwrap();
            panic!("{what}: {args:?} still waits after {AT_ONCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{what}: {args:?}\n{out}\n{err}"
    );
    assert!(
        err.starts_with("heirloom: ") || err.starts_with("error: "),
        "{what}: {args:?}\n{err}"
    );
    err
}

#[test]
fn texts_and_tokens_of_every_kind() {
    for kind in KINDS {
        let place = Place::new();
        for name in [
            "a.txt",
            "a.jsonl",
            "a.txt.gz",
            "a.jsonl.zst",
            "a.parquet",
            "a.bin",
            "a.npy",
        ] {
            put(kind, &place.path().join(name));
            let what = format!("{kind} {name}");
            common::put_tokenizers(place.path());
            for args in readers_of_texts(name) {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let told = refuses(&place, &what, &args);
                assert!(
                    told.contains(name),
                    "{what}: {args:?}
{told}"
                );
            }
        }
        assert!(!place.path().join("runs").exists());
        // The description next to a token file.
        fs::write(place.path().join("b.bin"), [0; 4000]).unwrap();
        put(kind, &place.path().join("b.bin.json"));
        refuses(&place, kind, &["data", "info", "b.bin"]);
    }
}

/// Returns every command that reads texts or tokens, with this file.
fn readers_of_texts(name: &str) -> Vec<Vec<String>> {
    let (train, val) = (format!("data.train={name}"), format!("data.val={name}"));
    let model = fixture().display().to_string();
    let all: [&[&str]; 7] = [
        &["train", "mini.toml", "--set", &train, "--dry-run"],
        &["train", "mini.toml", "--set", &train],
        &["train", "mini.toml", "--set", &val],
        &["data", "info", name],
        &[
            "data",
            "prepare",
            name,
            "--out",
            "o.bin",
            "--tokenizer",
            "byte",
        ],
        &["loss", &model, "--text", name, "--tokenizer", "small.json"],
        &["rank", &model, "--tokens", name, "--window-length", "48"],
    ];
    let words = |args: &&[&str]| args.iter().map(|arg| arg.to_string()).collect();
    all.iter().map(words).collect()
}

/// The file that `git clone` leaves in place of a large file without git-lfs.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 2147483648\n";
const POINTS: &str = "it is a git-lfs pointer, not the file of 2,147,483,648 bytes that it stands for; fetch that with: git lfs pull";

#[test]
fn git_lfs_pointers_in_the_place_of_any_file() {
    let place = Place::new();
    common::put_tokenizers(place.path());
    let refuses_pointer = |name: &str, args: &[&str]| {
        let said = refuses(&place, "pointer", args);
        assert!(
            said.contains(name) && said.contains(POINTS),
            "{args:?}\n{said}"
        );
    };
    for name in [
        "a.txt",
        "a.jsonl",
        "a.json",
        "a.txt.gz",
        "a.jsonl.zst",
        "a.parquet",
        "a.bin",
        "a.npy",
    ] {
        fs::write(place.path().join(name), POINTER).unwrap();
        for args in readers_of_texts(name) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            // `prepare` does not read files of tokens.
            if !(args[1] == "prepare" && (name == "a.bin" || name == "a.npy")) {
                refuses_pointer(name, &args);
            }
        }
    }
    for name in ["p.toml", "p.json", "p.gguf", "p.safetensors", "p.yaml"] {
        fs::write(place.path().join(name), POINTER).unwrap();
    }
    refuses_pointer("p.toml", &["train", "p.toml"]);
    refuses_pointer(
        "p.json",
        &["train", "mini.toml", "--set", "data.tokenizer=p.json"],
    );
    refuses_pointer(
        "p.json",
        &["data", "info", "mini.toml", "--tokenizer", "p.json"],
    );
    refuses_pointer("p.gguf", &["info", "p.gguf"]);
    refuses_pointer("p.gguf", &["loss", "p.gguf", "--text", "text.txt"]);
    refuses_pointer("p.yaml", &["inherit", "--slices", "p.yaml", "--out", "o"]);
    for name in [
        "config.json",
        "model-00002-of-00003.safetensors",
        "model.safetensors.index.json",
    ] {
        let dir = model(&place, "directory", "removed");
        fs::write(Path::new(&dir).join(name), POINTER).unwrap();
        refuses_pointer(name, &["info", &dir]);
        refuses_pointer(
            name,
            &["inherit", "--from", &dir, "--layers", "1", "--out", "o"],
        );
    }
    assert!(!place.path().join("runs").exists());
}

#[test]
fn a_byte_order_mark_in_a_models_config_is_named() {
    let place = Place::new();
    let dir = model(&place, "directory", "removed");
    let path = Path::new(&dir).join("config.json");
    let config = fs::read(&path).unwrap();
    fs::write(&path, [&b"\xef\xbb\xbf"[..], &config].concat()).unwrap();
    let said = refuses(&place, "mark", &["info", &dir]);
    let wanted = "config.json: it begins with a byte order mark";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn configs_and_tokenizers() {
    for kind in KINDS {
        let place = Place::new();
        for name in ["c.toml", "t.json"] {
            put(kind, &place.path().join(name));
        }
        let said = refuses(&place, kind, &["train", "c.toml"]);
        let wanted = if kind == "directory" {
            "is a directory"
        } else {
            "is not a regular file"
        };
        assert!(said.contains(wanted), "{said}");
        let model = fixture().display().to_string();
        for args in [
            &["train", "mini.toml", "--set", "data.tokenizer=t.json"][..],
            &[
                "data",
                "prepare",
                "mini.toml",
                "--out",
                "o.bin",
                "--tokenizer",
                "t.json",
            ],
            &["generate", &model, "--prompt", "a", "--tokenizer", "t.json"],
            &["inherit", "--slices", "t.json", "--out", "o"],
            &[
                "inherit", "--from", &model, "--layers", "auto", "--ranks", "t.json", "--out", "o",
            ],
        ] {
            refuses(&place, kind, args);
        }
    }
}

#[test]
fn every_file_of_a_model() {
    for kind in KINDS {
        let place = Place::new();
        for odd in [
            "config.json",
            "model.safetensors.index.json",
            "model-00002-of-00003.safetensors",
        ] {
            let model = model(&place, kind, odd);
            let what = format!("{kind} {odd}");
            let reference = format!("reference.path={model}");
            common::put_tokenizers(place.path());
            let tokenizer = ["--tokenizer", "small.json"];
            let text = [
                "--text",
                "builtin:tinyshakespeare",
                tokenizer[0],
                tokenizer[1],
            ];
            for args in [
                &["info", &model][..],
                &[&["loss", &model][..], &text].concat(),
                &[&["rank", &model][..], &text].concat(),
                &[
                    "generate",
                    &model,
                    "--prompt",
                    "a",
                    "--tokenizer",
                    "small.json",
                ],
                &["inherit", "--from", &model, "--out", "o"],
                &["export", &model, "--format", "hf", "--out", "o"],
                &["train", "mini.toml", "--set", &reference],
            ] {
                let told = refuses(&place, &what, args);
                assert!(told.contains("/model"), "{what}: {args:?}\n{told}");
            }
        }
        let model = model(&place, kind, "tokenizer.json");
        refuses(&place, kind, &["generate", &model, "--prompt", "a"]);
        let gguf = place.path().join("m.gguf");
        put(kind, &gguf);
        for command in ["info", "rank"] {
            let gguf = gguf.display().to_string();
            let args = [command, &gguf, "--text", "builtin:tinyshakespeare"];
            refuses(&place, kind, &args[..if command == "info" { 2 } else { 4 }]);
        }
    }
}

#[test]
fn a_runs_journal_and_what_is_made_of_it() {
    for kind in KINDS {
        let place = Place::new();
        let dir = place.run_dir("a");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), common::MINI).unwrap();
        put(kind, &dir.join("events.jsonl"));
        for args in [
            &["show", "a"][..],
            &["watch", "a", "--plain"],
            &["replay", "a", "--plain"],
            &["train", "mini.toml", "--decisions", "a"],
            &["train", "--resume", "a"],
        ] {
            refuses(&place, kind, args);
        }
        // The other runs are listed.
        let (out, err) = texts(&place.run(&["ls"]));
        assert!(out.is_empty() || !out.contains(" 0 "), "{out}\n{err}");
        // A state that cannot be read is rebuilt from the journal.
        if kind == "directory" {
            fs::remove_dir(dir.join("events.jsonl")).unwrap();
        }
        let _ = fs::remove_file(dir.join("events.jsonl"));
        fs::write(dir.join("events.jsonl"), "").unwrap();
        put(kind, &dir.join("series.bin"));
        let began = Instant::now();
        place.expect(0, &["show", "a"]);
        place.expect(0, &["ls"]);
        assert!(began.elapsed() < AT_ONCE);
    }
}
