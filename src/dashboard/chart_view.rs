//! How the chart is looked at.

/// What the x axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    #[default]
    Step,
    Tokens,
    Time,
}

/// How the chart is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartView {
    pub axis: Axis,
    pub log: bool,
    /// Decay of the smoothing; 0: none.
    pub smoothing: f64,
    /// The chart shows 1/2^zoom of the run.
    pub zoom: u32,
    /// Quarter windows back from the right end.
    pub pan: u32,
}

impl Default for ChartView {
    fn default() -> Self {
        Self {
            axis: Axis::Step,
            log: false,
            smoothing: 0.98,
            zoom: 0,
            pan: 0,
        }
    }
}

impl ChartView {
    pub fn cycle_smoothing(&mut self) {
        self.smoothing = match self.smoothing {
            s if s > 0.95 => 0.9,
            s if s > 0.0 => 0.0,
            _ => 0.98,
        };
    }

    pub fn toggle_log(&mut self) {
        self.log = !self.log;
    }

    pub fn cycle_axis(&mut self) {
        self.axis = match self.axis {
            Axis::Step => Axis::Tokens,
            Axis::Tokens => Axis::Time,
            Axis::Time => Axis::Step,
        };
    }

    pub fn zoom_in(&mut self) {
        self.zoom = (self.zoom + 1).min(12);
    }

    pub fn zoom_out(&mut self) {
        self.zoom = self.zoom.saturating_sub(1);
        self.pan /= 2;
    }

    pub fn zoom_reset(&mut self) {
        (self.zoom, self.pan) = (0, 0);
    }

    pub fn pan_left(&mut self) {
        self.pan = (self.pan + 1).min(4 * ((1 << self.zoom) - 1));
    }

    pub fn pan_right(&mut self) {
        self.pan = self.pan.saturating_sub(1);
    }
}
