//! Draws the map of heads, and the attention of single heads.

use plotters::prelude::*;

use super::scale::{Area, Drawn, Scale};
use crate::rank::maps::Map;
use crate::rank::survey::{COLLAPSED, Surveyed};

/// Draws a cell for each head, darker for a higher rank on a logarithmic scale. Collapsed heads are crossed out.
pub(super) fn ranks<D: DrawingBackend>(
    area: &Area<D>,
    name: &str,
    found: &Surveyed,
    px: Scale,
) -> Drawn<D>
where
    D::ErrorType: 'static,
{
    let r = &found.ranks;
    let (layers, heads) = (r.rank.len(), r.rank.first().map_or(0, Vec::len));
    let title = format!(
        "{name}: heads by mean k*, white 1 to black {}; crossed out below {COLLAPSED} ({} of {})",
        r.length,
        found.collapsed_heads(),
        layers * heads
    );
    let mut chart = ChartBuilder::on(area)
        .caption(title, px.title())
        .margin(px.of(10))
        .x_label_area_size(px.of(36))
        .y_label_area_size(px.of(44))
        .build_cartesian_2d(-0.5..layers as f64 - 0.5, -0.5..heads as f64 - 0.5)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("layer")
        .y_desc("head")
        .axis_desc_style(px.label())
        .label_style(px.label())
        .x_labels(layers.min(16))
        .y_labels(heads.min(12))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let most = (r.length as f64).ln().max(1e-9);
    let thin = px.of(1);
    for (l, ranks) in r.rank.iter().enumerate() {
        for (h, rank) in ranks.iter().enumerate() {
            let (x, y) = (l as f64, h as f64);
            let corners = [(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)];
            let dark = rank.max(1.0).ln() / most;
            chart.draw_series([Rectangle::new(corners, gray(dark).filled())])?;
            chart.draw_series([Rectangle::new(corners, BLACK.mix(0.3).stroke_width(thin))])?;
            if *rank < COLLAPSED {
                let lines = [
                    vec![(x - 0.4, y - 0.4), (x + 0.4, y + 0.4)],
                    vec![(x - 0.4, y + 0.4), (x + 0.4, y - 0.4)],
                ];
                let crossed = lines.map(|line| PathElement::new(line, BLACK.stroke_width(thin)));
                chart.draw_series(crossed)?;
            }
        }
    }
    Ok(())
}

/// Draws a head's mean attention: a row for each token of the window, and a column for each token that it attends to.
pub(super) fn attention<D: DrawingBackend>(
    area: &Area<D>,
    map: &Map,
    found: &Surveyed,
    px: Scale,
) -> Drawn<D>
where
    D::ErrorType: 'static,
{
    let (layer, head) = map.head;
    let title = format!(
        "layer {layer}, head {head}: k* {:.1}, m* {:.1}",
        found.ranks.rank[layer][head], found.ranks.mass[layer][head]
    );
    let t = map.length;
    let mut chart = ChartBuilder::on(area)
        .caption(title, px.title())
        .margin(px.of(8))
        .x_label_area_size(px.of(32))
        .y_label_area_size(px.of(40))
        .build_cartesian_2d(0.0..t as f64, t as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("attended to")
        .y_desc("token")
        .axis_desc_style(px.label())
        .label_style(px.label())
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    // As many cells as can be seen: larger maps show the maximum of each block, so that thin lines stay visible.
    let side = t.div_ceil(MOST_CELLS);
    let cells = t.div_ceil(side);
    let level = |i: usize, j: usize| -> u32 {
        let rows = map.mean.chunks_exact(t).skip(i * side).take(side);
        let block = rows.flat_map(|row| &row[j * side..t.min((j + 1) * side)]);
        let most = block.copied().fold(0.0, f32::max);
        (most.clamp(0.0, 1.0).sqrt() * LEVELS as f32).round() as u32
    };
    for i in 0..cells {
        let mut j = 0;
        while j < cells {
            let of = level(i, j);
            let end = (j + 1..cells).find(|&next| level(i, next) != of);
            let end = end.unwrap_or(cells);
            if of > 0 {
                let at = |n: usize| (n * side).min(t) as f64;
                let corners = [(at(j), at(i)), (at(end), at(i + 1))];
                let shade = gray(f64::from(of) / f64::from(LEVELS));
                chart.draw_series([Rectangle::new(corners, shade.filled())])?;
            }
            j = end;
        }
    }
    let frame = [(0.0, 0.0), (t as f64, t as f64)];
    chart.draw_series([Rectangle::new(frame, BLACK.stroke_width(px.of(1)))])?;
    Ok(())
}

/// Shades of an attention map, by the root of the attention: sqrt shows both the sink and the rest.
const LEVELS: u32 = 24;
/// Cells of a map each way.
const MOST_CELLS: usize = 128;

fn gray(dark: f64) -> RGBColor {
    let level = (255.0 * (1.0 - dark.clamp(0.0, 1.0))) as u8;
    RGBColor(level, level, level)
}
