//! Journals the GPU features of a run, and keeps the algorithm of each of its products in a file ([`crate::ops::algorithms`]), so that a
//! resumed run has the same bits.

use std::io::ErrorKind;

use super::trainer::Trainer;
use crate::ops::{GpuFeature, algorithms};
use crate::run::event::{Body, Log};

/// The file in the run's directory.
const FILE: &str = "algorithms.txt";

/// The most bytes that are read of it.
const MOST: u64 = 4 << 20;

impl Trainer {
    /// Journals which features of a step `HEIRLOOM_GPU` names, and takes over the algorithms that an earlier process of this run
    /// has chosen.
    pub(super) fn begin_on_gpu(&mut self) {
        if !self.machine.device().is_cuda() {
            return;
        }
        if let Some(names) = GpuFeature::named_in_words() {
            let message = format!(
                "features of a GPU's step that are off by default: {names}; runs with different ones give different bits"
            );
            self.emit(Body::Log(Log { message }));
        }
        if !GpuFeature::TimedProducts.is_on() {
            return;
        }
        let taken = match self.directory.handle().root().read_bytes(FILE, MOST) {
            Ok(bytes) => algorithms::choices().take_over(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = taken {
            self.warn(format!(
                "{FILE} is not used: {why}; products are timed again, and may have other bits than before"
            ));
        }
    }

    /// Writes new choices of algorithms to the run's file.
    pub(super) fn keep_algorithms(&mut self) {
        let news = algorithms::choices().news();
        let Some(text) = news else { return };
        let written = self
            .directory
            .handle()
            .root()
            .replace_file(FILE, text.as_bytes());
        match written {
            Ok(()) => {
                let products = text.lines().count() - 1;
                let message = format!(
                    "{FILE} keeps the algorithms of {products} products, each the fastest of those that cuBLASLt offered"
                );
                self.emit(Body::Log(Log { message }));
            }
            Err(error) => self.warn(format!(
                "{FILE} was not written: {error}; a resumed run times its products again, and may have other bits"
            )),
        }
    }
}
