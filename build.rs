//! Names the version of this build, and compiles the CUDA kernels to PTX when the `cuda` feature is on.
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
    println!("cargo:rustc-env=HEIRLOOM_VERSION={}", version());
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

/// The package's version, in release builds followed by the commit: `0.1.0 (1a2b3c4d5)`. The commit is that of
/// `HEIRLOOM_COMMIT` where it is set, else git's, else left out. Other builds leave it out as well, since every commit would
/// compile the program again.
fn version() -> String {
    println!("cargo:rerun-if-env-changed=HEIRLOOM_COMMIT");
    let package = env::var("CARGO_PKG_VERSION").expect("cargo sets CARGO_PKG_VERSION");
    let given = env::var("HEIRLOOM_COMMIT").ok().filter(|c| !c.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    match given.or_else(|| is_release.then(commit).flatten()) {
        Some(commit) => format!("{package} ({commit})"),
        None => package,
    }
}

/// The commit of the working tree, if this package is the root of a git repository and git is installed.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let done = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(done.stdout).ok()?;
        (done.status.success()).then(|| text.trim().to_string())
    };
    let root = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if root.canonicalize().ok()? != env::current_dir().ok()?.canonicalize().ok()? {
        return None;
    }
    // Grows with every commit and checkout. A path that does not exist would run this script every time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).is_file() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=9", "HEAD"])
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
