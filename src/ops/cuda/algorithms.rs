//! The fastest algorithm of a product: cuBLASLt's first choices are timed once, and [`crate::ops::algorithms`] keeps the result.

use std::mem::MaybeUninit;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, sys as driver_sys};

use super::Address;
use super::cublas::{Plan, WORKSPACE};
use super::driver_error::driver;
use super::gpu::Gpu;
use crate::ops::algorithms::{Algorithm, choices};

/// Number of the library's choices that are timed.
const CANDIDATES: usize = 8;

/// The time of an algorithm is the least of this many rounds, each of [`RUNS`] runs. One run before them is not timed.
const ROUNDS: usize = 3;
const RUNS: usize = 4;

/// The library's first choices for a product, its own first.
///
/// # Safety
/// The descriptions in `plan` and `wish` must live.
pub unsafe fn first_choices(
    handle: sys::cublasLtHandle_t,
    plan: &Plan,
    wish: sys::cublasLtMatmulPreference_t,
) -> std::result::Result<Vec<Algorithm>, lt::CublasError> {
    let mut found = [MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit(); CANDIDATES];
    let mut count = 0;
    // SAFETY: as the caller guarantees; the array has room for as many results as are asked for.
    unsafe {
        sys::cublasLtMatmulAlgoGetHeuristic(
            handle,
            plan.desc,
            plan.a,
            plan.b,
            plan.out,
            plan.out,
            wish,
            CANDIDATES as i32,
            found.as_mut_ptr().cast(),
            &mut count,
        )
        .result()?;
    }
    let count = usize::try_from(count).unwrap_or(0).min(CANDIDATES);
    // SAFETY: the library has written `count` results.
    let found = found[..count]
        .iter()
        .map(|one| unsafe { one.assume_init() });
    let usable = found.filter(|one| one.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS);
    Ok(usable.map(|one| one.algo.data).collect())
}

/// Whether the library accepts an algorithm for a product, with the workspace that it gets.
///
/// # Safety
/// The descriptions in `plan` must live.
unsafe fn is_usable(handle: sys::cublasLtHandle_t, plan: &Plan, algorithm: &Algorithm) -> bool {
    let algorithm = sys::cublasLtMatmulAlgo_t { data: *algorithm };
    let mut needs = MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit();
    // SAFETY: as the caller guarantees.
    let status = unsafe {
        sys::cublasLtMatmulAlgoCheck(
            handle,
            plan.desc,
            plan.a,
            plan.b,
            plan.out,
            plan.out,
            &algorithm,
            needs.as_mut_ptr(),
        )
    };
    if status != sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
        return false;
    }
    // SAFETY: written by the library, which has succeeded.
    unsafe { needs.assume_init() }.workspaceSize <= WORKSPACE
}

/// Returns the algorithm for a product: the known one, or the fastest of `candidates`. `run` queues the product with an algorithm, and
/// writes its output of `bytes` bytes to an address; it fails for algorithms that cannot be used. Returns `None` when none can be timed,
/// for example because memory for a second output is lacking.
///
/// # Safety
/// The descriptions in `plan` must live.
pub unsafe fn fastest(
    gpu: &Gpu,
    handle: sys::cublasLtHandle_t,
    plan: &Plan,
    product: &str,
    candidates: &[Algorithm],
    bytes: usize,
    run: impl Fn(&Algorithm, Address) -> bool,
) -> Result<Option<Algorithm>> {
    // Timed runs write to memory of their own: the product's output may hold values that it is added to.
    // SAFETY: a product writes the memory before anything reads it.
    let Ok(room) = (unsafe { gpu.stream.alloc::<u8>(bytes) }) else {
        return Ok(None);
    };
    let out = room.device_ptr(&gpu.stream).0;
    let name = gpu.stream.context().name().map_err(driver)?;
    let version = version();
    let library = format!(
        "{name}, {} multiprocessors, cuBLASLt {version}",
        gpu.processors
    );
    // SAFETY: as the caller guarantees.
    let usable = |algorithm: &Algorithm| unsafe { is_usable(handle, plan, algorithm) };
    let time = |algorithm: &Algorithm| seconds(gpu, || run(algorithm, out));
    Ok(choices().choose(&library, product, candidates, usable, time))
}

/// cuBLASLt's version in its own way of counting; 0 where it is missing, or an error's code.
fn version() -> usize {
    // SAFETY: a function without arguments.
    unsafe { sys::cublasLtGetVersion() }
}

/// The library of products with its version in readable form: 130100 is 13.1.0, 120805 is 12.8.5.
pub fn library() -> String {
    let number = version();
    let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
    format!("cuBLASLt {major}.{minor}.{patch}")
}

/// Seconds that a run of what `run` queues takes; `None` when it fails.
fn seconds(gpu: &Gpu, run: impl Fn() -> bool) -> Option<f64> {
    let event = || {
        let timed = driver_sys::CUevent_flags::CU_EVENT_DEFAULT;
        gpu.stream.record_event(Some(timed)).ok()
    };
    if !run() {
        return None;
    }
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = event()?;
        if !(0..RUNS).all(|_| run()) {
            return None;
        }
        let end = event()?;
        let milliseconds = begin.elapsed_ms(&end).ok()?;
        least = least.min(f64::from(milliseconds) / 1e3 / RUNS as f64);
    }
    Some(least)
}
