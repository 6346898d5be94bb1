//! Reads arbitrary bytes as a safetensors file. Tensors of a file that opens lie within it and can be read or refused, and messages
//! contain no terminal control sequences.

#![no_main]

mod model_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| model_file::open_and_read("model.safetensors", bytes));
