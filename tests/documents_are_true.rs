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
fn the_readme_has_the_keys_that_matter() {
    let (_, text) = document("README.md");
    let (before, rest) = text.split_once("## Keys\n\n").expect("a section on keys");
    let (_, after) = rest.split_once("\n## ").expect("a section after it");
    let table = heirloom::dashboard::keymap::readme_table();
    let more = "Every key and command: [docs/keys.md](docs/keys.md).\n";
    same(
        "README.md",
        &format!("{before}## Keys\n\n{table}\n{more}\n## {after}"),
    );
}

#[test]
fn the_page_of_keys_has_every_key_and_command() {
    same("docs/keys.md", &heirloom::dashboard::keymap::document());
}

#[test]
fn the_config_page_has_every_key() {
    let head = "# Config\n\n\
        A run starts from a TOML file. A flag (`--set section.key=value`) beats the file, the file beats the default. \
        Paths are relative to the file. Unknown keys are refused.\n\n\
        `$NAME` and `${NAME}` take the value of an environment variable in the paths of `data.train`, `data.val`, `data.tokenizer`, `reference.path` and `eval.data`,\n\
        and nowhere else: a name (`hf:owner/name`, `builtin:...`) and every other value stay as they are written. `$$` is a plain `$`, `~/` the\n\
        home directory. A run's `config.toml`, its checkpoints and the model card of an export keep the name of the variable and not its value,\n\
        so that the variable must be set for a resume; one that leads to another text is found out, because the tokens are compared. A variable\n\
        that looks like a secret by its name (`HF_TOKEN`, `..._SECRET`, `..._PASSWORD`, `..._KEY`) is refused.\n\n";
    let page = format!("{head}{}", heirloom::config::keys_markdown());
    same("docs/config.md", &(page.trim_end().to_string() + "\n"));
}

/// The journal of a GPU's run is kept with the documents: what they say of it is what the program says of it.
#[test]
fn the_results_are_those_of_the_run() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runs");
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .args(["show", "gpt2-books", "--runs"])
        .arg(runs)
        .output()
        .unwrap();
    assert!(out.status.success());
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains("cuda:0 NVIDIA H200, 16 threads"), "{told}");
    let table = told.lines().skip_while(|line| !line.starts_with("phase "));
    let table: Vec<&str> = table.take_while(|line| !line.starts_with("gap:")).collect();
    assert_eq!(table.len(), 5, "{told}");
    let (_, text) = document("docs/results.md");
    assert!(text.contains(&table.join("\n")), "{}", table.join("\n"));
}
