//! The checkpoints that hold the results of a run: its reference, the end of each round, the controls.

use anyhow::{Result, bail};

use crate::run::dir::RunDir;
use crate::run::event::{Phase, PhaseResult};
use crate::run::table;
use crate::train::checkpoint::Checkpoints;
use crate::train::state::TrainState;

/// The checkpoint at the end of a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    pub phase: Phase,
    /// Directory under `checkpoints/`.
    pub checkpoint: String,
}

/// The results of a run that are on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// Checkpoints in the order of training.
    pub kept: Vec<Finished>,
    /// Finished phases whose checkpoint has been deleted.
    pub deleted: Vec<Phase>,
    /// The unfinished phase, if there is one.
    pub unfinished: Option<Phase>,
}

/// Finds the checkpoints of a run's finished phases, except those on branches that a rollback has abandoned.
///
/// # Errors
/// When no checkpoint holds a result.
pub fn results(run: &RunDir) -> Result<Results> {
    let checkpoints = Checkpoints::at(run);
    let names = checkpoints.names().into_iter();
    let states: Vec<(String, TrainState)> = names
        .filter_map(|name| {
            let state = checkpoints.state(&name).ok()?;
            Some((name, state))
        })
        .collect();
    let latest = checkpoints.resolve("latest").ok();
    let latest = latest.and_then(|latest| states.iter().find(|(name, _)| *name == latest));
    let latest = latest.or_else(|| states.iter().max_by_key(|(_, state)| state.seq));
    let name = run.argument();
    let Some((_, latest)) = latest else {
        bail!("run {name} has no checkpoint yet; one is written when its reference is finished");
    };
    let mut found = Results {
        kept: Vec::new(),
        deleted: Vec::new(),
        unfinished: None,
    };
    let over = latest.results();
    for (phase, result) in &over {
        // The end of a phase is the checkpoint in that phase that contains its result.
        let ends = states.iter().filter(|(_, state)| {
            let own = state.results().into_iter().find(|(p, _)| p == phase);
            state.phase == *phase && own.is_some_and(|(_, own)| is_same(own, result))
        });
        match ends.max_by_key(|(_, state)| state.seq) {
            Some((checkpoint, _)) => found.kept.push(Finished {
                phase: phase.clone(),
                checkpoint: checkpoint.clone(),
            }),
            None => found.deleted.push(phase.clone()),
        }
    }
    if !over.iter().any(|(phase, _)| *phase == latest.phase) {
        found.unfinished = Some(latest.phase.clone());
    }
    if found.kept.is_empty() {
        bail!(
            "no phase of run {name} has a checkpoint of its end ({} at step {} of {}); {name}@latest is its current model",
            table::phase_name(&latest.phase),
            latest.phase_step,
            latest.steps
        );
    }
    Ok(found)
}

/// Whether two results belong to the same training.
fn is_same(a: &PhaseResult, b: &PhaseResult) -> bool {
    (a.steps, a.tokens, a.layers, a.val_loss.to_bits())
        == (b.steps, b.tokens, b.layers, b.val_loss.to_bits())
}
