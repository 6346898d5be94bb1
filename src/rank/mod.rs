#[derive(Debug, thiserror::Error)]
#[error("rank")]
pub struct RankError;
pub struct ProbeResult {
    pub rank: Vec<Vec<f64>>,
    pub max_rank: Vec<f64>,
    pub avg_mass: Vec<f64>,
    pub lazy_layers: Vec<usize>,
    pub windows: usize,
    pub length: usize,
    pub tau: f64,
}
impl ProbeResult {
    pub fn save(&self, _p: &std::path::Path) -> std::io::Result<()> {
        Ok(())
    }
}
pub struct ProbeAccumulator(usize, usize, f64, usize);
impl ProbeAccumulator {
    pub fn new(l: usize, h: usize, tau: f64, length: usize) -> Result<Self, RankError> {
        Ok(Self(l, h, tau, length))
    }
    pub fn add(&mut self, _l: usize, _a: &[f32]) -> Result<(), RankError> {
        Ok(())
    }
    pub fn finish(self) -> ProbeResult {
        ProbeResult {
            rank: vec![vec![2.0; self.1]; self.0],
            max_rank: vec![2.0; self.0],
            avg_mass: vec![2.0; self.0],
            lazy_layers: vec![],
            windows: 1,
            length: self.3,
            tau: self.2,
        }
    }
}
pub struct ProbeBudget {
    pub share: f64,
}
impl ProbeBudget {
    pub fn may_probe(&self, t: f64, s: f64, l: f64) -> bool {
        s + l <= self.share * t
    }
}
