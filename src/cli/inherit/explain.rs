//! Prints the measure of each layer and the layers that it chooses, as a table or as JSON.

use anyhow::Result;
use serde_json::{Value, json};

use super::measuring::Found;
use super::{Args, Recipe};
use crate::cli::say;
use crate::config::Measure;
use crate::run::table::{aligned, count, plural};

impl Args {
    /// Prints the measure of each layer, and whether it is taken.
    pub(super) fn explain(&self, recipe: &Recipe) -> Result<()> {
        let n_layer = recipe.files[0].config.n_layer;
        let taken: Vec<usize> = recipe.layers.iter().map(|t| t.layer).collect();
        match self.json {
            true => say::json(&self.json_of(n_layer, &taken, recipe.found.as_ref()))?,
            false => say::out(&text_of(n_layer, &taken, recipe.found.as_ref()))?,
        }
        Ok(())
    }

    fn json_of(&self, n_layer: usize, taken: &[usize], found: Option<&Found>) -> Value {
        let mut all = json!({
            "model": self.from,
            "layers": self.layers.trim(),
            "n_layer": n_layer,
            "kept": taken,
        });
        let Some(found) = found else {
            let dropped = (0..n_layer).filter(|layer| !taken.contains(layer));
            all["dropped"] = dropped.collect();
            all["measure"] = Value::Null;
            return all;
        };
        let m = &found.measured;
        let more = json!({
            "dropped": m.dropped,
            "measure": m.measure.name(),
            "paper": m.measure.paper(),
            "values": m.values,
            "windows": found.starts.len(),
            "window_length": found.window_length,
            "starts": found.starts,
            "n_tokens": found.n_tokens,
            "tokenizer": found.tokenizer,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        if let Some(whole) = m.whole {
            all["loss"] = whole.into();
            all["vocab"] = found.vocab.into();
            let rounds = m.rounds.iter().map(|round| {
                let (layer, loss) = round.dropped;
                json!({ "dropped": layer, "loss": loss, "without": round.without })
            });
            all["rounds"] = rounds.collect();
        }
        all
    }
}

fn text_of(n_layer: usize, taken: &[usize], found: Option<&Found>) -> String {
    let titles: &[&str] = match found.map(|f| f.measured.measure) {
        None => &["layer", ""],
        Some(Measure::Influence) => &["layer", "influence", ""],
        Some(Measure::Angular) => &["layer", "distance from here", ""],
        Some(Measure::Loss) => &["layer", "loss without", "dropped as", "loss then", ""],
    };
    let mut rows = vec![cells(titles.iter().copied())];
    for layer in 0..n_layer {
        let kept = if taken.contains(&layer) { "taken" } else { "" };
        let figures = found.map_or(Vec::new(), |f| figures(f, layer));
        let all = std::iter::once(layer.to_string()).chain(figures);
        rows.push(cells(
            all.collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .chain([kept]),
        ));
    }
    let mut out = aligned(&rows, &[]);
    let list: Vec<String> = taken.iter().map(usize::to_string).collect();
    out.push_str(&format!(
        "\ntaken    {} of {n_layer}: {}\n",
        plural(taken.len(), "layer"),
        list.join(", ")
    ));
    if let Some(found) = found {
        out.push_str(&facts(found));
    }
    out
}

/// Number of cells in a row of the widest table.
fn cells<'a>(filled: impl Iterator<Item = &'a str>) -> [String; 5] {
    let mut cells = <[String; 5]>::default();
    for (cell, text) in cells.iter_mut().zip(filled) {
        *cell = text.into();
    }
    cells
}

/// Returns the figures of a layer, one for each column.
fn figures(found: &Found, layer: usize) -> Vec<String> {
    let m = &found.measured;
    let shown = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
    match m.measure {
        Measure::Influence | Measure::Angular => vec![shown(m.values.get(layer).copied())],
        Measure::Loss => {
            let first = m.rounds.first();
            let without = first.and_then(|r| r.without.iter().find(|(l, _)| *l == layer));
            let place = m.dropped.iter().position(|&l| l == layer);
            vec![
                shown(without.map(|(_, loss)| *loss)),
                place.map_or(String::new(), |place| (place + 1).to_string()),
                shown(place.map(|place| m.values[place])),
            ]
        }
    }
}

/// Describes the measure, its rule and the text.
fn facts(found: &Found) -> String {
    let m = &found.measured;
    let rule = match m.measure {
        Measure::Influence => {
            "the highest block influence, 1 - the mean cosine of a layer's input and output"
        }
        Measure::Angular => {
            "all but the contiguous block of the least angular distance, arccos(cos)/pi at the last token"
        }
        Measure::Loss => "one layer dropped at a time, the one without which the loss is least",
    };
    let mut out = format!(
        "measure  {}: {rule} ({})\n",
        m.measure.name(),
        m.measure.paper()
    );
    if let Some(whole) = m.whole {
        let last = m.values.last().copied().unwrap_or(whole);
        out.push_str(&format!(
            "loss     {whole:.4} with all layers, {last:.4} with those taken\n"
        ));
    }
    let made_by = found.tokenizer.as_ref();
    out.push_str(&format!(
        "windows  {} of {} tokens, of {}{}\n",
        found.starts.len(),
        found.window_length,
        count(found.n_tokens as u64),
        made_by.map_or(String::new(), |name| format!(" ({name})")),
    ));
    out
}
