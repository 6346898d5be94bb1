//! Whatever bytes as a safetensors file: what opens lies within the file and can be read or refused, and messages cannot
//! draw.

#![no_main]

mod model_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| model_file::open_and_read("model.safetensors", bytes));
