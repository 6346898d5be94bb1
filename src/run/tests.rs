//! Checks that this folder does not depend on certain others.

use std::fs;
use std::path::{Path, PathBuf};

/// Parts of the program that a run's files, events and screens must be usable without.
const FORBIDDEN: [&str; 5] = ["device", "model", "ops", "tensors", "train"];

/// The Rust files below `dir` that are not tests.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "tests" | "tests.rs" => {}
            _ if path.is_dir() => sources(&path, found),
            name if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
}

/// A formatted file's code, without comments and without items that are compiled for tests alone.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push_str(line.split("//").next().unwrap());
            code.push('\n');
            continue;
        }
        let indentation = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indentation}}}");
        let mut item = lines.by_ref().skip_while(|l| l.trim().starts_with("#["));
        let first = item.next().unwrap_or_default();
        if !first.ends_with([';', '}']) {
            item.find(|l| *l == closing || *l == format!("{closing};"));
        }
    }
    code
}

/// The crate's modules that code names from the root: `crate::a::b` and `crate::{a, b::c}`.
fn modules_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    let word = |text: &str| -> String {
        let letters = text
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_');
        letters.collect()
    };
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    named.push(word(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    named
}

#[test]
fn imports_are_found_and_tests_are_left_out() {
    let text = "use crate::{\n    file, model::{A, B},\n    text};\nfn f(x: crate::ops::Y) {} // crate::train\n\
                #[cfg(test)]\nuse crate::device::Z;\n#[cfg(test)]\nmod tests {\n    use crate::tensors;\n    {\n    }\n}\nuse crate::run;\n";
    let wanted = ["file", "model", "text", "ops", "run"];
    assert_eq!(modules_named(&code(text)), wanted);
}

#[test]
fn a_run_knows_no_device_no_tensor_and_no_model() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/run"),
        &mut files,
    );
    assert!(files.len() > 50, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for module in modules_named(&code(&text)) {
            let is_allowed = !FORBIDDEN.contains(&module.as_str());
            assert!(is_allowed, "{} uses crate::{module}", file.display());
        }
    }
}
