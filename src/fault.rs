//! Panics on purpose, so that tests can see what the real program makes of them. Debug builds only.

/// Panics when the environment's `HEIRLOOM_FAULT` is `PLACE:STEP` and this is the place and the step.
#[inline]
pub fn panic_at(place: &str, step: u64) {
    if cfg!(debug_assertions)
        && let Ok(fault) = std::env::var("HEIRLOOM_FAULT")
        && fault == format!("{place}:{step}")
    {
        panic!("asked for by HEIRLOOM_FAULT");
    }
}
