//! Errors in the data of a task.

use std::path::PathBuf;

use super::Place;

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{place}: no field {field:?}; the fields are {fields}")]
    Missing {
        place: Place,
        field: String,
        fields: String,
    },
    #[error("{place}: expected {expected} in field {field:?}, found {found}")]
    Unexpected {
        place: Place,
        field: String,
        expected: String,
        found: String,
    },
    #[error("{place}: {what}")]
    Invalid { place: Place, what: String },
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("{}: not a directory; give the directory that holds the tasks' data", path.display())]
    NoDirectory { path: PathBuf },
    #[error("no documents of {task} under {}: looked for {looked_for}", data.display())]
    NotFound {
        task: &'static str,
        data: PathBuf,
        looked_for: String,
    },
    #[error("{task}: no documents in {files}")]
    Empty { task: &'static str, files: String },
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
}
