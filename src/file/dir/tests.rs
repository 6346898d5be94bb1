use super::*;
use std::os::unix::fs::symlink;

fn refusal<T>(result: io::Result<T>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn links_fifos_and_paths_are_refused_and_change_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let victim = tmp.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let inside = tmp.path().join("dir");
    std::fs::create_dir(&inside).unwrap();
    symlink(&victim, inside.join("link")).unwrap();
    symlink(tmp.path(), inside.join("up")).unwrap();
    symlink(tmp.path().join("none"), inside.join("dangling")).unwrap();
    nix::unistd::mkfifo(&inside.join("fifo"), Mode::S_IRWXU).unwrap();
    std::fs::hard_link(&victim, inside.join("twin")).unwrap();
    let dir = Dir::open(&inside).unwrap();

    for name in ["link", "dangling"] {
        let why = refusal(dir.open_to_append(name));
        assert_eq!(why, "it is a link, not a regular file");
        assert_eq!(
            dir.create_file(name).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    }
    assert_eq!(
        refusal(dir.open_file("link")),
        "it is a link, not a regular file"
    );
    assert_eq!(
        refusal(dir.open_to_append("fifo")),
        "it is not a regular file"
    );
    assert_eq!(refusal(dir.open_file("fifo")), "it is not a regular file");
    assert_eq!(
        refusal(dir.open_subdir("up")),
        "it is a link, not a directory"
    );
    assert!(refusal(dir.open_to_append("twin")).starts_with("it has 2 hard links"));
    for name in ["../victim", "..", ".", "", "/etc/passwd", "fifo/"] {
        assert!(
            refusal(dir.create_file(name)).starts_with("it is not the name"),
            "{name}"
        );
    }
    assert!(!tmp.path().join("none").exists());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");

    // The entries are replaced, not the files they lead to.
    for name in ["link", "dangling", "fifo", "twin"] {
        dir.replace_file(name, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(inside.join(name)).unwrap(), "new");
    }
    dir.replace_link("link", OsStr::new("twin")).unwrap();
    assert_eq!(dir.read_link("link").unwrap(), Path::new("twin"));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(dir.entries().unwrap().len(), 5, "nothing temporary is left");
}

#[test]
fn what_is_removed_ends_at_links() {
    let tmp = tempfile::tempdir().unwrap();
    let outside = tmp.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "kept").unwrap();
    let dir = Dir::open(tmp.path()).unwrap();
    let tree = dir.create_subdir("tree").unwrap();
    tree.create_subdir("deep")
        .unwrap()
        .create_file("file")
        .unwrap();
    symlink(&outside, tmp.path().join("tree/link")).unwrap();
    dir.remove_all("tree").unwrap();
    assert_eq!(dir.kind("tree").unwrap(), None);
    assert_eq!(
        std::fs::read_to_string(outside.join("file")).unwrap(),
        "kept"
    );
}

#[test]
fn a_renamed_directory_is_still_written() {
    let tmp = tempfile::tempdir().unwrap();
    let (was, now) = (tmp.path().join("was"), tmp.path().join("now"));
    std::fs::create_dir(&was).unwrap();
    let dir = Dir::open(&was).unwrap();
    std::fs::rename(&was, &now).unwrap();
    std::fs::create_dir(&was).unwrap();
    dir.replace_file("file", b"1").unwrap();
    assert!(now.join("file").exists() && !was.join("file").exists());
}
