//! Prints the source of each tensor of the new model, as a table.

use super::{Args, Recipe};
use crate::inherit;
use crate::model::{DecoderConfig, Part};
use crate::run::table::{aligned, count, plural};
use crate::text;

impl Args {
    /// Returns a table of the source of each tensor, and of the number of parameters.
    pub(super) fn table(&self, recipe: &Recipe, shape: &DecoderConfig, what: &[Part]) -> String {
        let params = shape.params();
        let size = |part: Part, layer: Option<usize>| -> u64 {
            let of = params
                .iter()
                .filter(|p| part.contains(p.part) && p.layer == layer);
            of.map(|p| p.len() as u64).sum()
        };
        let taken = inherit::parts(what, shape.tied_head);
        let label = |source: usize, what: &str| match recipe.names.len() {
            1 => what.to_string(),
            _ => format!("{} {what}", text::clean(&recipe.names[source])),
        };
        let mut rows =
            vec![["layer", "comes from", "at random", "parameters", "scale"].map(String::from)];
        let mut row =
            |name: String, from: String, parts: &[Part], layer: Option<usize>, scale: String| {
                let there: Vec<Part> = parts
                    .iter()
                    .copied()
                    .filter(|p| size(*p, layer) > 0)
                    .collect();
                if there.is_empty() {
                    return;
                }
                let random: Vec<&str> = there
                    .iter()
                    .filter(|p| !taken.contains(p))
                    .map(|p| p.name())
                    .collect();
                let all_random = random.len() == there.len();
                rows.push([
                    name,
                    if all_random { "-".into() } else { from },
                    match random.len() {
                        0 => String::new(),
                        _ if all_random => "all".into(),
                        _ => random.join(" "),
                    },
                    count(there.iter().map(|p| size(*p, layer)).sum()),
                    scale,
                ]);
            };
        for part in [Part::Embeddings, Part::Positions] {
            row(
                part.name().into(),
                label(recipe.ends().source(part), part.name()),
                &[part],
                None,
                String::new(),
            );
        }
        let norms: &[Part] =
            match [Part::AttentionNorm, Part::MlpNorm].map(|norm| taken.contains(&norm)) {
                [a, b] if a == b => &[Part::Norms],
                _ => &[Part::AttentionNorm, Part::MlpNorm],
            };
        let parts = [norms, &[Part::Attention, Part::Mlp]].concat();
        for (i, t) in recipe.layers.iter().enumerate() {
            let scale = match shape.attention_scales[i] {
                1.0 => String::new(),
                s => format!("{s:.4}"),
            };
            let from = label(t.source, &format!("layer {}", t.layer));
            row(i.to_string(), from, &parts, Some(i), scale);
        }
        for part in [Part::FinalNorm, Part::Head] {
            let name = part.name().replace('_', " ");
            let from = label(recipe.ends().source(part), &name);
            row(name, from, &[part], None, String::new());
        }
        let mut out = aligned(&rows, &[0, 1, 2]);
        let all: u64 = recipe.files[0].config.parameters();
        let reference = &recipe.files[0].config;
        out.push_str(&format!(
            "\n{} parameters in {}; the reference has {} in {}\n",
            count(shape.parameters()),
            plural(shape.n_layer, "layer"),
            count(all),
            reference.n_layer
        ));
        out.push_str(&recipe.changes(shape));
        out
    }
}
