//! Reads arbitrary bytes as a GGUF file. Tensors of a file that opens lie within it and can be read or refused, metadata can be read
//! by type, and messages contain no terminal control sequences.

#![no_main]

mod model_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Almost all inputs without the magic would only be refused.
    let mut file = b"GGUF".to_vec();
    file.extend(bytes);
    model_file::open_and_read("model.gguf", &file);
});
