//! The part of the run that all panels of the overview show.

use super::phases::Parts;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::axes::Window;
use crate::dashboard::widgets::chart::Fitted;

/// Least columns of the y labels of the charts and of the heat map.
pub const MARGIN: u16 = 6;

/// The values that all panels have in common.
pub struct View<'a> {
    pub scene: &'a Scene<'a>,
    pub window: Window,
    pub parts: Parts,
}

impl<'a> View<'a> {
    /// Finds the part of the run that is shown.
    pub fn new(scene: &'a Scene<'a>) -> Self {
        Self {
            scene,
            window: scene.ui.chart.window(scene.run),
            parts: Parts::of(scene.run, &scene.ui.chart),
        }
    }

    /// Returns the x of the latest training event.
    pub fn now(&self) -> f64 {
        let axis = self.window.axis;
        let latest = self.scene.run.live().train.stretches().last();
        latest.map_or(0.0, |s| axis.value(&s.last)) - self.parts.zero(axis)
    }

    /// Returns a title such as ` loss · round 2 · y fitted (2 cut: Y) · log · x2 `, in order of importance.
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
