//! Reads ranks of a reference's layers that an earlier command has measured.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::file;
use crate::tensors::Source;
use crate::text;

/// Most bytes of a rank report.
const LARGEST: u64 = 16 << 20;

/// Reads MaxRank by layer from JSON or from a probe's file.
pub(super) fn ranks(path: &Path, n_layer: usize) -> Result<Vec<f64>> {
    let shown = text::path(path).to_string();
    let ranks: Vec<f64> = if path.extension().is_some_and(|e| e == "safetensors") {
        let source = Source::open(path)?;
        let heads = source.info("rank").filter(|info| info.shape.len() == 2);
        let Some(info) = heads else {
            bail!("{shown} holds no ranks by layer and head");
        };
        let mut values = vec![0.0; info.len()];
        source.read_into("rank", &mut values)?;
        let max = |heads: &[f32]| heads.iter().fold(0f64, |a, &x| a.max(f64::from(x)));
        values.chunks(info.row().max(1)).map(max).collect()
    } else {
        let text = file::read_text(path, LARGEST).with_context(|| shown.clone())?;
        let json: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{shown} is not valid JSON"))?;
        let found = [&json["max_rank"], &json["reference"]["max_rank"]];
        let found = found.into_iter().find(|v| v.is_array());
        let found = found.with_context(|| format!("{shown} has no list \"max_rank\""))?;
        serde_json::from_value(found.clone())
            .with_context(|| format!("{shown}: \"max_rank\" is not a list of numbers"))?
    };
    if ranks.len() != n_layer {
        bail!(
            "{shown} has the ranks of {} layers, the reference has {n_layer}",
            ranks.len()
        );
    }
    Ok(ranks)
}
