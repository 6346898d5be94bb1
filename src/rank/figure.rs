//! A survey as a picture, readable without colour: MaxRank and AvgMass by layer, and the map of heads.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::survey::{COLLAPSED, Surveyed};

/// Width of the picture, and heights of its three parts, in pixels.
const WIDTH: u32 = 900;
const CURVE: u32 = 300;
const MOST_MAP: u32 = 700;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The survey of `name` as SVG.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn svg(found: &Surveyed, name: &str) -> Result<String, String> {
    let heads = found.ranks.rank.first().map_or(0, Vec::len) as u32;
    let map = (60 + 24 * heads).min(MOST_MAP);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, 2 * CURVE + map)).into_drawing_area();
        draw(&root, found, name).map_err(|e| e.to_string())?;
        root.present().map_err(|e| e.to_string())?;
    }
    Ok(text)
}

fn draw(root: &Area<'_>, found: &Surveyed, name: &str) -> Drawn {
    root.fill(&WHITE)?;
    let (ranks, rest) = root.split_vertically(CURVE);
    let (masses, heads) = rest.split_vertically(CURVE);
    let r = &found.ranks;
    let title = format!(
        "{name}: MaxRank (largest mean k* of a layer's heads), tau {}, {} windows of {}",
        r.tau, r.windows, r.length
    );
    let spread: Vec<f64> = (0..r.max_rank.len()).map(|l| found.spread(l)).collect();
    curve(&ranks, &title, &r.max_rank, Some(&spread))?;
    let title = format!("AvgMass (mean m* of a layer's heads), eta {}", r.eta);
    curve(&masses, &title, &r.avg_mass, None)?;
    head_map(&heads, found)
}

/// Values by layer, with a band of one standard deviation; layers below [`COLLAPSED`] have open circles.
fn curve(area: &Area<'_>, title: &str, values: &[f64], spread: Option<&[f64]>) -> Drawn {
    let up = |l: usize| spread.map_or(0.0, |s| s[l]);
    let top = (0..values.len())
        .map(|l| values[l] + up(l))
        .fold(2.0, f64::max);
    let last = values.len().max(2) as f64 - 0.5;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(40)
        .build_cartesian_2d(-0.5..last, 0.0..1.05 * top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("layer")
        .x_labels(values.len().min(16))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    let at = |l: usize| l as f64;
    if spread.is_some() {
        let above = (0..values.len()).map(|l| (at(l), values[l] + up(l)));
        let below = (0..values.len())
            .rev()
            .map(|l| (at(l), (values[l] - up(l)).max(0.0)));
        let band: Vec<(f64, f64)> = above.chain(below).collect();
        chart.draw_series([Polygon::new(band, BLACK.mix(0.15))])?;
    }
    let points = || values.iter().enumerate().map(|(l, v)| (at(l), *v));
    chart.draw_series(LineSeries::new(points(), BLACK.stroke_width(2)))?;
    let circles = points().map(|(x, y)| match y < COLLAPSED {
        true => Circle::new((x, y), 5, BLACK.stroke_width(2)),
        false => Circle::new((x, y), 4, BLACK.filled()),
    });
    chart.draw_series(circles)?;
    Ok(())
}

/// A cell for each head, darker the higher its rank on a logarithmic scale; collapsed heads are crossed out.
fn head_map(area: &Area<'_>, found: &Surveyed) -> Drawn {
    let r = &found.ranks;
    let (layers, heads) = (r.rank.len(), r.rank.first().map_or(0, Vec::len));
    let title = format!(
        "Heads by mean k*, white 1 to black {}; crossed out below {COLLAPSED} ({} of {})",
        r.length,
        found.collapsed_heads(),
        layers * heads
    );
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(40)
        .build_cartesian_2d(-0.5..layers as f64 - 0.5, -0.5..heads as f64 - 0.5)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("layer")
        .y_desc("head")
        .x_labels(layers.min(16))
        .y_labels(heads.min(12))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let most = (r.length as f64).ln().max(1e-9);
    for (l, ranks) in r.rank.iter().enumerate() {
        for (h, rank) in ranks.iter().enumerate() {
            let (x, y) = (l as f64, h as f64);
            let corners = [(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)];
            let dark = (rank.max(1.0).ln() / most).clamp(0.0, 1.0);
            let level = (255.0 * (1.0 - dark)) as u8;
            chart.draw_series([Rectangle::new(
                corners,
                RGBColor(level, level, level).filled(),
            )])?;
            chart.draw_series([Rectangle::new(corners, BLACK.mix(0.3).stroke_width(1))])?;
            if *rank < COLLAPSED {
                let lines = [
                    vec![(x - 0.4, y - 0.4), (x + 0.4, y + 0.4)],
                    vec![(x - 0.4, y + 0.4), (x + 0.4, y - 0.4)],
                ];
                chart
                    .draw_series(lines.map(|line| PathElement::new(line, BLACK.stroke_width(1))))?;
            }
        }
    }
    Ok(())
}
