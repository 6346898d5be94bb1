//! Runs one command in its own process group, for a limited time.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::file;
use crate::text;

/// Interval between checks of a running command.
const GLANCE: Duration = Duration::from_millis(20);

/// The result of a command.
#[derive(Debug)]
pub enum Outcome {
    Exited(ExitStatus),
    NotStarted(io::Error),
    /// It took too long and was killed.
    TimedOut(Duration),
    /// It was killed because the process ends.
    Stopped,
}

impl Outcome {
    /// Whether it ended with exit code 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// Describes it: `exit 0`, `timed out after 10 s`, `notify-send: not found`.
    pub fn describe(&self, program: &str) -> String {
        match self {
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "ended".into(),
            },
            Self::NotStarted(error) => {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => "not found".into(),
                    io::ErrorKind::PermissionDenied => "permission denied".into(),
                    _ => error.to_string(),
                };
                format!("{}: {why}", text::clean(program))
            }
            Self::TimedOut(limit) => format!("timed out after {} s", limit.as_secs_f64()),
            Self::Stopped => "killed, since the run's process ends".into(),
        }
    }
}

/// Runs `argv` with the variables `env` added to this process's environment: no shell, no stdin, stdout and stderr to
/// `log`. After `limit`, or as soon as `must_stop` returns true, it is killed together with everything in its process
/// group. Processes of the group that outlive the command are also killed.
///
/// The calling thread must block no signal, since the command inherits its mask.
pub fn run(
    argv: &[String],
    env: &[(&str, &std::ffi::OsStr)],
    log: Option<File>,
    limit: Duration,
    must_stop: impl Fn() -> bool,
) -> Outcome {
    let mut child = match start(argv, env, log) {
        Ok(child) => child,
        Err(error) => return Outcome::NotStarted(error),
    };
    let began = Instant::now();
    let group = Pid::from_raw(child.id().cast_signed());
    let killed = loop {
        match has_ended(group) {
            true => break None,
            false if must_stop() => break Some(Outcome::Stopped),
            false if began.elapsed() >= limit => break Some(Outcome::TimedOut(limit)),
            false => std::thread::sleep(GLANCE),
        }
    };
    // The process has not been waited for yet, so the group's number cannot have been reused.
    let _ = killpg(group, Signal::SIGKILL);
    match (child.wait(), killed) {
        (_, Some(killed)) => killed,
        (Ok(status), None) => Outcome::Exited(status),
        (Err(error), None) => Outcome::NotStarted(error),
    }
}

fn start(
    argv: &[String],
    env: &[(&str, &std::ffi::OsStr)],
    log: Option<File>,
) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let output = || match &log {
        Some(log) => Ok(Stdio::from(log.try_clone()?)),
        None => io::Result::Ok(Stdio::null()),
    };
    let mut command = Command::new(program);
    // Variables meant for this process by its parent are not passed on.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEIRLOOM_PARENT") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .process_group(0);
    file::close_on_exec();
    command.spawn()
}

/// Whether a child has ended, without reaping it.
fn has_ended(child: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(
        waitid(Id::Pid(child), flags),
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration, must_stop: bool) -> Outcome {
        let argv = ["sh", "-c", script].map(String::from);
        run(&argv, &[], None, limit, || must_stop)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn how_a_command_ended_is_described() {
        let described = |script| sh(script, LONG, false).describe("sh");
        assert_eq!(described("exit 0"), "exit 0");
        assert_eq!(described("exit 3"), "exit 3");
        assert_eq!(described("kill -9 $$"), "killed by signal 9");
        let missing = run(&["/no/such\u{1b}c".into()], &[], None, LONG, || false);
        assert_eq!(missing.describe("/no/such\u{1b}c"), "/no/such: not found");
        let refused = run(&["/etc/passwd".into()], &[], None, LONG, || false);
        assert_eq!(refused.describe("x"), "x: permission denied");
        assert!(!refused.is_success() && sh("exit 0", LONG, false).is_success());
        let stopped = sh("sleep 60", LONG, true);
        assert!(matches!(stopped, Outcome::Stopped), "{stopped:?}");
    }

    #[test]
    fn a_command_is_killed_with_what_it_started() {
        let tmp = tempfile::tempdir().unwrap();
        let marks = |script: &str| {
            let (file, limit) = (tmp.path().join("marks"), Duration::from_millis(1500));
            let script = format!("{script} && echo late >{}", file.display());
            let began = Instant::now();
            let outcome = sh(&format!("({script}) {}", "& sleep 60"), limit, false);
            assert_eq!(outcome.describe("sh"), "timed out after 1.5 s");
            assert!(began.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(2000));
            file.exists()
        };
        assert!(marks("sleep 0.1"), "before the limit");
        std::fs::remove_file(tmp.path().join("marks")).unwrap();
        assert!(!marks("sleep 2.5"), "killed with its parent");
    }

    #[test]
    fn what_a_command_leaves_in_the_background_ends_with_it() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("late");
        let script = format!("(sleep 1; echo >{}) & exit 0", file.display());
        assert!(sh(&script, LONG, false).is_success());
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!file.exists());
    }

    #[test]
    fn a_command_gets_no_descriptors_and_no_blocked_signals() {
        use nix::sys::signal::SigSet;
        use std::os::fd::AsRawFd;
        let tmp = tempfile::tempdir().unwrap();
        let open = File::open("/dev/null").unwrap();
        // One that a parent has passed on is not marked.
        let passed = nix::unistd::dup(&open).unwrap();
        let log = File::create(tmp.path().join("log")).unwrap();
        let script = format!(
            "ls /proc/self/fd/{} 2>&1; grep SigBlk /proc/self/status; ps -o pgid= $$; echo $$; cat",
            passed.as_raw_fd()
        );
        let _ = SigSet::empty().thread_set_mask();
        let argv = ["sh", "-c", &script].map(String::from);
        assert!(run(&argv, &[], Some(log), LONG, || false).is_success());
        let text = std::fs::read_to_string(tmp.path().join("log")).unwrap();
        assert!(text.contains("No such file"), "{text}");
        assert!(text.contains("0000000000000000"), "{text}");
        let mut last = text.lines().rev().map(str::trim);
        assert_eq!(last.next(), last.next(), "a group of its own: {text}");
    }
}
