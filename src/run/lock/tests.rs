use super::*;

#[test]
fn a_second_holder_is_refused_and_the_first_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("tiny-1");
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(RunLock::holder(&dir), None);
    let lock = RunLock::acquire(&dir).unwrap();
    let holder = RunLock::holder(&dir).unwrap();
    assert_eq!(holder.pid, std::process::id());
    assert!(holder.confirmed && RunLock::is_live(&dir));
    let said = RunLock::acquire(&dir).unwrap_err().to_string();
    let wanted = format!(
        "run tiny-1 is in use by process {} on host {}",
        std::process::id(),
        host_name()
    );
    assert!(said.starts_with(&wanted), "{said}");
    assert!(said.ends_with("quit ends it"), "{said}");
    drop(lock);
    assert_eq!(RunLock::holder(&dir), None);
    assert!(dir.join("lock").is_file());
    RunLock::acquire(&dir).unwrap();
}

#[test]
fn the_holder_in_the_file_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let lock = RunLock::acquire(tmp.path()).unwrap();
    let said = r#"{"pid":1234,"host":"box","boot_id":"b","socket":null,"started":""}"#;
    std::fs::write(tmp.path().join(LOCK), said).unwrap();
    let message = RunLock::acquire(tmp.path()).unwrap_err().to_string();
    assert!(
        message.contains("is in use by process 1234 on host box: its last sign of life was "),
        "{message}"
    );
    assert_eq!(RunLock::holder(tmp.path()).unwrap().pid, 1234);
    // Without the file, the journal is still locked.
    std::fs::remove_file(tmp.path().join(LOCK)).unwrap();
    let message = RunLock::acquire(tmp.path()).unwrap_err().to_string();
    assert!(
        message.contains("is in use by another process"),
        "{message}"
    );
    drop(lock);
    RunLock::acquire(tmp.path()).unwrap();
}

/// The readers are a flock(1) of both files, and a read lock of the journal.
#[test]
fn locks_that_readers_can_take_block_nobody() {
    let tmp = tempfile::tempdir().unwrap();
    let journal = tmp.path().join(EVENTS);
    std::fs::write(&journal, "").unwrap();
    let said = r#"{"pid":1,"host":"box","boot_id":"b","socket":null,"started":""}"#;
    std::fs::write(tmp.path().join(LOCK), said.replace("box", &host_name())).unwrap();
    let mut flocks: Vec<_> = [EVENTS, LOCK]
        .iter()
        .map(|name| {
            std::process::Command::new("flock")
                .args(["--no-fork", "--exclusive"])
                .arg(tmp.path().join(name))
                .args(["sleep", "60"])
                .spawn()
                .expect("flock(1), of util-linux")
        })
        .collect();
    for name in [EVENTS, LOCK] {
        let glance = File::open(tmp.path().join(name)).unwrap();
        while glance.try_lock_shared().is_ok() {
            glance.unlock().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let reader = File::open(&journal).unwrap();
    read_lock(&reader);
    assert_eq!(RunLock::holder(tmp.path()), None);
    assert!(!RunLock::is_live(tmp.path()));
    let mut lock = RunLock::acquire(tmp.path()).unwrap();
    assert!(!lock.journal_is_locked);
    assert!(RunLock::is_live(tmp.path()));
    let second = RunLock::acquire(tmp.path()).unwrap_err().to_string();
    assert!(second.contains("is in use by process"), "{second}");
    drop(reader);
    lock.touch();
    assert!(lock.journal_is_locked);
    for flock in &mut flocks {
        flock.kill().unwrap();
        flock.wait().unwrap();
    }
    assert!(RunLock::is_live(tmp.path()));
}

#[cfg(target_os = "linux")]
fn read_lock(file: &File) {
    use nix::fcntl::{FcntlArg, fcntl};
    let lock = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
}

#[test]
fn a_lock_that_leads_elsewhere_empties_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, precious) = (tmp.path().join("run"), tmp.path().join("precious"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(&precious, "keys").unwrap();
    std::os::unix::fs::symlink(&precious, dir.join(LOCK)).unwrap();
    drop(RunLock::acquire(&dir).unwrap());
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keys");
    std::fs::remove_file(dir.join(EVENTS)).unwrap();
    std::os::unix::fs::symlink(&precious, dir.join(EVENTS)).unwrap();
    let message = RunLock::acquire(&dir).unwrap_err().to_string();
    assert!(
        message.starts_with("cannot lock ") && message.ends_with("not a regular file"),
        "{message}"
    );
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keys");
}

#[test]
fn a_holder_cannot_draw_nor_keep_anybody_waiting() {
    let tmp = tempfile::tempdir().unwrap();
    let lock = tmp.path().join("lock");
    let said = r#"{"pid":7,"host":"far\u001b[2J\naway","boot_id":"o","socket":null,"started":""}"#;
    std::fs::write(&lock, said).unwrap();
    let holder = RunLock::holder(tmp.path()).unwrap();
    assert_eq!(holder.to_string(), "process 7 on host far away");
    std::fs::write(&lock, format!("{said}{}", " ".repeat(1 << 20))).unwrap();
    assert_eq!(RunLock::holder(tmp.path()), None);
    std::fs::remove_file(&lock).unwrap();
    nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(RunLock::holder(tmp.path()), None);
}

#[test]
fn a_killed_holder_leaves_no_lock_behind() {
    let tmp = tempfile::tempdir().unwrap();
    let mut dead = Holder::of_this_process(&Dir::open(tmp.path()).unwrap());
    dead.pid = 999_999;
    std::fs::write(
        tmp.path().join("lock"),
        serde_json::to_string(&dead).unwrap(),
    )
    .unwrap();
    assert_eq!(RunLock::holder(tmp.path()), None);
    RunLock::acquire(tmp.path()).unwrap();
}

#[test]
fn another_machines_word_is_taken_while_its_journal_is_fresh() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(
        tmp.path().join("lock"),
        r#"{"pid":7,"host":"faraway.example","boot_id":"other","socket":null,"started":""}"#,
    )
    .unwrap();
    let holder = RunLock::holder(tmp.path()).unwrap();
    assert_eq!((holder.pid, holder.confirmed), (7, false));
    assert!(!RunLock::is_live(tmp.path()), "no journal");
    let journal = File::create(tmp.path().join("events.jsonl")).unwrap();
    assert!(RunLock::is_live(tmp.path()));
    journal.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
    let lock = File::options()
        .write(true)
        .open(tmp.path().join("lock"))
        .unwrap();
    assert!(
        RunLock::is_live(tmp.path()),
        "a paused run touches its lock"
    );
    lock.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
    assert!(!RunLock::is_live(tmp.path()));
    // Taken over then, and not before.
    journal.set_modified(SystemTime::now() + FRESH).unwrap();
    assert!(RunLock::is_live(tmp.path()), "the clock was set back");
    let ahead = RunLock::acquire(tmp.path()).unwrap_err().to_string();
    assert!(
        ahead.contains("9 min in the future") && ahead.contains("then remove /"),
        "{ahead}"
    );
    journal.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
    RunLock::acquire(tmp.path()).unwrap();
}
