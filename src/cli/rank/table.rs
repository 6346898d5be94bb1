//! Prints a survey as a table.

use super::{Args, Found};
use crate::config::LayerChoice;
use crate::inherit;
use crate::rank::{COLLAPSED, Surveyed};
use crate::run::table::{aligned, count};
use crate::text;

impl Args {
    /// Returns the table of the model, that of the model it is compared with, and the verdict.
    pub(super) fn text(&self, found: &Found) -> String {
        let mut out = String::new();
        if let Some((name, ranks)) = &found.against {
            out.push_str(&format!("{}\n", text::clean(name)));
            out.push_str(&layers(ranks));
            out.push_str(&format!("\n{}\n", text::clean(&self.model)));
        }
        out.push_str(&layers(&found.ranks));
        out.push('\n');
        if let Some((name, ranks)) = &found.against {
            out.push_str(&format!(
                "AvgRank  {:.1}, {} has {:.1}\n",
                found.ranks.avg_rank(),
                text::clean(name),
                ranks.avg_rank()
            ));
        }
        let made_by = found.given.tokenizer.as_ref();
        out.push_str(&format!(
            "windows  {} of {} tokens, of {}{}; tau {}, eta {}{}\n\
             verdict  {}\n",
            found.starts.len(),
            found.ranks.ranks.length,
            count(found.given.tokens.len() as u64),
            made_by.map_or(String::new(), |t| format!(" ({t})")),
            self.tau,
            self.eta,
            if self.batch_mean { ", averaged" } else { "" },
            verdict(&found.ranks),
        ));
        out
    }
}

/// Returns a line for each layer, and the number of collapsed heads.
fn layers(found: &Surveyed) -> String {
    let r = &found.ranks;
    let most = r.max_rank.iter().copied().fold(1.0, f64::max);
    // The width that the other columns and the heads leave of 80.
    let n_head = r.rank.first().map_or(0, Vec::len);
    let cells = 35usize.saturating_sub(n_head).clamp(6, 16);
    let titles = [
        "layer",
        "MaxRank",
        "+/-",
        "",
        "AvgMass",
        "influence",
        "heads",
    ];
    let mut rows = vec![titles.map(String::from)];
    for layer in 0..r.max_rank.len() {
        let rank = r.max_rank[layer];
        let lazy = match (r.lazy_layers.contains(&layer), rank < COLLAPSED) {
            (true, _) => " LAZY",
            (false, true) => " nearly lazy",
            (false, false) => "",
        };
        // 1.00 is shown only if every k* is one.
        let shown = match lazy {
            " LAZY" => "1.00".to_string(),
            _ => format!("{:.2}", rank.max(1.01)),
        };
        rows.push([
            layer.to_string(),
            shown,
            format!("{:.2}", found.spread(layer)),
            format!("{}{lazy}", bar(rank / most, cells)),
            format!("{:.2}", r.avg_mass[layer]),
            format!("{:.3}", found.influence[layer]),
            heads(&r.rank[layer], r.length),
        ]);
    }
    let mut out = aligned(&rows, &[3, 6]);
    for (tau, ranks) in &found.sweep {
        out.push_str(&format!("MaxRank at tau {tau:.2}\n"));
        for (i, ten) in ranks.chunks(10).enumerate() {
            let ten: Vec<String> = ten.iter().map(|r| format!("{r:6.1}")).collect();
            out.push_str(&format!("  from {:3} {}\n", 10 * i, ten.concat()));
        }
    }
    out.push_str(&format!(
        "heads    {} of {} with a rank below 2 (·), {} of rank 1 in every window\n",
        found.collapsed_heads(),
        n_head * r.rank.len(),
        r.heads_at_one,
    ));
    out
}

/// Returns the number of layers to inherit, and the reason.
fn verdict(found: &Surveyed) -> String {
    let n = found.ranks.max_rank.len();
    let auto = LayerChoice::Auto;
    let chosen = inherit::choose(&auto, n, &found.ranks.max_rank).map_or(0, |l| l.len());
    let (potent, lazy) = (found.potent_prefix(), found.nearly_lazy_layers().len());
    let why = match (potent, lazy) {
        (_, 0) => "no layer is lazy: start with half of them".into(),
        (0, _) => "the first layer has already collapsed: start with 1, the minimum".into(),
        (p, l) if chosen == p => {
            format!("layer {p} is the first of {l} collapsed layers: inherit those before it")
        }
        (p, l) => format!(
            "layers 0 to {} are potent and {l} collapsed: start with half",
            p - 1
        ),
    };
    format!("inherit {chosen} of {n} layers\n         {why}")
}

/// Returns a bar of up to `most` cells.
fn bar(share: f64, most: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let cells = (8.0 * most as f64 * share).round() as usize;
    format!("{}{}", "█".repeat(cells / 8), EIGHTHS[cells % 8])
}

/// Returns a character for each head, by its rank on a logarithmic scale up to the windows' length; a dot for a collapsed head.
fn heads(ranks: &[f64], length: usize) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = (length as f64 / COLLAPSED).ln().max(1e-9);
    let sign = |rank: &f64| match *rank < COLLAPSED {
        true => '·',
        false => SIGNS[((8.0 * (rank / COLLAPSED).ln() / most) as usize).min(7)],
    };
    ranks.iter().map(sign).collect()
}
