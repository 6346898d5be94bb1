//! Measures the peak speed of matrix products on this machine.

use std::time::{Duration, Instant};

use crate::ops::Precision;
use crate::ops::cpu::gemm::{Accumulate, Mat, Threads, matmul};

/// Returns the GFLOP/s of a product of 1024 x 1024 by 1024 x 4096 on all threads: the best of several in half a second.
pub fn gemm_gflops(compute: Precision) -> f64 {
    let (m, k, n) = (1024, 1024, 4096);
    let a: Vec<f32> = (0..m * k).map(|i| (i % 17) as f32 - 8.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i % 19) as f32 - 9.0).collect();
    let mut out = vec![0f32; m * n];
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < Duration::from_millis(500) {
        let begin = Instant::now();
        // SAFETY: the three matrices have these sizes.
        unsafe {
            matmul(
                compute,
                (m, k, n),
                out.as_mut_ptr(),
                n,
                Accumulate::Nothing,
                Mat::rows(&a, k),
                Mat::rows(&b, n),
                Threads::All,
            );
        }
        best = best.min(begin.elapsed().as_secs_f64());
    }
    2e-9 * (m * k * n) as f64 / best
}
