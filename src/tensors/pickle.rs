//! Python pickles, which are recognised only to be refused.

use std::path::Path;

/// Whether a file begins like those of torch.save: a ZIP archive with a pickle, or in older versions a pickle of protocol 2.
pub fn begins(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || file.starts_with(b"\x80\x02")
}

/// Whether a file has the name of a pickle.
pub fn is_named(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    ending.is_some_and(|e| ["pt", "pth", "bin", "ckpt", "pkl"].contains(&e))
}

/// Names of pickles in the directory of a model without safetensors.
pub const IN_DIRECTORY: [&str; 3] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.00.pth",
];
