//! Compiles the CUDA kernels to PTX when the `cuda` feature is on.
//!
//! The compiler is `$NVCC`, else `$CUDA_HOME/bin/nvcc`, else `nvcc`. PTX for compute capability 8.0 runs on every later GPU:
//! the driver makes machine code of it when the program first uses it. The PTX gets the oldest version that has its
//! instructions ([`ptx`]), and `ptxas`, where it is found next to the compiler, confirms that.

#[path = "build/ptx.rs"]
mod ptx;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const KERNELS: &str = "src/ops/cuda/kernels";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/ptx.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed={KERNELS}");
    println!("cargo:rerun-if-env-changed=NVCC");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let home = env::var_os("CUDA_HOME").map(PathBuf::from);
    let tool = |name: &str| match &home {
        Some(home) => home.join("bin").join(name),
        None => PathBuf::from(name),
    };
    let nvcc = env::var_os("NVCC").map_or_else(|| tool("nvcc"), PathBuf::from);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for entry in fs::read_dir(KERNELS).expect("the kernels lie in the repository") {
        let file = entry.expect("a readable directory").path();
        if file.extension().is_some_and(|e| e == "cu") {
            compile(&nvcc, &tool("ptxas"), &file, &out);
        }
    }
}

/// Compiles one file of kernels into the directory `out`.
fn compile(nvcc: &Path, ptxas: &Path, file: &Path, out: &Path) {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    // What only Hopper has is made for it alone.
    let (compute, card) = match ptx::is_hopper(&stem) {
        true => ("-arch=compute_90a", "-arch=sm_90a"),
        false => ("-arch=compute_80", "-arch=sm_80"),
    };
    let done = Command::new(nvcc)
        .args(["-std=c++17", compute, "--ptx", "--output-directory"])
        .arg(out)
        .arg(file)
        .status();
    match done {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} on {}: {status}", nvcc.display(), file.display()),
        Err(e) => panic!(
            "the feature `cuda` needs NVIDIA's compiler, and {} cannot be run: {e}",
            nvcc.display()
        ),
    }
    let written = out.join(format!("{stem}.ptx"));
    let text = fs::read_to_string(&written).expect("the compiler has written PTX");
    // What stands in for the compiler where only types are checked writes nothing.
    if text.trim().is_empty() {
        return;
    }
    let text = ptx::lowered(&text, ptx::version_of(&stem));
    let text = text.unwrap_or_else(|e| panic!("{}: {e}", written.display()));
    fs::write(&written, text).expect("a directory to write to");
    let checked = Command::new(ptxas)
        .args([card, "-o", "/dev/null"])
        .arg(&written)
        .output();
    if let Ok(checked) = checked
        && !checked.status.success()
    {
        let said = String::from_utf8_lossy(&checked.stderr);
        panic!("{} does not assemble: {}", written.display(), said.trim());
    }
}
