//! The results of the examples so far.

use std::time::Instant;

use super::{Demo, DemoError, Head, Probe};

/// The results of the examples.
#[derive(Debug)]
pub enum Told {
    Head(Head),
    Probe(Probe),
    Failed(DemoError),
}

/// The results so far.
#[derive(Debug)]
pub struct Known {
    pub demo: Demo,
    began: Instant,
    pub heads: Vec<Head>,
    pub probes: Vec<Probe>,
    /// Seconds of both examples, once they have ended.
    pub seconds: Option<f64>,
}

impl Known {
    /// Makes an empty set of results.
    pub fn new(demo: Demo) -> Self {
        Self {
            demo,
            began: Instant::now(),
            heads: Vec::new(),
            probes: Vec::new(),
            seconds: None,
        }
    }

    /// Whether the last probe has come.
    fn done(&self) -> bool {
        let last = self.probes.last();
        last.is_some_and(|probe| probe.step == self.demo.steps.all)
    }

    /// Adds a result.
    ///
    /// # Errors
    /// When an example has failed.
    pub fn take(&mut self, told: Told) -> Result<(), DemoError> {
        match told {
            Told::Head(head) => self.heads.push(head),
            Told::Probe(probe) => self.probes.push(probe),
            Told::Failed(error) => return Err(error),
        }
        if self.done() {
            self.seconds = Some(self.began.elapsed().as_secs_f64());
        }
        Ok(())
    }
}
