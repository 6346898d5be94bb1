//! Counts bytes read, and rows without a text.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts reads, from any thread.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes read of the files.
    bytes: AtomicU64,
    null: AtomicU64,
    missing: AtomicU64,
}

/// Rows that are not documents, because they have no text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Rows whose text is null (in JSON also NaN).
    pub null: u64,
    /// JSON rows without the field that others of their file have.
    pub missing: u64,
}

impl Tally {
    /// Returns the bytes read of the files so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the rows skipped so far.
    pub fn skipped(&self) -> Skipped {
        Skipped {
            null: self.null.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
        }
    }

    pub(super) fn add_bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn add_null(&self, n: u64) {
        self.null.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts rows that were skipped when the text was encoded.
    pub(in crate::corpus) fn add(&self, skipped: Skipped) {
        self.null.fetch_add(skipped.null, Ordering::Relaxed);
        self.missing.fetch_add(skipped.missing, Ordering::Relaxed);
    }

    pub(super) fn add_missing(&self) {
        self.missing.fetch_add(1, Ordering::Relaxed);
    }
}

impl Skipped {
    /// Returns how many rows they are.
    pub fn rows(self) -> u64 {
        self.null + self.missing
    }
}

/// `3 rows without a text skipped (2 null, 1 without the field)`.
impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = match self.rows() {
            1 => "row",
            _ => "rows",
        };
        let mut reasons = Vec::new();
        for (n, why) in [(self.null, "null"), (self.missing, "without the field")] {
            if n > 0 {
                reasons.push(format!("{} {why}", crate::text::thousands(n)));
            }
        }
        let n = crate::text::thousands(self.rows());
        write!(
            f,
            "{n} {rows} without a text skipped ({})",
            reasons.join(", ")
        )
    }
}
