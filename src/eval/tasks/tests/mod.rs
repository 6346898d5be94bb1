//! Tasks on published data in its several forms, and errors in data.

mod errors;
mod forms;
mod names;
mod published;

use std::path::{Path, PathBuf};

use super::{Answer, Document, Set, find};

/// A directory for the files of a test.
struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, task: &str) -> Set {
        load(task, self.path())
    }

    fn error(&self, task: &str) -> String {
        let error = (find(task).unwrap().load)(self.path(), None).unwrap_err();
        let error = format!("{error:#}");
        error.replace(&*self.path().to_string_lossy(), "DATA")
    }
}

fn load(task: &str, data: &Path) -> Set {
    (find(task).unwrap().load)(data, None).unwrap()
}

fn gold(document: &Document) -> usize {
    match &document.answer {
        Answer::Choice { gold, .. } => *gold,
        answer => panic!("{answer:?}"),
    }
}

fn continuations(document: &Document) -> Vec<&str> {
    let requests = document.requests.iter();
    requests.map(|r| r.continuation.as_str()).collect()
}
