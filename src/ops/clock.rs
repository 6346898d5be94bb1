//! Measures the time of each kind of op, in seconds over all calls of this process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A kind of op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Embedding,
    Norm,
    Linear,
    Attention,
    Rope,
    Activation,
    Head,
    Optimizer,
}

/// All kinds, in the order of [`Part`], with their names.
const PARTS: [(Part, &str); 8] = [
    (Part::Embedding, "embedding"),
    (Part::Norm, "norm"),
    (Part::Linear, "linear"),
    (Part::Attention, "attention"),
    (Part::Rope, "rope"),
    (Part::Activation, "activation"),
    (Part::Head, "head"),
    (Part::Optimizer, "optimizer"),
];

static NANOSECONDS: [AtomicU64; PARTS.len()] = [const { AtomicU64::new(0) }; PARTS.len()];

impl Part {
    /// Does `f` on this part's time.
    pub(super) fn time<R>(self, f: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = f();
        let passed = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        NANOSECONDS[self as usize].fetch_add(passed, Ordering::Relaxed);
        result
    }
}

/// Whether every op of a GPU is waited for, so that its time is known.
static WAIT: AtomicBool = AtomicBool::new(false);

/// Sets whether every op of a GPU is waited for. A GPU works while the CPU queues more: without waiting, only the queueing is timed; with
/// it, the GPU idles between ops.
pub fn wait_for_gpu(wait: bool) {
    WAIT.store(wait, Ordering::Relaxed);
}

/// Whether every op of a GPU is waited for.
#[cfg(feature = "cuda")]
pub(super) fn waits_for_gpu() -> bool {
    WAIT.load(Ordering::Relaxed)
}

#[cfg(feature = "cuda")]
impl Part {
    /// Does `f`, which queues an op on a GPU, on this part's time if ops are waited for.
    pub(super) fn time_on_gpu<R>(
        self,
        device: &candle_core::Device,
        f: impl FnOnce() -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        if !WAIT.load(Ordering::Relaxed) {
            return f();
        }
        self.time(|| {
            let result = f()?;
            super::cuda::synchronize(device)?;
            Ok(result)
        })
    }
}

/// Time spent so far by each kind of op.
pub fn spent() -> Vec<(&'static str, Duration)> {
    let read =
        |part: Part| Duration::from_nanos(NANOSECONDS[part as usize].load(Ordering::Relaxed));
    PARTS.map(|(part, name)| (name, read(part))).to_vec()
}
