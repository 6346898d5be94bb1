//! A GPU computes with heirloom's own kernels: candle's are compiled for a single kind of card, by the compiler of the build machine.
//! So code that may run on a GPU must not call an operation of candle's tensors that needs a kernel.

use std::path::{Path, PathBuf};

/// Calls of operations that launch a kernel on a GPU. Views, copies and zeros (a memset) do not.
const KERNELS: [&str; 27] = [
    "Tensor::ones(",
    "Tensor::full(",
    "Tensor::arange(",
    "Tensor::cat(",
    "Tensor::stack(",
    ".argmax(",
    ".argmin(",
    ".index_select(",
    ".index_add(",
    ".gather(",
    ".scatter_add(",
    ".to_dtype(",
    ".contiguous(",
    ".matmul(",
    ".affine(",
    ".broadcast_add(",
    ".broadcast_sub(",
    ".broadcast_mul(",
    ".broadcast_div(",
    ".where_cond(",
    ".sum_all(",
    ".sum_keepdim(",
    ".mean_all(",
    ".max_keepdim(",
    ".sqr()?",
    ".ones_like(",
    ".softmax(",
];

/// Folders whose code runs only on the CPU: the oracle of the selftest, the CPU's ops, the demo.
const ON_THE_CPU: [&str; 3] = ["src/selftest/oracle", "src/ops/cpu", "src/demo"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_operation_of_candle_needs_a_kernel() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    sources(&root.join("src"), &mut all);
    let mut found = Vec::new();
    let mut with_tensors = 0;
    for path in all {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .to_string();
        let test = name.ends_with("tests.rs") || name.contains("/tests/");
        if test || ON_THE_CPU.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("candle_core") {
            continue;
        }
        with_tensors += 1;
        // Unit tests come last in a file.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (i, line) in code.lines().enumerate() {
            if KERNELS.iter().any(|kernel| line.contains(kernel)) {
                found.push(format!("{name}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert!(with_tensors > 30, "{with_tensors}");
    assert!(found.is_empty(), "{found:#?}");
}
