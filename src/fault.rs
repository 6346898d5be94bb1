//! Faults on purpose, so that tests can see what the real program makes of them. Debug builds only.

/// Panics when the environment's `HEIRLOOM_FAULT` is `PLACE:STEP` and this is the place and the step.
#[inline]
pub fn panic_at(place: &str, step: u64) {
    if is_at(place, step) {
        panic!("asked for by HEIRLOOM_FAULT");
    }
}

/// Waits for the milliseconds that `HEIRLOOM_FAULT=PLACE:MS` asks for, as a slow disk or network would.
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

/// Whether `HEIRLOOM_FAULT` is `PLACE:STEP`.
#[inline]
pub fn is_at(place: &str, step: u64) -> bool {
    cfg!(debug_assertions)
        && std::env::var("HEIRLOOM_FAULT").is_ok_and(|fault| fault == format!("{place}:{step}"))
}
