//! Refused descriptors, threads and memory are reported in a sentence and end with a documented exit code, wherever they occur:
//! never with a panic's text, nor with the codes of a panic or an abort.

mod common;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Place, texts};

/// The exit codes in docs/exit-codes.md.
const CODES: [i32; 7] = [0, 1, 2, 3, 70, 75, 130];
const OTHER_USER: u32 = 65534;

/// Makes a finished run `done` and an interrupted run `cut`.
fn place() -> Place {
    let place = Place::new();
    let short = [
        "--set",
        "reference.train.steps=10",
        "--set",
        "train.steps=10",
    ];
    place.expect(
        0,
        &[&["train", "mini.toml", "--name", "done"][..], &short].concat(),
    );
    std::fs::create_dir(place.run_dir("cut")).unwrap();
    for file in ["events.jsonl", "config.toml"] {
        let to = place.run_dir("cut").join(file);
        std::fs::copy(place.run_dir("done").join(file), to).unwrap();
    }
    place
}

/// Commands of every kind: some that read, one that computes, one that trains.
const COMMANDS: [&[&str]; 9] = [
    &["ls"],
    &["ls", "--json"],
    &["show", "done"],
    &["watch", "done", "--plain"],
    &["replay", "done", "--speed", "max"],
    &["ctl", "cut", "status"],
    &["data", "info", "text.txt"],
    &["loss", "done", "--text", "text.txt", "--windows", "2"],
    &TRAIN,
];

const TRAIN: [&str; 8] = [
    "train",
    "mini.toml",
    "--set",
    "reference.train.steps=10",
    "--set",
    "train.steps=10",
    "--threads",
    "2",
];

/// Runs a command under a limit, as another user if one is given. Returns `None` if it waits to write a result.
fn limited(
    place: &Place,
    program: &OsStr,
    args: &[&str],
    resource: libc::__rlimit_resource_t,
    limit: u64,
    user: Option<u32>,
) -> Option<Output> {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(place.path())
        .stdin(Stdio::null());
    command
        .env("RAYON_NUM_THREADS", "2")
        .env_remove("HEIRLOOM_PARENT")
        .env_remove("RUST_BACKTRACE");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let set = move || {
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: the pointer is to a value that lives until the call returns.
        match unsafe { libc::setrlimit(resource, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
    let file = |name: &str| std::fs::File::create(place.path().join(name)).unwrap();
    let mut child = command
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap();
    let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let (stdout, stderr) = (read("out"), read("err"));
            return Some(Output {
                status,
                stdout,
                stderr,
            });
        }
        // A run that cannot write a result yet reports this and waits.
        let said = String::from_utf8_lossy(&read("out")).into_owned();
        if said.contains("Another attempt follows") {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{args:?} at {limit} does not end: {said}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asserts that the output is a sentence and the exit code is documented.
#[track_caller]
fn assert_sentence(what: &str, output: Option<&Output>) {
    let Some(output) = output else { return };
    let (out, err) = texts(output);
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| CODES.contains(&code)),
        "{what}: {:?}\n{out}{err}",
        output.status
    );
    for text in [
        "panicked",
        "RUST_BACKTRACE",
        "fatal runtime error",
        "This is a bug",
    ] {
        assert!(
            !err.contains(text) && !out.contains(text),
            "{what}: {out}{err}"
        );
    }
    if code != Some(0) && code != Some(3) {
        assert!(
            err.contains("heirloom: ") || err.contains("nothing to save") || out.contains("failed"),
            "{what}, {code:?}: {out}{err}"
        );
    }
}

fn program() -> &'static OsStr {
    OsStr::new(env!("CARGO_BIN_EXE_heirloom"))
}

fn prepared() -> Place {
    let place = place();
    std::fs::write(
        place.path().join("text.txt"),
        "To be, or not to be. ".repeat(200),
    )
    .unwrap();
    place
}

#[test]
fn descriptors_run_out_at_every_place() {
    let place = prepared();
    for args in COMMANDS {
        let last = if args == TRAIN { 24 } else { 14 };
        for limit in 4..last {
            let what = format!("{args:?} with {limit} descriptors");
            let output = limited(&place, program(), args, libc::RLIMIT_NOFILE, limit, None);
            assert_sentence(&what, output.as_ref());
        }
    }
}

#[test]
fn memory_runs_out_at_every_place() {
    let place = prepared();
    let run = |args: &[&str], mib: u64| {
        limited(&place, program(), args, libc::RLIMIT_AS, mib << 20, None)
    };
    // The least memory with which the system can start the program.
    let least = (8..512).step_by(4).find(|&mib| {
        let output = run(&["--version"], mib);
        output.is_some_and(|output| output.status.success())
    });
    let least = least.expect("512 MiB are enough for --version") + 8;
    for args in COMMANDS {
        let limits = match args == TRAIN {
            true => [0, 8, 24, 56, 88, 120, 152, 200, 300, 500, 900].to_vec(),
            false => [0, 4, 12, 28, 60, 92, 150, 300].to_vec(),
        };
        for more in limits {
            let mib = least + more;
            assert_sentence(&format!("{args:?} with {mib} MiB"), run(args, mib).as_ref());
        }
    }
}

/// The limit on processes does not apply to root, so root runs the command as another user.
#[test]
fn threads_are_refused_at_every_place() {
    let place = prepared();
    let root = nix::unistd::geteuid().is_root();
    let user = root.then_some(OTHER_USER);
    // That user must be able to reach the program and the runs.
    let program: PathBuf = place.path().join("heirloom");
    std::fs::copy(program_path(), &program).unwrap();
    if root {
        let everyone = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path(), everyone(0o777)).unwrap();
        std::fs::set_permissions(place.path().join("runs"), everyone(0o777)).unwrap();
        std::fs::set_permissions(&program, everyone(0o755)).unwrap();
    }
    for args in COMMANDS {
        for limit in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16] {
            let what = format!("{args:?} with {limit} processes");
            let output = limited(
                &place,
                program.as_os_str(),
                args,
                libc::RLIMIT_NPROC,
                limit,
                user,
            );
            assert_sentence(&what, output.as_ref());
            if args == TRAIN && limit == 1 {
                let output = output.expect("it ends");
                let (_, err) = texts(&output);
                assert!(output.status.code() != Some(0), "no thread was refused");
                assert!(err.contains("ulimit -u"), "{err}");
            }
        }
    }
}

fn program_path() -> PathBuf {
    PathBuf::from(program())
}

/// All threads are started by functions that return a refusal as an error.
#[test]
fn no_source_starts_a_thread_that_panics_when_refused() {
    let mut wrong = Vec::new();
    sources(
        &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut |file, text| {
            // The rest of the file is compiled only for tests.
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            for (n, line) in code.lines().enumerate() {
                let line = line.trim_start();
                let spawns = line.contains("thread::spawn(") || line.contains("scope.spawn(");
                let known = line.starts_with("//")
                    || file.ends_with("tests.rs")
                    || file.contains("/tests/");
                if spawns && !known {
                    wrong.push(format!("{file}:{}: {line}", n + 1));
                }
                // A path in json! panics where it is not UTF-8.
                let path = line.contains("\": ")
                    && line.contains(".path()")
                    && !line.contains("exact::to_text");
                if (path && !known) || line.contains("json!(path") {
                    wrong.push(format!("{file}:{}: {line}", n + 1));
                }
            }
        },
    );
    assert_eq!(wrong, Vec::<String>::new());
}

fn sources(dir: &std::path::Path, each: &mut dyn FnMut(&str, &str)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(
                path.to_str().unwrap(),
                &std::fs::read_to_string(&path).unwrap(),
            );
        }
    }
}
