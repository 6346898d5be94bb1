//! A token of the hub is sent only to the hub (`models_come_from_the_hub`), and does not occur in core dumps, journals, configs or
//! messages.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, texts};

/// Starts the program with core dumps allowed, as far as this process can allow them.
fn start(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Child {
    let program = place.heirloom(args);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c 4096; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(place.path())
        .env_remove("HF_TOKEN")
        .env_remove("HUGGING_FACE_HUB_TOKEN")
        .envs(env.iter().copied());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the soft limit of core dumps from a process's list of limits.
fn soft_limit(limits: &str) -> String {
    let line = limits.lines().find(|l| l.starts_with("Max core file size"));
    line.unwrap().split_whitespace().nth(4).unwrap().to_string()
}

/// Returns the limit with which a program without a token is started, and the limit that a token sets.
fn limits() -> [String; 2] {
    let command = "ulimit -c 4096; exec cat /proc/self/limits";
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let allowed = soft_limit(&String::from_utf8(output.stdout).unwrap());
    // If the system does not allow core dumps at all, the limit stays 0.
    let forbidden = if allowed == "0" { "0" } else { "1" };
    [allowed, forbidden.into()]
}

/// Returns the limit of a process once it is `wanted`, or after a time limit.
fn core_limit(child: &mut Child, wanted: &str) -> String {
    let began = Instant::now();
    loop {
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let soft = soft_limit(&limits);
        if soft == wanted || began.elapsed() > Duration::from_secs(5) {
            return soft;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_with_a_token_leaves_no_core_dump() {
    let place = Place::new();
    // Runs long enough to be inspected.
    let big = fs::File::create(place.path().join("big.txt")).unwrap();
    big.set_len(1 << 40).unwrap();
    let args = ["data", "info", "big.txt"];
    let [allowed, forbidden] = limits();
    for (env, wanted) in [
        (&[][..], &allowed),
        (&[("HF_TOKEN", "")], &allowed),
        (&[("HF_TOKEN", "hf_secret")], &forbidden),
        (&[("HUGGING_FACE_HUB_TOKEN", "hf_secret")], &forbidden),
    ] {
        let mut child = start(&place, &args, env);
        if wanted == &allowed {
            // Waits, because the limit must not change.
            std::thread::sleep(Duration::from_millis(300));
        }
        let limit = core_limit(&mut child, wanted);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(&limit, wanted, "{env:?}");
    }
    // The system may pipe dumps to a collector; if dumps are files, none is written.
    let mut child = start(&place, &args, &[("HF_TOKEN", "hf_secret")]);
    assert_eq!(core_limit(&mut child, &forbidden), forbidden);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    child.wait().unwrap();
    let mut left = fs::read_dir(place.path()).unwrap().flatten();
    assert!(!left.any(|e| e.file_name().to_string_lossy().starts_with("core")));
}

#[test]
#[cfg(all(target_os = "linux", feature = "hub"))]
fn a_token_of_the_login_is_in_no_core_dump_either() {
    let place = Place::new();
    let home = place.path().join("hf");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("token"), "hf_secret").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let env = [
        ("HF_HOME", home.to_str().unwrap()),
        ("HF_ENDPOINT", &address),
    ];
    let mut child = start(&place, &["info", "hf:x/y"], &env);
    let [_, forbidden] = limits();
    let limit = core_limit(&mut child, &forbidden);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(limit, forbidden);
}

fn files(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false if path.is_file() => {
                into.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
            false => {}
        }
    }
}

#[test]
fn nothing_of_the_environment_is_in_a_run() {
    let place = Place::new();
    fs::create_dir(place.path().join("texts-of-my-own")).unwrap();
    let text = "All that is written here is read again. ".repeat(2000);
    fs::write(place.path().join("texts-of-my-own/a.txt"), text).unwrap();
    let data = place.path().join("texts-of-my-own");
    let config = common::MINI.replace("builtin:tinyshakespeare", "$MY_DATA/a.txt");
    fs::write(place.path().join("own.toml"), config).unwrap();
    let run = |args: &[&str], data: &Path| {
        let mut command = place.heirloom(args);
        command.env("HF_TOKEN", "hf_secret").env("MY_DATA", data);
        let output = command.output().unwrap();
        let (out, err) = texts(&output);
        assert!(
            !out.contains("hf_secret") && !err.contains("hf_secret"),
            "{out}{err}"
        );
        (output.status.code(), out, err)
    };
    let args = [
        "train",
        "own.toml",
        "--name",
        "a",
        "--set",
        "policy.max_tokens=20000",
    ];
    let (code, out, err) = run(&args, &data);
    assert_eq!(code, Some(0), "{out}{err}");
    let mut all = Vec::new();
    files(&place.run_dir("a"), &mut all);
    assert!(all.len() > 3);
    for (name, bytes) in &all {
        for secret in ["hf_secret", "texts-of-my-own"] {
            let found = memchr::memmem::find(bytes, secret.as_bytes());
            assert_eq!(found, None, "{secret} is in {name}");
        }
    }
    let config = fs::read_to_string(place.run_dir("a").join("config.toml")).unwrap();
    assert!(config.contains("\"$MY_DATA/a.txt\""), "{config}");
    // The text may be moved, and a missing variable is reported by its name.
    let moved = place.path().join("moved");
    fs::rename(&data, &moved).unwrap();
    let (code, out, err) = run(
        &["train", "own.toml", "--decisions", "a", "--dry-run"],
        &moved,
    );
    assert_eq!(code, Some(0), "{out}{err}");
    let output = place.run(&["train", "own.toml", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        texts(&output)
            .1
            .contains("needs the environment variable MY_DATA")
    );
}
