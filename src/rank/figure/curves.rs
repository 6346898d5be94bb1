//! Draws values by layer.

use plotters::prelude::*;

use super::Figure;
use super::scale::{Area, Drawn, Scale};
use crate::rank::survey::{COLLAPSED, Surveyed};

/// A model's values by layer, and the spread of each if it is drawn.
struct Line<'a> {
    name: &'a str,
    values: Vec<f64>,
    spread: Vec<f64>,
}

impl Line<'_> {
    /// Returns where the values are drawn, with `far` spreads added.
    fn at(&self, far: f64) -> impl DoubleEndedIterator<Item = (f64, f64)> + '_ {
        let all = self.values.iter().enumerate();
        all.map(move |(l, v)| {
            let spread = self.spread.get(l).copied().unwrap_or(0.0);
            (l as f64, (v + far * spread).max(0.0))
        })
    }
}

/// Draws MaxRank, with one standard deviation over the windows.
pub(super) fn ranks<D: DrawingBackend>(area: &Area<D>, figure: &Figure<'_>, px: Scale) -> Drawn<D>
where
    D::ErrorType: 'static,
{
    let r = &figure.found.ranks;
    let title = format!(
        "MaxRank (largest mean k* of a layer's heads), tau {}, {} windows of {}",
        r.tau, r.windows, r.length
    );
    let lines = lines(figure, |found| {
        let values = found.ranks.max_rank.clone();
        let spread = (0..values.len()).map(|l| found.spread(l)).collect();
        (values, spread)
    });
    draw(area, &title, &lines, px)
}

/// Draws AvgMass.
pub(super) fn masses<D: DrawingBackend>(area: &Area<D>, figure: &Figure<'_>, px: Scale) -> Drawn<D>
where
    D::ErrorType: 'static,
{
    let eta = figure.found.ranks.eta;
    let title = format!("AvgMass (mean m* of a layer's heads), eta {eta}");
    let lines = lines(figure, |found| (found.ranks.avg_mass.clone(), Vec::new()));
    draw(area, &title, &lines, px)
}

/// Returns the line of the model, and that of the model it is compared with.
fn lines<'a>(figure: &Figure<'a>, of: impl Fn(&Surveyed) -> (Vec<f64>, Vec<f64>)) -> Vec<Line<'a>> {
    let all = [Some((figure.name, figure.found)), figure.against];
    let all = all.into_iter().flatten();
    all.map(|(name, found)| {
        let (values, spread) = of(found);
        Line {
            name,
            values,
            spread,
        }
    })
    .collect()
}

/// Draws the first line solid with circles over a band, and the second dashed with squares and bars. Markers below [`COLLAPSED`]
/// are hollow.
fn draw<D: DrawingBackend>(area: &Area<D>, title: &str, lines: &[Line<'_>], px: Scale) -> Drawn<D>
where
    D::ErrorType: 'static,
{
    let mut area = area.margin(px.of(6), 0, 0, 0).titled(title, px.title())?;
    if let [first, second] = lines {
        let legend = format!("circles: {};  squares, dashed: {}", first.name, second.name);
        area = area.titled(&legend, px.label())?;
    }
    let highest = lines.iter().flat_map(|line| line.at(1.0));
    let top = highest.map(|(_, y)| y).fold(COLLAPSED, f64::max);
    let layers = lines.iter().map(|l| l.values.len()).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(&area)
        .margin(px.of(10))
        .x_label_area_size(px.of(36))
        .y_label_area_size(px.of(44))
        .build_cartesian_2d(-0.5..layers.max(2) as f64 - 0.5, 0.0..1.05 * top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("layer")
        .axis_desc_style(px.label())
        .label_style(px.label())
        .x_labels(layers.min(16))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| match top < 10.0 {
            true => format!("{y:.1}"),
            false => format!("{y:.0}"),
        })
        .light_line_style(WHITE)
        .draw()?;
    let wide = BLACK.stroke_width(px.of(2));
    let thin = BLACK.stroke_width(px.of(1));
    let style = |hollow| if hollow { wide } else { BLACK.filled() };
    for (i, line) in lines.iter().enumerate() {
        let points = || line.at(0.0).map(|(x, y)| ((x, y), style(y < COLLAPSED)));
        if i == 0 {
            if !line.spread.is_empty() {
                let band: Vec<_> = line.at(1.0).chain(line.at(-1.0).rev()).collect();
                chart.draw_series([Polygon::new(band, BLACK.mix(0.15))])?;
            }
            chart.draw_series(LineSeries::new(line.at(0.0), wide))?;
            chart.draw_series(points().map(|(at, s)| Circle::new(at, px.of(4), s)))?;
        } else {
            let bars = line.at(-1.0).zip(line.at(1.0));
            let bars = bars.filter(|_| !line.spread.is_empty());
            chart.draw_series(bars.map(|(low, high)| PathElement::new([low, high], thin)))?;
            let middle: Vec<_> = line.at(0.0).collect();
            let dashes = DashedLineSeries::new(middle, px.of(6), px.of(4), wide);
            chart.draw_series(dashes)?;
            let side = px.of(4) as i32;
            let square = [(-side, -side), (side, side)];
            chart.draw_series(
                points().map(|(at, s)| EmptyElement::at(at) + Rectangle::new(square, s)),
            )?;
        }
    }
    Ok(())
}
