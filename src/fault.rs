//! Injects faults, so that tests can check the real program's reactions. Only in debug builds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Panics if `HEIRLOOM_FAULT` is `PLACE:STEP` with this place and step.
#[inline]
pub fn panic_at(place: &str, step: u64) {
    if is_at(place, step) {
        panic!("asked for by HEIRLOOM_FAULT");
    }
}

/// Waits for the milliseconds of `HEIRLOOM_FAULT=PLACE:MS`, like a slow disk or network.
#[inline]
pub fn delay_at(place: &str) {
    if cfg!(debug_assertions)
        && let Ok(fault) = std::env::var("HEIRLOOM_FAULT")
        && let Some(ms) = fault
            .strip_prefix(place)
            .and_then(|rest| rest.strip_prefix(':'))
        && let Ok(ms) = ms.parse()
    {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }
}

/// Returns the number of events of a flood of `HEIRLOOM_FAULT=PLACE:EVENTS_A_SECOND` that are due since the last call.
#[inline]
pub fn owed_at(place: &str) -> u64 {
    static FLOOD: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    if cfg!(debug_assertions)
        && let Ok(fault) = std::env::var("HEIRLOOM_FAULT")
        && let Some(rate) = fault
            .strip_prefix(place)
            .and_then(|rest| rest.strip_prefix(':'))
        && let Ok(rate) = rate.parse::<f64>()
        && let Ok(mut flood) = FLOOD.lock()
    {
        let (begun, given) = flood.get_or_insert_with(|| (Instant::now(), 0));
        let owed = (rate * begun.elapsed().as_secs_f64()) as u64;
        return owed - std::mem::replace(given, owed);
    }
    0
}

/// Whether this call must fail: it is one of the first N calls from the place of `HEIRLOOM_FAULT=PLACE:N`.
#[inline]
pub fn fails_at(place: &str) -> bool {
    static FAILED: AtomicU64 = AtomicU64::new(0);
    if cfg!(debug_assertions)
        && let Ok(fault) = std::env::var("HEIRLOOM_FAULT")
        && let Some((named, times)) = fault.rsplit_once(':')
        && named == place
        && let Ok(times) = times.parse::<u64>()
    {
        return FAILED.fetch_add(1, Ordering::SeqCst) < times;
    }
    false
}

/// Whether `HEIRLOOM_FAULT` is `PLACE:STEP`.
#[inline]
pub fn is_at(place: &str, step: u64) -> bool {
    cfg!(debug_assertions)
        && std::env::var("HEIRLOOM_FAULT").is_ok_and(|fault| fault == format!("{place}:{step}"))
}
