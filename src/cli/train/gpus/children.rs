//! Processes that train one run, started and watched by a parent that does nothing else.
//!
//! The ranks also watch one another and report a failure to rank 0, which writes it into the journal. The parent gives them time
//! for that, and then ends the remaining processes.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::iterator::Signals;

use crate::cli::{exit, say};
use crate::signals::held_back;

/// Time between two checks of the processes.
const LOOKS: Duration = Duration::from_millis(50);

/// Time after a rank's failure in which the other ranks notice it and rank 0 writes it into the journal. All processes of the
/// run end within 15 s of the first failure.
const GRACE: Duration = Duration::from_secs(11);

/// The same time after a failure of rank 0: shorter, because the other ranks write no journal.
const GRACE_OF_LEADER: Duration = Duration::from_secs(4);

/// The process of one rank.
struct Running {
    child: Child,
    status: Option<ExitStatus>,
}

/// Runs the commands as ranks 0, 1, ... and returns the exit code of all: rank 0's, or 1 where another rank has failed. Signals are
/// passed on to rank 0, which decides what they mean.
///
/// # Errors
/// When a rank cannot be started; those that were are ended.
pub(super) fn run(commands: Vec<Command>, mut signals: Signals) -> Result<i32> {
    let mut ranks: Vec<Running> = Vec::with_capacity(commands.len());
    for (rank, mut command) in commands.into_iter().enumerate() {
        if rank == 0 {
            follow_parent(&mut command);
        }
        // Signals are blocked until the rank handles them: an earlier signal would kill it.
        match held_back(|| command.spawn()) {
            Ok(child) => ranks.push(Running {
                child,
                status: None,
            }),
            Err(error) => {
                end(&mut ranks);
                return Err(error).with_context(|| format!("cannot start rank {rank}"));
            }
        }
    }
    let mut failed = None;
    loop {
        for signal in signals.pending() {
            if let (Some(leader), Ok(signal)) = (ranks.first(), Signal::try_from(signal)) {
                leader.pass(signal);
            }
        }
        let mut running = false;
        for (number, rank) in ranks.iter_mut().enumerate() {
            if rank.status.is_some() {
                continue;
            }
            rank.status = rank.child.try_wait().context("cannot wait for a rank")?;
            match rank.status {
                None => running = true,
                Some(status) if has_failed(status) => {
                    let since = *failed.get_or_insert_with(|| {
                        say::err(&format!(
                            "rank {number} (pid {}) has ended: {}",
                            rank.child.id(),
                            words(status)
                        ));
                        Instant::now() + GRACE
                    });
                    if number == 0 {
                        failed = Some(since.min(Instant::now() + GRACE_OF_LEADER));
                    }
                }
                Some(_) => {}
            }
        }
        if !running {
            break;
        }
        if failed.is_some_and(|last| Instant::now() >= last) {
            end(&mut ranks);
            break;
        }
        std::thread::sleep(LOOKS);
    }
    Ok(code(&ranks))
}

impl Running {
    fn pass(&self, signal: Signal) {
        if self.status.is_none() {
            // A failure is ignored: the process has just ended.
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
        }
    }
}

/// Has the kernel signal rank 0 when its parent is killed, so that it saves and ends; nothing else would end the run.
fn follow_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: one system call, which a process may make between fork and exec.
    unsafe {
        command
            .pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from));
    }
}

/// Kills the ranks that still run.
fn end(ranks: &mut [Running]) {
    for (number, rank) in ranks.iter_mut().enumerate() {
        if rank.status.is_none() {
            say::err(&format!(
                "rank {number} (pid {}) is killed",
                rank.child.id()
            ));
            let _ = rank.child.kill();
            rank.status = rank.child.wait().ok();
        }
    }
}

/// Whether a rank has failed: its exit code is not that of a run that is done, stopped or preempted.
fn has_failed(status: ExitStatus) -> bool {
    !matches!(
        status.code(),
        Some(exit::OK | exit::STOPPED | exit::PREEMPTED)
    )
}

/// Returns the exit code of the run.
fn code(ranks: &[Running]) -> i32 {
    let others = ranks.iter().skip(1);
    let failed = |rank: &Running| rank.status.is_none_or(has_failed);
    match ranks.first().and_then(|leader| leader.status?.code()) {
        Some(exit::OK) if others.into_iter().any(failed) => exit::FAILED,
        Some(code) => code,
        None => exit::FAILED,
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("{signal}"),
            Err(_) => format!("signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    fn ended(scripts: &[&str]) -> (i32, Duration) {
        let start = Instant::now();
        let commands = scripts.iter().map(|script| shell(script)).collect();
        // A signal that no other test handles.
        let signals = Signals::new([signal_hook::consts::SIGWINCH]).unwrap();
        let code = run(commands, signals).unwrap();
        (code, start.elapsed())
    }

    fn is_there(pid: &Path) -> bool {
        let id: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(id), None).is_ok()
    }

    #[test]
    fn the_leaders_code_is_that_of_the_run() {
        for code in [0, 2, 3, 75] {
            let leader = format!("exit {code}");
            assert_eq!(ended(&[&leader, "exit 0", "exit 0"]).0, code);
        }
        assert_eq!(ended(&["exit 0", "exit 3"]).0, 0);
        assert_eq!(ended(&["sleep 1; exit 0", "exit 1"]).0, 1);
        assert_eq!(ended(&["kill -9 $$"]).0, 1);
    }

    #[test]
    fn others_see_a_death_and_may_say_so() {
        // Rank 0 has seen it, written it down, and failed.
        let (code, took) = ended(&["sleep 1; exit 1", "sleep 600", "kill -9 $$"]);
        assert_eq!(code, 1);
        assert!(took >= Duration::from_secs(1) && took < GRACE, "{took:?}");
    }

    #[test]
    fn nothing_is_left_after_a_death() {
        let dir = tempfile::tempdir().unwrap();
        let pids = [dir.path().join("0"), dir.path().join("1")];
        // `exec` replaces the shell by `sleep`, so that killing the shell's process leaves no other process.
        let waits = pids.each_ref().map(|pid| {
            let pid = pid.display();
            format!("trap '' TERM; echo $$ > {pid}; exec sleep 600")
        });
        let (code, took) = ended(&[&waits[0], &waits[1], "sleep 1; exit 134"]);
        assert_eq!(code, 1);
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert!(pids.iter().all(|pid| !is_there(pid)));
    }

    #[test]
    fn a_signal_reaches_the_leader_alone() {
        let dir = tempfile::tempdir().unwrap();
        let marks = dir.path().display();
        let leader =
            format!("trap 'exit 75' WINCH; echo > {marks}/ready; while :; do sleep 0.05; done");
        let other = format!(
            "trap 'echo > {marks}/wrong' WINCH; while kill -0 $PPID && [ ! -e {marks}/done ]; do sleep 0.05; done"
        );
        let signals = Signals::new([signal_hook::consts::SIGWINCH]).unwrap();
        let sender = std::thread::spawn({
            let dir = dir.path().to_path_buf();
            move || {
                while !dir.join("ready").exists() {
                    std::thread::sleep(LOOKS);
                }
                nix::sys::signal::raise(Signal::SIGWINCH).unwrap();
                std::thread::sleep(Duration::from_secs(1));
                fs::write(dir.join("done"), "").unwrap();
            }
        });
        let code = run(vec![shell(&leader), shell(&other)], signals).unwrap();
        sender.join().unwrap();
        assert_eq!(code, 75);
        assert!(!dir.path().join("wrong").exists());
    }

    #[test]
    fn a_rank_that_cannot_be_started_ends_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let leader = shell(&format!("echo $$ > {}; exec sleep 600", pid.display()));
        let signals = Signals::new([signal_hook::consts::SIGWINCH]).unwrap();
        let failed = run(vec![leader, Command::new("/no/such/program")], signals);
        assert!(failed.unwrap_err().to_string().contains("rank 1"));
        assert!(!pid.exists() || !is_there(&pid));
    }
}
