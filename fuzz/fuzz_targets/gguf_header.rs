//! Whatever bytes as a GGUF file: what opens lies within the file and can be read or refused, metadata come as some type
//! or none, and messages cannot draw.

#![no_main]

mod model_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Nearly everything without the magic would only be refused.
    let mut file = b"GGUF".to_vec();
    file.extend(bytes);
    model_file::open_and_read("model.gguf", &file);
});
