//! The ranks of a run of several, as JSON and as text.

use serde_json::{Value, json};

use crate::run::state::RunState;

/// Adds `ranks` for a run of several: their number, launcher and hosts, and what each does per step.
pub fn extend(all: &mut Value, state: &RunState) {
    let Some(world) = state.world() else {
        return;
    };
    let mut ranks = json!({ "world": world });
    if let Some(layout) = state.layout() {
        ranks["launcher"] = json!(layout.launcher);
        ranks["hosts"] = json!(layout.hosts);
    }
    if let Some(times) = state.rank_times() {
        ranks["steps"] = json!(times.steps);
        ranks["compute_seconds"] = json!(times.compute);
        ranks["wait_seconds"] = json!(times.wait);
        ranks["exchange_seconds"] = json!(times.exchange);
        ranks["slowest"] = json!(times.slowest().map(|(rank, _)| rank));
    }
    all["ranks"] = ranks;
}

/// Returns labelled lines for a run of several ranks: how they are laid out, what they do per step.
pub fn lines(state: &RunState) -> Vec<(&'static str, String)> {
    let Some(world) = state.world() else {
        return Vec::new();
    };
    let words = state
        .layout()
        .map_or_else(|| format!("{world} ranks"), |layout| layout.words());
    let mut lines = vec![("ranks", words)];
    if let Some(times) = state.rank_times() {
        lines.push(("", times.words()));
    }
    lines
}
