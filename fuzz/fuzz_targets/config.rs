//! Reads arbitrary text as a config, alone and as an override. A config that passes every check can be written and read back, and
//! messages about other configs contain no terminal control sequences.

#![no_main]

use heirloom::config::{self, Source};
use heirloom::text::sanitize;
use libfuzzer_sys::fuzz_target;

const GOOD: &str = "data.train = 'builtin:tinyshakespeare'\n[reference.train]\nsteps = 100\n[train]\nsteps = 50\nbatch_tokens = 1024\nlr = 1e-3\n";

fn source(text: &str) -> Source {
    Source::Text {
        name: "fuzzed".into(),
        text: text.into(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Lines that begin with `--set ` are overrides of a good config, the rest is a config.
    let overrides: Vec<String> = text
        .lines()
        .filter_map(|l| l.strip_prefix("--set "))
        .map(String::from)
        .collect();
    let base = if overrides.is_empty() { &*text } else { GOOD };
    match config::load(&source(base), &overrides) {
        Ok(loaded) => {
            let written = config::to_toml(&loaded.config);
            let again = config::load(&source(&written), &[]).expect("what is written can be read");
            assert_eq!(again.config, loaded.config);
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert_eq!(sanitize(problem), *problem);
            }
        }
    }
});
