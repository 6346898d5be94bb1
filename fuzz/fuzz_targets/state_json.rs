//! Reads arbitrary bytes as the `state.json` of a small checkpoint. The checkpoint must be rejected with a message without
//! terminal control sequences, or its numbers must not overflow and its names must stay in its folder.

#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::run::dir::{RunDir, is_name};
use heirloom::text::is_invisible;
use heirloom::train::checkpoint::Checkpoints;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "b0-s00000020-round-1";
const FILES: [(&str, &[u8]); 4] = [
    (
        "config.json",
        include_bytes!("../seeds/checkpoint/config.json"),
    ),
    (
        "model.safetensors",
        include_bytes!("../seeds/checkpoint/model.safetensors"),
    ),
    (
        "optimizer.safetensors",
        include_bytes!("../seeds/checkpoint/optimizer.safetensors"),
    ),
    (
        "tokenizer.json",
        include_bytes!("../seeds/checkpoint/tokenizer.json"),
    ),
];

/// Returns the checkpoint of a run of this process, and the run.
fn checkpoint() -> &'static (PathBuf, RunDir) {
    static DIR: OnceLock<(PathBuf, RunDir)> = OnceLock::new();
    DIR.get_or_init(|| {
        let run = scratch::directory();
        let dir = run.join("checkpoints").join(NAME);
        std::fs::create_dir_all(&dir).expect("a directory for the checkpoint");
        for (name, bytes) in FILES {
            std::fs::write(dir.join(name), bytes).expect("the checkpoint can be written");
        }
        (dir, RunDir::at(&run))
    })
}

fn harmless(text: &str) {
    let draws = |c: char| c != '\n' && (c.is_control() || is_invisible(c));
    assert!(!text.is_empty() && !text.contains(draws), "{text:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let (dir, run) = checkpoint();
    std::fs::write(dir.join("state.json"), bytes).expect("the state can be written");
    let checkpoints = Checkpoints::at(run);
    match checkpoints.to_resume("latest") {
        Ok((name, damage)) => {
            assert_eq!(name.as_deref(), Some(NAME));
            harmless(damage.as_deref().unwrap_or("none"));
        }
        Err(error) => harmless(&error.to_string()),
    }
    let state = match checkpoints.state(NAME) {
        Ok(state) => state,
        Err(error) => return harmless(&error.to_string()),
    };
    // The first uses of the state by a trainer.
    assert!(is_name(&checkpoints.name_for(&state)));
    assert!(state.branch < u32::MAX && state.due.max(state.phase_step) < u64::MAX / 2);
    let steps: u64 = state.recipe_rounds().iter().map(|r| r.1).sum();
    let (round, step) = state.schedule_place();
    assert!(step <= state.phase_step + steps, "{round}");
    let _ = (
        state.stage(),
        state.rate_scale(),
        state.eval_now(),
        state.trains(),
    );
    match checkpoints.open_saved(NAME) {
        Ok(saved) => assert_eq!(
            saved.state.optimizer_steps.len(),
            saved.files.params().len()
        ),
        Err(error) => harmless(&error.to_string()),
    }
});
