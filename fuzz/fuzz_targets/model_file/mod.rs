//! Makes a model file of arbitrary bytes.

#[path = "../scratch/mod.rs"]
mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::tensors::gguf::Metadata;
use heirloom::tensors::{Source, TensorError};
use heirloom::text::sanitize;

/// Returns a directory of this process.
fn directory() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(scratch::directory)
}

fn harmless(error: TensorError) {
    let told = error.to_string();
    assert_eq!(sanitize(&told), told);
}

/// Opens the file and reads all of it.
pub fn open_and_read(name: &str, bytes: &[u8]) {
    let path = directory().join(name);
    std::fs::write(&path, bytes).expect("the model can be written");
    let source = match Source::open(&path) {
        Ok(source) => source,
        Err(error) => return harmless(error),
    };
    assert!(source.data_bytes() <= bytes.len() as u64);
    for name in source.names() {
        let info = source.info(name).expect("a name that is listed");
        // The smallest blocks hold eight values in a byte.
        assert!(info.len() <= 8 * bytes.len());
        let mut out = vec![0.0; info.len()];
        if let Err(error) = source.read_into(name, &mut out) {
            harmless(error);
        }
        let rows = info.shape.first().map_or(0..1, |&n| n.saturating_sub(1)..n);
        let mut row = vec![0.0; rows.len() * info.row()];
        if let Err(error) = source.read_rows_into(name, rows, &mut row) {
            harmless(error);
        }
    }
    let Some(metadata) = source.gguf() else {
        return;
    };
    for (key, _) in metadata.iter() {
        refused(metadata.str(key));
        refused(metadata.u32(key));
        refused(metadata.f32(key));
        refused(metadata.bool(key));
        refused(metadata.strs(key));
        refused(metadata.f32s(key));
        refused(metadata.i32s(key));
        refused(metadata.optional(key, Metadata::usize));
    }
}

fn refused<T>(read: Result<T, TensorError>) {
    if let Err(error) = read {
        harmless(error);
    }
}
