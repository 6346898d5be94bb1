//! Python pickles, which are recognised only to be refused.

use std::path::Path;

/// Whether a file is a pickle by its beginning, or by its name when it has none of the formats that are read.
pub fn is_pickle(path: &Path, beginning: &[u8]) -> bool {
    // torch.save writes a ZIP archive with a pickle in it, older versions a pickle of protocol 2.
    let begins = [&b"PK\x03\x04"[..], b"\x80\x02"]
        .iter()
        .any(|magic| beginning.starts_with(magic));
    let named = path.extension().and_then(|e| e.to_str());
    begins || named.is_some_and(|e| ["pt", "pth", "bin", "ckpt", "pkl"].contains(&e))
}

/// The pickle that a directory of a model holds instead of safetensors.
pub const IN_DIRECTORY: [&str; 3] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.00.pth",
];
