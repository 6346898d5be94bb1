//! Forecasts of choices that were asked for, kept until the next evaluation.

use std::sync::{Arc, Mutex, PoisonError};

use crate::run::event::{Forecast, Prospect};

/// Choices whose forecasts are kept: as many as an operator looks at between two evaluations.
const MOST: usize = 32;

/// The forecasts that were worked out so far.
#[derive(Debug, Default)]
pub struct Prospects(Mutex<Vec<Arc<Forecast>>>);

/// A copy begins empty: what it needs is worked out again.
impl Clone for Prospects {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Prospects {
    /// Returns the forecast of a choice; `forecast` works out one that is asked for first.
    pub fn get(
        &self,
        prospect: Prospect,
        forecast: impl FnOnce() -> Option<Forecast>,
    ) -> Option<Arc<Forecast>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|f| f.prospect == prospect) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(forecast()?);
        if all.len() >= MOST {
            all.clear();
        }
        all.push(Arc::clone(&new));
        Some(new)
    }
}
