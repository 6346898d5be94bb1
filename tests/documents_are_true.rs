//! Checks that documents repeat the program's tables and output correctly. `UPDATE_DOCS=1 cargo test --test
//! documents_are_true` writes them again.

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
fn the_tutorial_has_the_keys_that_matter() {
    let (_, text) = document("docs/tutorial.md");
    let (before, rest) = text
        .split_once("from the program's own.\n\n")
        .expect("a table of keys");
    let (_, after) = rest
        .split_once("\nEvery key and command:")
        .expect("a link after it");
    let table = heirloom::dashboard::keymap::main_keys_table();
    same(
        "docs/tutorial.md",
        &format!("{before}from the program's own.\n\n{table}\nEvery key and command:{after}"),
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

/// The documents quote the program's table of a GPU's run, whose journal is kept with them.
#[test]
fn the_results_are_those_of_the_run() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runs");
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .args(["show", "gpt2-books", "--runs"])
        .arg(runs)
        .output()
        .unwrap();
    assert!(out.status.success());
    let shown = String::from_utf8(out.stdout).unwrap();
    assert!(shown.contains("cuda:0 NVIDIA H200, 16 threads"), "{shown}");
    let table = shown.lines().skip_while(|line| !line.starts_with("phase "));
    let table: Vec<&str> = table.take_while(|line| !line.starts_with("gap:")).collect();
    assert_eq!(table.len(), 5, "{shown}");
    let (_, text) = document("docs/results.md");
    assert!(text.contains(&table.join("\n")), "{}", table.join("\n"));
}

/// Returns every page of Markdown for users.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/how-to"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    pages
}

/// `scripts/run_docs.sh` runs or counts every block of shell commands by its tag.
#[test]
fn every_block_of_shell_has_a_tag() {
    let mut blocks = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (line, row) in (1..).zip(text.lines()) {
            let Some(info) = row.trim_start().strip_prefix("```sh") else {
                continue;
            };
            let place = format!("{}:{line}", page.display());
            let tags = ["run", "long", "gpu", "net"];
            assert!(
                tags.contains(&info.trim()),
                "{place}: {row:?}: give it one of {tags:?}"
            );
            blocks += 1;
        }
    }
    assert!(blocks > 20, "{blocks}");
}

/// Returns GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let headings = |page: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(page).unwrap();
        text.lines()
            .filter(|l| l.starts_with('#'))
            .map(anchor)
            .collect()
    };
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            let is_page = target.extension().is_some_and(|e| e == "md");
            if is_page && !heading.is_empty() {
                assert!(
                    headings(&target).contains(&heading.to_string()),
                    "{}: {link}: there is no such heading",
                    page.display()
                );
            }
        }
    }
}
