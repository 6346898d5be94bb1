//! A resume of a run directory of another user, with links, FIFOs and hard links in place of files, does not change files outside the
//! directory and does not block. If it must refuse, the message has a command that helps.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, is_alive, signal, texts, wait};
use nix::sys::signal::Signal;

/// Settings for very short rounds.
const SHORT: [&str; 4] = [
    "--set",
    "train.steps=10",
    "--set",
    "reference.train.steps=20",
];

/// Makes an interrupted run of the miniature, in its second phase.
fn interrupted(place: &Place, name: &str) {
    let mut child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        name,
        "--set",
        "train.steps=100000",
    ]);
    place.wait_event(name, "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGTERM);
    wait("the end", || child.try_wait().unwrap());
}

/// Returns every file below a directory with its contents, and every other entry.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            found.insert(path.clone(), b"directory".to_vec());
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Returns the checkpoints of a run, without links to them.
fn checkpoints_of(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    entries
        .map(|e| e.unwrap().path())
        .filter(|path| std::fs::symlink_metadata(path).unwrap().is_dir())
        .collect()
}

/// Replaces a file of every checkpoint by a FIFO.
fn put_fifos(run: &Path, name: &str) {
    for checkpoint in checkpoints_of(run) {
        let path = checkpoint.join(name);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(done.unwrap().success());
}

/// Resumes a run and waits for its end, with a time limit.
fn resume(place: &Place, name: &str) -> (Option<i32>, String) {
    let mut command = place.heirloom(&["train", "--resume", name, "--set", "train.steps=20"]);
    let out = std::fs::File::create(place.path().join("said.txt")).unwrap();
    command.stdout(out.try_clone().unwrap()).stderr(out);
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > common::PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = std::fs::read(place.path().join("said.txt")).unwrap();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_lies_outside_a_resumed_run_stays_as_it_is() {
    let place = Place::new();
    interrupted(&place, "made");
    let outside = place.path().join("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    for name in ["file", "other", "deep/file", "events.jsonl"] {
        std::fs::write(outside.join(name), format!("precious {name}\n")).unwrap();
    }
    let before = contents(&outside);
    let rank_files: Vec<String> = (0..400)
        .map(|step| format!("rank/b0-s{step:08}-round-1.safetensors"))
        .collect();
    let checkpoints: Vec<String> = (0..400)
        .flat_map(|step| {
            let name = format!("b0-s{step:08}-round-1");
            [
                format!("checkpoints/.writing-{name}"),
                format!("checkpoints/{name}"),
            ]
        })
        .collect();
    type Plant<'p> = Box<dyn Fn(&Path) + 'p>;
    let (file, deep) = (outside.join("file"), outside.join("deep"));
    let replace = |path: PathBuf, target: &Path| {
        let _ = std::fs::remove_file(&path);
        symlink(target, path).unwrap();
    };
    let link = |names: &'static [&'static str], target: &Path| -> Plant {
        let target = target.to_path_buf();
        Box::new(move |run: &Path| {
            for name in names {
                replace(run.join(name), &target);
            }
        })
    };
    let cases: Vec<(&str, Plant, Option<&str>)> = vec![
        (
            "temporary names",
            link(
                &[
                    "config.toml.new",
                    ".config.toml.new",
                    "config.new",
                    "control.sock",
                    "checkpoints/.link-latest",
                    "checkpoints/.link-best",
                    "series.bin",
                ],
                &file,
            ),
            None,
        ),
        ("lock and log", link(&["lock", "log.txt"], &file), None),
        (
            "links of checkpoints",
            link(&["checkpoints/latest", "checkpoints/best"], &deep),
            None,
        ),
        (
            "rank files",
            Box::new(|run| {
                for name in &rank_files {
                    replace(run.join(name), &file);
                }
            }),
            None,
        ),
        (
            "checkpoints to come",
            Box::new(|run| {
                for name in &checkpoints {
                    if std::fs::symlink_metadata(run.join(name)).is_err() {
                        symlink(&deep, run.join(name)).unwrap();
                    }
                }
            }),
            None,
        ),
        (
            "dangling links",
            Box::new(|run| {
                let target = outside.join("new");
                replace(run.join("lock"), &target);
                replace(run.join("log.txt"), &target);
                replace(run.join("config.toml.new"), &target);
            }),
            None,
        ),
        (
            "FIFOs",
            Box::new(|run| {
                let planted = [
                    "config.toml.new",
                    "lock",
                    "log.txt",
                    "series.bin",
                    "control.sock",
                ];
                for name in planted
                    .iter()
                    .copied()
                    .chain(rank_files.iter().map(String::as_str))
                {
                    let _ = std::fs::remove_file(run.join(name));
                    nix::unistd::mkfifo(&run.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
                }
            }),
            None,
        ),
        (
            "hard links",
            Box::new(|run| {
                for name in ["lock", "log.txt", "config.toml.new", "series.bin"] {
                    let _ = std::fs::remove_file(run.join(name));
                    std::fs::hard_link(&file, run.join(name)).unwrap();
                }
            }),
            None,
        ),
        (
            "config.toml is a link",
            Box::new(|run| {
                let config = outside.join("../config-elsewhere.toml");
                std::fs::copy(run.join("config.toml"), &config).unwrap();
                replace(run.join("config.toml"), &config);
            }),
            None,
        ),
        (
            "the journal is a link",
            link(&["events.jsonl"], &outside.join("events.jsonl")),
            Some("it is a link, not a regular file"),
        ),
        (
            "the journal is a FIFO",
            Box::new(|run| {
                std::fs::remove_file(run.join("events.jsonl")).unwrap();
                nix::unistd::mkfifo(&run.join("events.jsonl"), nix::sys::stat::Mode::S_IRWXU)
                    .unwrap();
            }),
            Some("it is not a regular file"),
        ),
        (
            "states of checkpoints are FIFOs",
            Box::new(|run| put_fifos(run, "state.json")),
            Some("it is not a regular file"),
        ),
        (
            "weights of checkpoints are FIFOs",
            Box::new(|run| put_fifos(run, "model.safetensors")),
            Some("it is not a regular file"),
        ),
        (
            "weights of checkpoints are links",
            Box::new(|run| {
                for checkpoint in checkpoints_of(run) {
                    replace(checkpoint.join("model.safetensors"), &file);
                }
            }),
            Some("it is a link, not a regular file"),
        ),
        (
            "the decisions are a FIFO",
            Box::new(|run| {
                nix::unistd::mkfifo(&run.join("decisions.json"), nix::sys::stat::Mode::S_IRWXU)
                    .unwrap();
            }),
            Some("it is not a regular file"),
        ),
        (
            "the journal has a second name",
            Box::new(|run| {
                std::fs::remove_file(run.join("events.jsonl")).unwrap();
                std::fs::hard_link(outside.join("events.jsonl"), run.join("events.jsonl")).unwrap();
            }),
            Some("it has 2 hard links"),
        ),
        (
            "rank is a link",
            Box::new(|run| {
                std::fs::remove_dir_all(run.join("rank")).unwrap();
                symlink(&deep, run.join("rank")).unwrap();
            }),
            Some("rank is a link to "),
        ),
        (
            "checkpoints is a link",
            Box::new(|run| {
                std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
                symlink(&outside, run.join("checkpoints")).unwrap();
            }),
            Some("checkpoints is a link to "),
        ),
        (
            "rank is a file",
            Box::new(|run| {
                std::fs::remove_dir_all(run.join("rank")).unwrap();
                std::fs::write(run.join("rank"), "").unwrap();
            }),
            Some("rank is not a directory"),
        ),
    ];
    for (what, plant, refused) in &cases {
        let run = place.run_dir("planted");
        copy(&place.run_dir("made"), &run);
        plant(&run);
        let (code, said) = resume(&place, "planted");
        match refused {
            None => assert_eq!(code, Some(0), "{what}: {said}"),
            Some(why) => assert!(code == Some(2) && said.contains(why), "{what}: {said}"),
        }
        assert!(
            contents(&outside) == before,
            "{what}: something outside changed"
        );
        let config = run.join("config.toml");
        if refused.is_none() {
            let written = std::fs::symlink_metadata(config).unwrap();
            assert!(written.is_file(), "{what}: config.toml is the run's own");
        }
        if refused.is_none() {
            assert_eq!(place.show("planted")["state"], "done", "{what}");
        }
        std::fs::remove_dir_all(run).unwrap();
    }
}

/// Runs the commands at the end of a refusal: the copy, and its resume.
#[track_caller]
fn follow_the_advice(place: &Place, said: &str) {
    let (_, commands) = said.trim_end().rsplit_once(": ").unwrap();
    let (copying, resuming) = commands.rsplit_once(" && heirloom ").unwrap();
    let mut shell = Command::new("sh");
    let copied = shell
        .args(["-c", copying])
        .current_dir(place.path())
        .status();
    assert!(copied.unwrap().success(), "{copying}");
    let words: Vec<&str> = resuming
        .split_whitespace()
        .chain(["--set", "train.steps=20"])
        .collect();
    place.expect(0, &words);
}

/// Reproduces a report: with a link in place of `checkpoints`, one run deleted another's checkpoints. The printed commands make a copy
/// that can be resumed.
#[test]
fn the_advised_copy_of_a_linked_run_goes_on() {
    let place = Place::new();
    interrupted(&place, "mine");
    copy(&place.run_dir("mine"), &place.run_dir("theirs"));
    std::fs::remove_dir_all(place.run_dir("theirs/checkpoints")).unwrap();
    symlink(
        place.run_dir("mine/checkpoints"),
        place.run_dir("theirs/checkpoints"),
    )
    .unwrap();
    let before = contents(&place.run_dir("mine"));
    let (code, said) = resume(&place, "theirs");
    assert_eq!(code, Some(2), "{said}");
    assert!(contents(&place.run_dir("mine")) == before);
    follow_the_advice(&place, &said);
    assert!(contents(&place.run_dir("mine")) == before);
}

/// After `rm lock` on a run in use, there is still only one writer, and its event numbers increase.
#[test]
fn a_removed_lock_gives_no_second_writer() {
    let place = Place::new();
    let run = place.in_background("mine", &["--set", "train.steps=1000000"], "");
    place.wait_event("mine", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    for _ in 0..3 {
        wait("the lock", || {
            std::fs::remove_file(place.run_dir("mine/lock")).ok()
        });
        let (_, err) = texts(&place.run(&["train", "--resume", "mine"]));
        assert!(err.contains("run mine is in use by "), "{err}");
    }
    place.wait_event("mine", "word of it", |e| {
        e["kind"] == "warning"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("has been written again")
    });
    // Locks that only need read access do not prevent a resume.
    signal(run.0, Signal::SIGTERM);
    wait("the end", || (!is_alive(run.0)).then_some(()));
    let mut readers: Vec<_> = ["lock", "events.jsonl"]
        .iter()
        .map(|name| {
            let mut flock = Command::new("flock");
            flock
                .args(["--no-fork", "--exclusive"])
                .arg(place.run_dir("mine").join(name));
            flock
                .args(["sleep", "60"])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(place.show("mine")["state"], "interrupted");
    let (code, said) = resume(&place, "mine");
    for reader in &mut readers {
        reader.kill().unwrap();
        reader.wait().unwrap();
    }
    assert_eq!(code, Some(0), "{said}");
    let events = place.events("mine");
    let seqs: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(
        seqs.windows(2).all(|pair| pair[0] < pair[1]),
        "numbers go up"
    );
}

/// With different numbers of descriptors a new run fails at different places, and its name stays free.
#[test]
fn a_run_that_could_not_begin_is_no_obstacle() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_heirloom");
    let mut failed = 0;
    for descriptors in 4..24 {
        let script =
            format!("ulimit -n {descriptors}; exec {program} train mini.toml --name r --plain");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).args(SHORT);
        command.current_dir(place.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        let ended = wait("a beginning or an end", || match run.try_wait().unwrap() {
            Some(status) => Some(!status.success()),
            // A run that trains, or waits for descriptors for its checkpoint, has begun.
            None => (!place.events("r").is_empty()).then_some(false),
        });
        let _ = run.kill();
        run.wait().unwrap();
        if !ended {
            break;
        }
        failed += 1;
        if place.run_dir("r").exists() {
            // The directory was complete when the run failed, so that it can be resumed.
            assert!(place.run_dir("r/config.toml").is_file(), "{descriptors}");
            std::fs::remove_dir_all(place.run_dir("r")).unwrap();
        }
    }
    assert!(failed > 3, "{failed} limits were too low");
    let args = [&["train", "mini.toml", "--name", "again"][..], &SHORT].concat();
    place.expect(0, &args);
}

/// Tests the directory of another user, which root can make.
#[test]
#[ignore = "needs root, to give files away: cargo test -- --ignored _disk_"]
fn directories_of_other_users_on_disk_are_refused_with_a_way_out() {
    let place = Place::new();
    interrupted(&place, "made");
    for part in ["", "checkpoints", "rank"] {
        let run = place.run_dir("theirs");
        copy(&place.run_dir("made"), &run);
        std::os::unix::fs::chown(run.join(part), Some(1), Some(1)).unwrap();
        let before = contents(&run);
        let (code, said) = resume(&place, "theirs");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("belongs to user daemon"), "{said}");
        assert!(contents(&run) == before, "{part}");
        follow_the_advice(&place, &said);
        std::fs::remove_dir_all(run).unwrap();
        std::fs::remove_dir_all(place.run_dir("theirs-copy")).unwrap();
    }
}

/// All of the program's files are made in `src/file/`. (clippy.toml names the same functions, and sees through imports.)
#[test]
fn no_other_code_makes_files() {
    const WORDS: [&str; 17] = [
        "fs::write",
        "fs::copy",
        "fs::rename",
        "fs::hard_link",
        "create_dir",
        "fs::remove_",
        "set_permissions",
        "File::create",
        "File::options",
        "OpenOptions",
        "DirBuilder",
        "fs::symlink(",
        "mkdirat",
        "openat",
        "renameat(",
        "unlinkat",
        "symlinkat",
    ];
    // A match must not be the end of a longer name.
    let names = |line: &str, word: &str| {
        line.match_indices(word)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
    };
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&source, &mut files);
    let is_test = |path: &Path| {
        path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests")
    };
    let mut sites = Vec::new();
    let mut inside = 0;
    for path in files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs") && !is_test(path))
    {
        let text = std::fs::read_to_string(path).unwrap();
        // Unit tests are at the end of a file.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let own = path.starts_with(source.join("file"));
        for (number, line) in (1..).zip(code.lines()) {
            let comment = line.trim_start().starts_with("//");
            let words = WORDS.iter().filter(|word| names(line, word));
            if words.count() == 0 || comment || line.contains("create_dirs") {
                continue;
            }
            match own {
                true => inside += 1,
                false => sites.push(format!("{}:{number}: {}", path.display(), line.trim())),
            }
        }
    }
    assert!(inside > 5, "the search finds what it looks for");
    assert_eq!(sites, Vec::<String>::new());
}

/// Replacing a file makes a new file, so that a reader of the old one is not disturbed.
#[test]
fn a_resumed_config_is_replaced_in_one_step() {
    let place = Place::new();
    interrupted(&place, "mine");
    let config = place.run_dir("mine/config.toml");
    let before = std::fs::metadata(&config).unwrap().ino();
    let open = std::fs::File::open(&config).unwrap();
    let (code, said) = resume(&place, "mine");
    assert_eq!(code, Some(0), "{said}");
    assert_ne!(std::fs::metadata(&config).unwrap().ino(), before);
    let old = std::io::read_to_string(open).unwrap();
    assert!(old.contains("steps = 100000"), "{old}");
    let left: Vec<_> = std::fs::read_dir(place.run_dir("mine"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// After a power failure following the first event, a resume has all files that it needs: `config.toml`, the run's directory and
/// `runs/` are flushed before.
#[test]
#[ignore = "needs strace: cargo test --test planted_files_are_harmless -- --ignored by_strace"]
fn what_a_resume_needs_is_flushed_before_the_first_event_by_strace() {
    let place = Place::new();
    let trace = place.path().join("trace");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=write,fsync,rename,renameat,renameat2",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_heirloom"))
        .args(["train", "mini.toml", "--name", "r"])
        .args(SHORT)
        .current_dir(place.path())
        .stdout(Stdio::null())
        .status()
        .expect("strace is installed");
    assert!(traced.success());
    let trace = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let first = |what: &str, fits: &dyn Fn(&str) -> bool| {
        let found = lines.iter().position(|line| fits(line));
        found.unwrap_or_else(|| panic!("no {what} in the trace"))
    };
    let order = [
        first("fsync of the new config", &|l| {
            l.contains("fsync(") && l.contains(".config.toml.")
        }),
        first("name of the config", &|l| {
            l.contains("rename") && l.contains("\"config.toml\"")
        }),
        first("name of the run", &|l| {
            l.contains("rename") && l.contains("\"r\"")
        }),
        first("first event", &|l| {
            l.contains("write(") && l.contains("events.jsonl>")
        }),
    ];
    assert!(order.is_sorted(), "{order:?}");
    let [_, config, run, event] = order;
    let flushed = |from: usize, to: usize| lines[from..to].iter().any(|l| l.contains("fsync("));
    assert!(
        flushed(config, run),
        "the run's directory is flushed before it has its name"
    );
    let runs = lines[run..event]
        .iter()
        .any(|l| l.contains("fsync(") && l.contains("/runs>"));
    assert!(runs, "runs/ is flushed before the first event");
}
