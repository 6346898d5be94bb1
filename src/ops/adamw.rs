//! AdamW's settings for one tensor at one step.

/// One AdamW update of one tensor. `step` counts from 1.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// Decoupled weight decay (0 for tensors that are not decayed).
    pub weight_decay: f32,
    /// Factor on the gradient: the clipping coefficient.
    pub grad_scale: f32,
    pub step: u32,
}

impl AdamW {
    /// Bias corrections of the first and of the second moment.
    pub(super) fn corrections(&self) -> (f32, f32) {
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        // In f64: 1 - beta^t loses digits in f32 when beta is near one.
        let of = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(step))) as f32;
        (of(self.beta1), of(self.beta2))
    }
}
