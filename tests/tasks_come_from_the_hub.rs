//! `heirloom data fetch` copies a task's documents from the hub into a data directory. Without a connection it lists the files to copy
//! and their sources. The hub is a small server in the test.
#![cfg(feature = "hub")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use common::{Place, texts};
use serde_json::json;

const COMMIT: &str = "1d4c1e3f2a6b5c7d8e9f00112233445566778899";

/// A hub on a port of this machine, until the test ends.
struct Server {
    address: String,
    /// Each request, as `PATH RANGE`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a hub with one data set.
    fn start(dataset: &'static str, files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).into(), bytes.to_vec()));
        let files: BTreeMap<String, Vec<u8>> = files.collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // An error is ignored: the client may have disconnected.
                let _ = answer(&stream, dataset, &files, &log);
            }
        });
        Self { address, asked }
    }
}

fn answer(
    mut stream: &TcpStream,
    dataset: &str,
    files: &BTreeMap<String, Vec<u8>>,
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_string();
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|l| !l.is_empty())
        .collect();
    let range = headers.iter().find_map(|l| {
        let (key, value) = l.split_once(": ")?;
        key.eq_ignore_ascii_case("range").then(|| value.to_string())
    });
    let range = range.unwrap_or_default();
    asked.lock().unwrap().push(format!("{path} {range}"));
    let mut send = |head: String, body: &[u8]| {
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()
    };
    let list = format!("/api/datasets/{dataset}/revision/refs%2Fconvert%2Fparquet");
    if path == list {
        let names = files.keys().map(|name| json!({"rfilename": name}));
        let names: Vec<_> = names.collect();
        let listing = json!({"sha": COMMIT, "siblings": names}).to_string();
        let length = listing.len();
        let head = format!("200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}");
        return send(head, listing.as_bytes());
    }
    let below = format!("/datasets/{dataset}/resolve/{COMMIT}/");
    let Some(bytes) = path.strip_prefix(&below).and_then(|name| files.get(name)) else {
        return send("404 No\r\nContent-Length: 0".into(), b"");
    };
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let to = to.parse().unwrap_or(bytes.len() - 1);
    let head = format!(
        "206 Partial\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{}\"\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{to}/{}",
        blake3::hash(bytes).to_hex(),
        to + 1 - from,
        bytes.len()
    );
    send(head, &bytes[from..=to])
}

fn fetch(place: &Place, tasks: &[&str], env: &[(&str, &str)]) -> Output {
    let args = [&["data", "fetch"], tasks, &["--data", "tasks"]].concat();
    let mut command = place.heirloom(&args);
    for key in [
        "HF_HUB_CACHE",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_OFFLINE",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(key);
    }
    command.env("HF_HOME", place.path().join("hf"));
    command.envs(env.iter().copied()).output().unwrap()
}

#[test]
fn a_task_is_fetched_once_and_copied_into_the_data_directory() {
    let server = Server::start(
        "cais/mmlu",
        &[
            ("README.md", b"# MMLU"),
            ("all/test/0000.parquet", b"the questions"),
            ("all/test/0001.parquet", b"more questions"),
            ("all/dev/0000.parquet", b"the examples"),
            ("all/auxiliary_train/0000.parquet", b"not needed"),
            ("anatomy/test/0000.parquet", b"not needed either"),
        ],
    );
    let place = Place::new();
    let hub = [("HF_ENDPOINT", server.address.as_str())];
    let output = fetch(&place, &["mmlu"], &hub);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let there = |place: &Place| -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(place.path().join("tasks/mmlu"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.sort();
        all.iter()
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect()
    };
    let wanted = [
        ("dev-00000-of-00001.parquet", "the examples"),
        ("test-00000-of-00002.parquet", "the questions"),
        ("test-00001-of-00002.parquet", "more questions"),
    ]
    .map(|(name, text)| (name.to_string(), text.to_string()));
    assert_eq!(there(&place), wanted);
    assert_eq!(
        out,
        "tasks/mmlu/test-00000-of-00002.parquet\ntasks/mmlu/test-00001-of-00002.parquet\ntasks/mmlu/dev-00000-of-00001.parquet\n"
    );
    let asked = server.asked.lock().unwrap().clone();
    assert!(
        !asked
            .iter()
            .any(|line| line.contains("README") || line.contains("auxiliary")),
        "{asked:?}"
    );

    // From the cache, without a network.
    fs::remove_dir_all(place.path().join("tasks")).unwrap();
    let output = fetch(&place, &["mmlu"], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(there(&place), wanted);
    assert_eq!(server.asked.lock().unwrap().len(), asked.len());
}

#[test]
fn without_a_connection_it_says_what_to_copy_from_where() {
    let place = Place::new();
    // A port without a server.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for (env, why) in [
        (("HF_ENDPOINT", nowhere.as_str()), "cannot be reached"),
        (
            ("HF_HUB_OFFLINE", "1"),
            "HF_HUB_OFFLINE is set; unset it to fetch from the hub",
        ),
    ] {
        let output = fetch(&place, &["arc_easy"], &[env]);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        for wanted in [
            why,
            "hf download allenai/ai2_arc --repo-type dataset --revision refs/convert/parquet --include \"ARC-Easy/*\" --local-dir arc_easy",
            "arc_easy/ARC-Easy/test/0000.parquet to tasks/arc_easy/test-00000-of-00001.parquet",
        ] {
            assert!(err.contains(wanted), "{wanted:?} is not in\n{err}");
        }
        assert!(!place.path().join("tasks").exists());
    }
}

#[test]
fn a_data_set_without_the_split_and_an_unknown_task_are_refused() {
    let server = Server::start("allenai/sciq", &[("default/train/0000.parquet", b"x")]);
    let place = Place::new();
    let hub = [("HF_ENDPOINT", server.address.as_str())];
    for (task, wanted) in [
        ("sciq", "it has no Parquet files in default/test"),
        ("piqa", "has no baber/piqa at revision refs/convert/parquet"),
        ("pqia", "unknown task pqia; did you mean piqa?"),
    ] {
        let output = fetch(&place, &[task], &hub);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(wanted), "{wanted:?} is not in\n{err}");
    }
}
