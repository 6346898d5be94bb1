//! `hf:OWNER/NAME` names a model of the hub: it is fetched once, kept in the hub's standard cache, and used from there without a
//! network. Errors are reported in sentences, and never leave an incomplete file under its final name.
//!
//! The hub, and the hosts that it redirects to, are small servers in the test.
#![cfg(feature = "hub")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use common::{Place, texts};
use serde_json::json;

const COMMIT: &str = "12fd25f77366fa6b3b4b768ec3050bf629380bac";
/// The file whose transfer fails.
const SHARD: &str = "model-00002-of-00003.safetensors";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama-bf16-sharded")
}

/// The files of the server, and its behaviour.
#[derive(Clone)]
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    /// Status of all answers about the repository, if not 200.
    status: u16,
    /// Status of all answers for files, if not 206.
    file_status: u16,
    /// Answer in place of the list of files.
    listing: Option<String>,
    /// ETag in place of the file's own.
    etag: Option<String>,
    commit: String,
    /// Whether the connection breaks in the middle of [`SHARD`].
    breaks: bool,
    /// Whether requests for the rest of a file are answered with that range.
    resumes: bool,
    /// Target of redirections of requests for files: an address, or a path that is put before theirs.
    files_lead_to: Option<String>,
    /// Target of redirections of requests about the repository.
    list_leads_to: Option<String>,
    /// Reported length of [`SHARD`] in place of the real one; 0: no length is reported.
    announced: Option<u64>,
    /// Whether [`SHARD`] is sent without a length and never ends.
    endless: bool,
}

impl Shelf {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).into(), bytes.to_vec()));
        Self {
            files: files.collect(),
            status: 200,
            file_status: 206,
            listing: None,
            etag: None,
            commit: COMMIT.into(),
            breaks: false,
            resumes: true,
            files_lead_to: None,
            list_leads_to: None,
            announced: None,
            endless: false,
        }
    }

    /// Makes a complete model, and files that heirloom does not need.
    fn whole() -> Self {
        let mut shelf = Self::with(&[
            ("tokenizer.json", b"{}"),
            ("consolidated.safetensors", b"twice"),
            ("onnx/model.safetensors", b"another's"),
            ("README.md", b"# A model"),
        ]);
        for entry in fs::read_dir(fixture()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != "expected.json" {
                shelf.files.insert(name.into(), fs::read(&path).unwrap());
            }
        }
        shelf
    }
}

/// A hub on a port of this machine, until the test ends.
struct Server {
    address: String,
    shelf: Arc<Mutex<Shelf>>,
    /// Each request, as `PATH RANGE AUTHORIZATION`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(shelf: Shelf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            shelf: Arc::new(Mutex::new(shelf)),
            asked: Arc::default(),
        };
        let (shelf, asked) = (Arc::clone(&server.shelf), Arc::clone(&server.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shelf = shelf.lock().unwrap().clone();
                let asked = Arc::clone(&asked);
                // An error is ignored: the client may have disconnected.
                std::thread::spawn(move || answer(&stream, &shelf, &asked));
            }
        });
        server
    }

    /// Returns the requests for files since the last call.
    fn files_asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.retain(|line| line.contains("/resolve/"));
        asked
    }
}

fn answer(mut stream: &TcpStream, shelf: &Shelf, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_string();
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|l| !l.is_empty())
        .collect();
    let header = |key: &str| {
        let found = headers.iter().filter_map(|l| l.split_once(": "));
        let mut found = found.filter(|(k, _)| k.eq_ignore_ascii_case(key));
        found.next().map_or(String::new(), |(_, v)| v.to_string())
    };
    let range = header("range");
    asked
        .lock()
        .unwrap()
        .push(format!("{path} {range} {}", header("authorization")));
    let mut send = |head: String, body: &[u8]| {
        stream
            .write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())
            .ok()?;
        stream.write_all(body).ok()
    };
    let short = |status: u16| format!("{status} No\r\nContent-Length: 0");
    let (own, leads_to) = match path.starts_with("/api/models/") {
        true => ("/api/", &shelf.list_leads_to),
        false => ("/x/", &shelf.files_lead_to),
    };
    if let Some(to) = leads_to
        && path.starts_with(own)
    {
        let name = path.rsplit('/').next()?;
        let hash = shelf
            .files
            .get(name)
            .map(|bytes| blake3::hash(bytes).to_hex());
        let hash = hash.map_or(String::new(), |hash| hash.to_string());
        let commit = &shelf.commit;
        let head = format!(
            "302 Found\r\nContent-Length: 0\r\nLocation: {to}{path}\r\nX-Repo-Commit: {commit}\r\nX-Linked-ETag: \"{hash}\""
        );
        return send(head, b"");
    }
    if path.contains("/api/models/") {
        if shelf.status != 200 {
            return send(short(shelf.status), b"");
        }
        let names = shelf.files.keys().map(|name| json!({"rfilename": name}));
        let listing = json!({"sha": shelf.commit, "siblings": names.collect::<Vec<_>>()});
        let listing = shelf.listing.clone().unwrap_or(listing.to_string());
        let length = listing.len();
        let head = format!("200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}");
        return send(head, listing.as_bytes());
    }
    if shelf.file_status != 206 {
        return send(short(shelf.file_status), b"");
    }
    let name = path.split_once(&format!("/resolve/{}/", shelf.commit))?.1;
    let Some(bytes) = shelf.files.get(name) else {
        return send(short(404), b"");
    };
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to): (usize, Option<usize>) = (from.parse().ok()?, to.parse().ok());
    let from = if to.is_none() && !shelf.resumes {
        0
    } else {
        from
    };
    let to = to.unwrap_or(bytes.len() - 1);
    let hash = blake3::hash(bytes).to_hex().to_string();
    let announced = shelf.announced.filter(|_| name == SHARD);
    let endless = shelf.endless && name == SHARD && range.ends_with('-');
    let mut head = format!(
        "206 Partial\r\nX-Repo-Commit: {}\r\nETag: \"{}\"",
        shelf.commit,
        shelf.etag.as_ref().unwrap_or(&hash),
    );
    if !endless {
        head += &format!("\r\nContent-Length: {}", to + 1 - from);
    }
    if announced != Some(0) {
        let length = announced.unwrap_or(bytes.len() as u64);
        head += &format!("\r\nContent-Range: bytes {from}-{to}/{length}");
    }
    if endless {
        send(head, &bytes[from..=to])?;
        while stream.write_all(&[0; 1 << 16]).is_ok() {}
        return None;
    }
    let body = &bytes[from..=to];
    let half = if shelf.breaks && name == SHARD && body.len() > 1 {
        body.len() / 2
    } else {
        body.len()
    };
    send(head, &body[..half])
}

/// Runs `heirloom info NAME` with its own home directory, and a hub at this address.
fn info_with(place: &Place, address: &str, name: &str, env: &[(&str, &str)]) -> Output {
    let mut command = place.heirloom(&["info", name]);
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
    command
        .env("HF_HOME", place.path().join("hf"))
        .env("HF_ENDPOINT", address);
    command.envs(env.iter().copied()).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> (String, String) {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    (out, err)
}

#[track_caller]
fn refuses(output: &Output, wanted: &str) -> String {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(2), "{out}\n{err}");
    assert!(err.contains(wanted), "{wanted:?} is not in\n{err}");
    err
}

fn model_dir(place: &Place) -> PathBuf {
    place.path().join("hf/hub/models--x--y")
}

/// Returns the names of the files under a directory, relative to it.
fn tree(dir: &Path) -> Vec<String> {
    let pattern = format!("{}/**/*", dir.display());
    let all = glob::glob(&pattern)
        .unwrap()
        .flatten()
        .filter(|p| !p.is_dir());
    all.map(|p| p.strip_prefix(dir).unwrap().display().to_string())
        .collect()
}

#[test]
fn a_model_is_fetched_once_and_used_without_a_network() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let (first, _) = succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
    let snapshot = model_dir(&place).join("snapshots").join(COMMIT);
    let mut wanted: Vec<String> = server.shelf.lock().unwrap().files.keys().cloned().collect();
    wanted.retain(|n| {
        ![
            "README.md",
            "consolidated.safetensors",
            "onnx/model.safetensors",
        ]
        .contains(&n.as_str())
    });
    assert_eq!(tree(&snapshot), wanted, "only what is needed");
    for name in &wanted {
        assert_eq!(
            fs::read(snapshot.join(name)).unwrap(),
            server.shelf.lock().unwrap().files[name]
        );
    }
    assert_eq!(tree(&model_dir(&place).join("refs")), ["main"]);
    assert!(!server.files_asked().is_empty());

    let (second, err) = succeeds(&info_with(&place, &server.address, "hf:x/y@main", &[]));
    assert_eq!((server.files_asked(), err.as_str()), (vec![], ""));
    assert_eq!(first, second.replace("hf:x/y@main", "hf:x/y"));

    // A new commit with the same weights adds only links.
    let next = "b".repeat(40);
    server.shelf.lock().unwrap().commit.clone_from(&next);
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
    let asked = server.files_asked();
    assert!(
        asked.iter().all(|line| line.contains("bytes=0-0")),
        "{asked:?}"
    );
    assert_eq!(
        fs::read_to_string(model_dir(&place).join("refs/main")).unwrap(),
        next
    );

    succeeds(&info_with(
        &place,
        &server.address,
        "hf:x/y",
        &[("HF_HUB_OFFLINE", "1")],
    ));
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked, Vec::<String>::new(), "offline nobody is asked");
    let (_, err) = succeeds(&info_with(&place, "http://127.0.0.1:9", "hf:x/y", &[]));
    assert!(
        err.contains("is the copy in") && err.contains("http://127.0.0.1:9 gave no usable answer"),
        "{err}"
    );

    // A copy that lacks a file is incomplete, and not used.
    fs::remove_file(model_dir(&place).join("snapshots").join(&next).join(SHARD)).unwrap();
    let offline = [("HF_HUB_OFFLINE", "1")];
    refuses(
        &info_with(&place, &server.address, "hf:x/y", &offline),
        "missing or incomplete in the hub's cache",
    );
    refuses(
        &info_with(&place, "http://127.0.0.1:9", "hf:x/y", &[]),
        "http://127.0.0.1:9 cannot be reached",
    );
}

#[test]
fn shards_in_folders_are_fetched() {
    let mut shelf = Shelf::whole();
    let index = "model.safetensors.index.json";
    let old = std::mem::take(&mut shelf.files);
    for (name, bytes) in old {
        if name == index {
            let text = String::from_utf8(bytes).unwrap();
            let text = text.replace("\"model-", "\"weights/f32/model-");
            shelf.files.insert(name, text.into_bytes());
        } else if name.starts_with("model-") {
            shelf.files.insert(format!("weights/f32/{name}"), bytes);
        } else {
            shelf.files.insert(name, bytes);
        }
    }
    let (place, server) = (Place::new(), Server::start(shelf));
    let (first, _) = succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
    let offline = [("HF_HUB_OFFLINE", "1")];
    let (second, _) = succeeds(&info_with(&place, &server.address, "hf:x/y", &offline));
    assert_eq!(first, second);
    let snapshot = model_dir(&place).join("snapshots").join(COMMIT);
    let shard = snapshot.join("weights/f32").join(SHARD);
    let wanted = fs::read(fixture().join(SHARD)).unwrap();
    assert_eq!(fs::read(shard).unwrap(), wanted);
}

#[test]
fn a_broken_connection_leaves_nothing_half_and_is_gone_on_with() {
    let mut shelf = Shelf::whole();
    shelf.breaks = true;
    let (place, server) = (Place::new(), Server::start(shelf));
    refuses(
        &info_with(&place, &server.address, "hf:x/y", &[]),
        &format!("broke in x/y/{SHARD}"),
    );
    let there = tree(&model_dir(&place));
    assert!(
        !there
            .iter()
            .any(|n| n.contains(SHARD) || n.starts_with("refs/main")),
        "{there:?}"
    );
    let parts = there.iter().filter(|n| n.ends_with(".part"));
    assert_eq!(parts.count(), 1, "{there:?}");
    let files = server.shelf.lock().unwrap().files.clone();
    let blob = blake3::hash(&files[SHARD]).to_hex();
    assert!(!model_dir(&place).join("blobs").join(blob.as_str()).exists());

    server.shelf.lock().unwrap().breaks = false;
    server.files_asked();
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
    let shard = model_dir(&place).join("snapshots").join(COMMIT).join(SHARD);
    assert_eq!(fs::read(shard).unwrap(), files[SHARD]);
    let asked = server.files_asked();
    let begun = asked
        .iter()
        .filter(|l| l.contains(SHARD) && l.contains("bytes=0- "));
    assert_eq!(begun.count(), 0, "it goes on where it stopped: {asked:?}");
}

#[test]
fn a_file_of_another_length_is_not_taken() {
    let mut shelf = Shelf::whole();
    shelf.breaks = true;
    let (place, server) = (Place::new(), Server::start(shelf));
    refuses(
        &info_with(&place, &server.address, "hf:x/y", &[]),
        "broke in",
    );
    {
        let mut shelf = server.shelf.lock().unwrap();
        (shelf.breaks, shelf.resumes) = (false, false);
    }
    refuses(
        &info_with(&place, &server.address, "hf:x/y", &[]),
        "another number of bytes than announced",
    );
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
}

#[test]
fn refusals_say_why_and_what_to_do() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let set = |change: &dyn Fn(&mut Shelf)| {
        let mut shelf = Shelf::whole();
        change(&mut shelf);
        *server.shelf.lock().unwrap() = shelf;
    };
    let told = |wanted: &str| {
        refuses(
            &info_with(&place, &server.address, "hf:x/y@v1", &[]),
            wanted,
        )
    };
    set(&|s| s.status = 404);
    told("has no x/y at revision v1; check the spelling");
    for status in [401, 403] {
        set(&|s| s.status = status);
        told("set HF_TOKEN or run `hf auth login` (no token was found)");
        set(&|s| s.file_status = status);
        told(&format!("refuses x/y (HTTP status {status}): it is gated"));
    }
    let with_token = info_with(&place, &server.address, "hf:x/y", &[("HF_TOKEN", "hf_abc")]);
    let err = refuses(&with_token, "the token that was found has no access");
    assert!(!err.contains("hf_abc"), "{err}");
    set(&|s| s.status = 503);
    told("x/y cannot be fetched from http://127.0.0.1");
    set(&|s| s.listing = Some("<html>\u{1b}[2J".into()));
    let err = told("the answer is not a list of files");
    assert!(!err.contains('\u{1b}'), "{err:?}");
    for (files, wanted) in [
        (
            vec!["config.json", "pytorch_model.bin"],
            "hf:x/y/pytorch_model.bin is a Python pickle",
        ),
        (vec!["y.Q4_1.gguf"], "has GGUF files, no config.json"),
        (vec!["model.safetensors"], "no config.json"),
        (vec!["config.json", "README.md"], "no safetensors"),
    ] {
        let files: Vec<(&str, &[u8])> = files.into_iter().map(|n| (n, &b"x"[..])).collect();
        *server.shelf.lock().unwrap() = Shelf::with(&files);
        told(wanted);
    }
    server.files_asked();
    for name in ["hf:y", "hf:../y", "hf:x/y@../z", "hf:x/y?a=b", "hf:x/y@v 1"] {
        refuses(
            &info_with(&place, &server.address, name, &[]),
            "names no model of the hub",
        );
    }
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
    let nowhere = info_with(&place, "not an address", "hf:x/y", &[]);
    refuses(&nowhere, "not an address");
    refuses(
        &info_with(&place, "http://127.0.0.1:9", "hf:x/y", &[]),
        "cannot be reached",
    );
}

#[test]
fn the_token_comes_from_the_environment_or_the_login() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    fs::create_dir_all(place.path().join("hf")).unwrap();
    fs::write(place.path().join("hf/token"), "hf_login\n").unwrap();
    succeeds(&info_with(
        &place,
        &server.address,
        "hf:x/y",
        &[("HF_TOKEN", "hf_set")],
    ));
    let asked = std::mem::take(&mut *server.asked.lock().unwrap());
    assert!(
        asked.len() > 1 && asked.iter().all(|l| l.ends_with("Bearer hf_set")),
        "{asked:?}"
    );
    // The login's token is read from the home directory, wherever the cache is.
    let elsewhere = place.path().join("elsewhere");
    let cache = [("HF_HUB_CACHE", elsewhere.to_str().unwrap())];
    succeeds(&info_with(&place, &server.address, "hf:x/y", &cache));
    let asked = std::mem::take(&mut *server.asked.lock().unwrap());
    assert!(
        asked.len() > 1 && asked.iter().all(|l| l.ends_with("Bearer hf_login")),
        "{asked:?}"
    );
    assert!(elsewhere.join("models--x--y/refs/main").is_file());
}

#[test]
fn a_hostile_hub_writes_nowhere_else() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let told = |change: &dyn Fn(&mut Shelf), wanted: &str| {
        let mut shelf = Shelf::whole();
        change(&mut shelf);
        *server.shelf.lock().unwrap() = shelf;
        refuses(&info_with(&place, &server.address, "hf:x/y", &[]), wanted);
    };
    let up = "../../../../evil";
    told(&|s| s.commit = up.into(), "names no commit");
    told(&|s| s.etag = Some(up.into()), "odd ETag");
    for shard in [up, "/tmp/evil", "missing.safetensors"] {
        let index = json!({"weight_map": {"a": shard}}).to_string();
        told(
            &|s| {
                s.files.insert(
                    "model.safetensors.index.json".into(),
                    index.clone().into_bytes(),
                );
                s.files.insert("/tmp/evil".into(), b"evil".to_vec());
                s.files.insert(up.into(), b"evil".to_vec());
            },
            shard,
        );
        // Within the same commit, the index has become another file.
        fs::remove_dir_all(model_dir(&place)).unwrap();
    }
    // Files whose names lead out of the directory are not requested.
    let mut shelf = Shelf::whole();
    shelf.files.insert(up.into(), b"evil".to_vec());
    shelf
        .files
        .insert("/etc/evil.safetensors".into(), b"evil".to_vec());
    *server.shelf.lock().unwrap() = shelf;
    server.files_asked();
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
    assert!(
        !server
            .files_asked()
            .iter()
            .any(|line| line.contains("evil"))
    );
    let outside: Vec<String> = tree(place.path())
        .into_iter()
        .filter(|n| !n.starts_with("hf/hub/models--x--y/"))
        .collect();
    assert_eq!(outside, ["mini.toml"]);
}

/// Whether a request carried the token.
fn with_token(line: &str) -> bool {
    line.ends_with(" Bearer hf_secret")
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_it_leads_to() {
    let env = [("HF_TOKEN", "hf_secret")];
    let take = |server: &Server| std::mem::take(&mut *server.asked.lock().unwrap());
    for (files, list) in [(true, false), (false, true), (true, true)] {
        let other = Server::start(Shelf::whole());
        let port = other.address.rsplit(':').next().unwrap().to_string();
        // A redirection to another host, and to the same host with another port.
        for address in [format!("http://localhost:{port}"), other.address.clone()] {
            let place = Place::new();
            let mut shelf = Shelf::whole();
            shelf.files_lead_to = files.then(|| address.clone());
            shelf.list_leads_to = list.then(|| address.clone());
            let hub = Server::start(shelf);
            succeeds(&info_with(&place, &hub.address, "hf:x/y", &env));
            let (asked, elsewhere) = (take(&hub), take(&other));
            assert!(
                !asked.is_empty() && asked.iter().all(|l| with_token(l)),
                "{asked:?}"
            );
            assert!(!elsewhere.is_empty(), "{address}");
            assert!(
                !elsewhere.iter().any(|l| l.contains("hf_secret")),
                "{elsewhere:?}"
            );
        }
    }
    // A redirection to a path on the hub itself.
    let mut shelf = Shelf::whole();
    shelf.files_lead_to = Some("/moved".into());
    shelf.list_leads_to = Some("/moved".into());
    let (place, hub) = (Place::new(), Server::start(shelf));
    succeeds(&info_with(&place, &hub.address, "hf:x/y", &env));
    let asked = take(&hub);
    assert!(
        asked.iter().any(|l| l.starts_with("/moved/x/y/resolve/")),
        "{asked:?}"
    );
    assert!(asked.iter().all(|l| with_token(l)), "{asked:?}");
}

#[test]
fn secrets_are_in_no_message() {
    let env = [("HF_TOKEN", "hf_secret")];
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let port = server.address.rsplit(':').next().unwrap();
    for endpoint in [
        format!("http://me:hf_secret@127.0.0.1:{port}"),
        format!("http://hf_secret@127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}?token=hf_secret"),
    ] {
        let told = refuses(
            &info_with(&place, &endpoint, "hf:x/y", &env),
            "HF_ENDPOINT cannot be used: it h",
        );
        assert!(!told.contains("hf_secret"), "{told}");
    }
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
    // A token that is not a valid header, a redirection to an invalid address or to one with a password.
    let odd = [("HF_TOKEN", "hf_secret\u{1}")];
    let told = refuses(
        &info_with(&place, &server.address, "hf:x/y", &odd),
        "HF_TOKEN",
    );
    assert!(!told.contains("hf_secret"), "{told}");
    for to in [
        "http://me:hf_secret@elsewhere",
        "ftp://elsewhere/hf_secret",
        "//elsewhere/hf_secret",
    ] {
        server.shelf.lock().unwrap().list_leads_to = Some(to.into());
        let told = refuses(
            &info_with(&place, &server.address, "hf:x/y", &env),
            "unexpected answer",
        );
        assert!(!told.contains("hf_secret"), "{told}");
    }
    // A redirection to itself.
    server.shelf.lock().unwrap().list_leads_to = Some(String::new());
    refuses(
        &info_with(&place, &server.address, "hf:x/y", &env),
        "too many redirects",
    );
}

#[test]
fn no_more_is_taken_than_was_announced() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let told = |change: &dyn Fn(&mut Shelf), wanted: &str| {
        let mut shelf = Shelf::whole();
        change(&mut shelf);
        *server.shelf.lock().unwrap() = shelf;
        refuses(&info_with(&place, &server.address, "hf:x/y", &[]), wanted);
        let there = tree(&model_dir(&place));
        let left = there
            .iter()
            .find(|n| n.ends_with(".part") || n.contains(SHARD));
        assert_eq!(left, None, "{there:?}");
    };
    told(
        &|s| s.endless = true,
        "came with another number of bytes than announced",
    );
    told(
        &|s| s.announced = Some(10),
        "came with another number of bytes than announced",
    );
    told(
        &|s| s.announced = Some(0),
        "does not give the file's length",
    );
    told(&|s| s.announced = Some(1 << 50), "MB are needed");
    *server.shelf.lock().unwrap() = Shelf::whole();
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
}

#[test]
fn planted_files_in_the_cache_are_not_written_through() {
    let (place, server) = (Place::new(), Server::start(Shelf::whole()));
    let precious = place.path().join("precious");
    fs::write(&precious, "keys").unwrap();
    let blobs = model_dir(&place).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let shard = blake3::hash(&server.shelf.lock().unwrap().files[SHARD]).to_hex();
    for ending in ["part", "lock"] {
        let planted = blobs.join(format!("{shard}.{ending}"));
        for kind in ["link", "fifo", "hard link"] {
            let _ = fs::remove_file(&planted);
            match kind {
                "link" => std::os::unix::fs::symlink(&precious, &planted).unwrap(),
                "fifo" => nix::unistd::mkfifo(&planted, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                _ => fs::hard_link(&precious, &planted).unwrap(),
            }
            refuses(
                &info_with(&place, &server.address, "hf:x/y", &[]),
                "cannot be written to the hub's cache",
            );
            assert_eq!(fs::read_to_string(&precious).unwrap(), "keys", "{kind}");
        }
        fs::remove_file(&planted).unwrap();
    }
    succeeds(&info_with(&place, &server.address, "hf:x/y", &[]));
}
