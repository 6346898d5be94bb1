//! Compiles the CUDA kernels to PTX when the `cuda` feature is on.
//!
//! The compiler is `$NVCC`, else `$CUDA_HOME/bin/nvcc`, else `nvcc`. PTX for compute capability 8.0 runs on every later GPU:
//! the driver makes machine code of it when the program first uses it.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

const KERNELS: &str = "src/ops/cuda/kernels";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed={KERNELS}");
    println!("cargo:rerun-if-env-changed=NVCC");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let nvcc = env::var_os("NVCC").map_or_else(
        || match env::var_os("CUDA_HOME") {
            Some(home) => PathBuf::from(home).join("bin/nvcc"),
            None => PathBuf::from("nvcc"),
        },
        PathBuf::from,
    );
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    for entry in fs::read_dir(KERNELS).expect("the kernels lie in the repository") {
        let file = entry.expect("a readable directory").path();
        if file.extension().is_none_or(|e| e != "cu") {
            continue;
        }
        // What only Hopper has is made for it alone.
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let architecture = match name.ends_with("_hopper") {
            true => "-arch=compute_90a",
            false => "-arch=compute_80",
        };
        let done = Command::new(&nvcc)
            .args(["-std=c++17", architecture, "--ptx", "--output-directory"])
            .arg(&out)
            .arg(&file)
            .status();
        match done {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{} on {}: {status}", nvcc.display(), file.display()),
            Err(e) => panic!(
                "the feature `cuda` needs NVIDIA's compiler, and {} cannot be run: {e}",
                nvcc.display()
            ),
        }
    }
}
