//! What documents repeat from the program is what the program says. `UPDATE_DOCS=1 cargo test --test
//! documents_are_true` writes it anew.

use std::path::{Path, PathBuf};

fn document(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

#[track_caller]
fn same(name: &str, wanted: &str) {
    let (path, text) = document(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "{name} is out of date: UPDATE_DOCS=1 cargo test --test documents_are_true"
    );
}

#[test]
fn the_readme_has_every_key() {
    let (_, text) = document("README.md");
    let (before, rest) = text.split_once("## Keys\n\n").expect("a section on keys");
    let (_, after) = rest.split_once("\n## ").expect("a section after it");
    let table = heirloom::dashboard::keys::markdown_table();
    same(
        "README.md",
        &format!("{before}## Keys\n\n{table}\n## {after}"),
    );
}

#[test]
fn the_config_page_has_every_key() {
    let head = "# Config\n\n\
        A run starts from a TOML file. A flag (`--set section.key=value`) beats the file, the file beats the default. \
        Paths are relative to the file; `$NAME` takes an environment variable. Unknown keys are refused.\n\n";
    let page = format!("{head}{}", heirloom::config::keys_markdown());
    same("docs/config.md", &(page.trim_end().to_string() + "\n"));
}
