//! Which part of the run the overview shows: the same for all of its panels.

use super::phases::Parts;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::axes::Window;
use crate::dashboard::widgets::chart::Fitted;

/// Columns of the y labels, unless they need more: the charts' and the heat map's.
pub const MARGIN: u16 = 6;

/// What the panels have in common.
pub struct View<'a> {
    pub scene: &'a Scene<'a>,
    pub window: Window,
    pub parts: Parts,
}

impl<'a> View<'a> {
    /// Finds what is shown of the run.
    pub fn new(scene: &'a Scene<'a>) -> Self {
        Self {
            scene,
            window: scene.ui.chart.window(scene.run),
            parts: Parts::of(scene.run, &scene.ui.chart),
        }
    }

    /// The x of the latest training event.
    pub fn now(&self) -> f64 {
        let axis = self.window.axis;
        let latest = self.scene.run.live().train.stretches().last();
        latest.map_or(0.0, |s| axis.value(&s.last)) - self.parts.zero(axis)
    }

    /// ` loss · round 2 · y fitted (2 cut: Y) · log · x2 `: from the most important on.
    pub fn title(&self, name: &str, fitted: Option<&Fitted>, log: bool) -> String {
        let view = &self.scene.ui.chart;
        let mut title = format!(" {name} · {}", self.parts.name());
        title.push_str(match (view.all, fitted.map_or(0, |f| f.cuts)) {
            (true, _) => " · y all (Y)",
            (false, 0) => "",
            (false, _) => " · y fitted",
        });
        if let (false, Some(cuts)) = (view.all, fitted.map(|f| f.cuts).filter(|&c| c > 0)) {
            title.push_str(&format!(" ({cuts} cut: Y)"));
        }
        if log {
            title.push_str(" · log");
        }
        if view.zoom > 0 {
            title.push_str(&format!(" · x{}", 1u64 << view.zoom));
        }
        title.push(' ');
        self.scene.text(&title)
    }
}
