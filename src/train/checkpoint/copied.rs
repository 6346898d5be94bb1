//! A checkpoint on its way to disk: everything it will hold, copied at a step boundary so that training can go on while it
//! is written. Where there is no memory for a copy, it is written from the model's own memory, and training waits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::Tensor;

use super::{
    CheckpointError, Checkpoints, FILES, OPTIMIZER, STATE, StateFile, VERSION, checksum, damaged,
    sync_dir,
};
use crate::corpus::Tokenizer;
use crate::model::{self, Arena, DecoderConfig, ModelError, Param};
use crate::ops;
use crate::tensors::Source;
use crate::train::learner::Learner;
use crate::train::state::TrainState;

/// The parts of a model's file and of the optimizer's.
const MOMENTS: [&str; 2] = ["m.", "v."];

/// One checkpoint, not yet on disk.
pub struct Copied {
    pub name: String,
    /// Whether it is read back and compared before it counts.
    pub verify: bool,
    config: DecoderConfig,
    params: Vec<Param>,
    weights: Values,
    /// First and second moments.
    moments: [Values; 2],
    state: TrainState,
    tokenizer: Tokenizer,
}

/// The values of an arena.
enum Values {
    Copied(Vec<f32>),
    /// The arena itself, which must not change meanwhile.
    Live(Tensor),
    /// So many zeros.
    Zeros(usize),
}

impl Values {
    fn of(arena: &Arena, copy: bool) -> Result<Self, CheckpointError> {
        match copy {
            true => Ok(Self::Copied(
                ops::read(&arena.flat).map_err(ModelError::from)?,
            )),
            false => Ok(Self::Live(arena.flat.clone())),
        }
    }

    /// Lends the values to `f`. Those of a GPU pass through the process's memory.
    fn lend<R>(
        &self,
        f: impl FnOnce(&[f32]) -> Result<R, CheckpointError>,
    ) -> Result<R, CheckpointError> {
        match self {
            Self::Copied(values) => f(values),
            Self::Live(flat) => ops::lend(flat, f).map_err(ModelError::from)?,
            Self::Zeros(n) => f(&vec![0.0; *n]),
        }
    }
}

impl Copied {
    /// Takes down what a checkpoint of this moment holds; with `copy` in memory of its own, 12 bytes a parameter, else by
    /// reference: the model must not change before it is written then.
    ///
    /// # Errors
    /// When the device's memory cannot be read.
    pub fn of(
        name: &str,
        learner: &Learner,
        state: &TrainState,
        tokenizer: &Tokenizer,
        verify: bool,
        copy: bool,
    ) -> Result<Self, CheckpointError> {
        let model = learner.model().map_err(CheckpointError::Nothing)?;
        let (moments, steps) = match learner.optimizer().map_err(CheckpointError::Nothing)? {
            Some(optimizer) => (
                [
                    Values::of(&optimizer.m, copy)?,
                    Values::of(&optimizer.v, copy)?,
                ],
                optimizer.steps.clone(),
            ),
            // A model that is only measured has had no update.
            None => {
                let n = model.weights.flat.elem_count();
                (
                    [Values::Zeros(n), Values::Zeros(n)],
                    vec![0; model.params.len()],
                )
            }
        };
        Ok(Self {
            name: name.into(),
            verify,
            config: model.config.clone(),
            params: model.params.clone(),
            weights: Values::of(&model.weights, copy)?,
            moments,
            state: TrainState {
                optimizer_steps: steps,
                ..state.clone()
            },
            tokenizer: tokenizer.clone(),
        })
    }

    /// Writes it and returns its size in bytes. With `verify` it is read back and compared first.
    ///
    /// # Errors
    /// When there is no room (checked first) or writing fails; a half-written one leaves nothing behind.
    pub(super) fn save(&self, to: &Checkpoints) -> Result<u64, CheckpointError> {
        to.check_space(&self.config)?;
        let tmp = to.dir.join(format!(".writing-{}", self.name));
        let result = self.write(to, &tmp);
        if result.is_err() {
            let _ = fs::remove_dir_all(&tmp);
        }
        result
    }

    fn write(&self, to: &Checkpoints, tmp: &Path) -> Result<u64, CheckpointError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| CheckpointError::Io { path, source }
        };
        fs::create_dir_all(tmp).map_err(io(tmp))?;
        let end = self.tokenizer.end_of_text();
        self.weights
            .lend(|weights| Ok(model::save(&self.config, &self.params, weights, end, tmp)?))?;
        model::write_synced(
            &tmp.join("tokenizer.json"),
            &self.tokenizer.tokenizer_json(),
        )?;
        let [m, v] = &self.moments;
        m.lend(|m| {
            v.lend(|v| {
                Ok(model::save_tensors(
                    &tmp.join(OPTIMIZER),
                    self.named_moments(m, v),
                    &[],
                )?)
            })
        })?;
        let mut files = BTreeMap::new();
        for file in FILES {
            files.insert(file.to_string(), checksum(&tmp.join(file))?);
        }
        let total: u64 = files.values().map(|f| f.bytes).sum();
        let state = StateFile {
            v: VERSION,
            program: crate::PROGRAM.into(),
            files,
            state: self.state.clone(),
        };
        let text = serde_json::to_vec_pretty(&state).map_err(|e| io(tmp)(e.into()))?;
        model::write_synced(&tmp.join(STATE), &text)?;
        sync_dir(tmp)?;
        if self.verify {
            to.verify_at(tmp, &self.name)?;
            self.compare(tmp)?;
        }
        // A resume goes on from the line that tells of this checkpoint's beginning, so that line must not get lost.
        let journal = to.run.events();
        if let Ok(journal) = File::open(&journal) {
            // Where it cannot be flushed, the journal's writer says so.
            let _ = journal.sync_data();
        }
        crate::fault::delay_at("rename");
        let target = to.dir.join(&self.name);
        fs::rename(tmp, &target).map_err(io(&target))?;
        let synced = match crate::fault::fails_at("checkpoint-folder") {
            true => Err(io(&to.dir)(std::io::Error::from_raw_os_error(libc::EIO))),
            false => sync_dir(&to.dir),
        };
        if let Err(error) = synced {
            // Perhaps it is on disk, and perhaps not: the next attempt writes everything again.
            let _ = to.remove(&self.name);
            return Err(error);
        }
        Ok(total + text.len() as u64)
    }

    /// Compares every tensor on disk with the one in memory.
    fn compare(&self, dir: &Path) -> Result<(), CheckpointError> {
        self.weights.lend(|weights| {
            let weights = model::named("", &self.params, weights);
            self.compare_file(&model::weights_file(dir), weights)
        })?;
        let [m, v] = &self.moments;
        m.lend(|m| v.lend(|v| self.compare_file(&dir.join(OPTIMIZER), self.named_moments(m, v))))
    }

    /// Both moments under their parameters' names.
    fn named_moments<'v>(
        &'v self,
        m: &'v [f32],
        v: &'v [f32],
    ) -> impl Iterator<Item = model::Named<'v>> {
        let both = MOMENTS.iter().zip([m, v]);
        both.flat_map(|(prefix, values)| model::named(prefix, &self.params, values))
    }

    fn compare_file<'v>(
        &self,
        path: &Path,
        tensors: impl Iterator<Item = model::Named<'v>>,
    ) -> Result<(), CheckpointError> {
        let differs =
            |tensor: &str| damaged(&self.name, format!("{tensor} reads back differently"));
        let file = Source::open(path).map_err(|_| differs("its file"))?;
        for (name, shape, values) in tensors {
            let same_shape = file.info(&name).is_some_and(|info| info.shape == shape);
            // By their bits: NaN is not equal to itself.
            let bytes = bytemuck::cast_slice(values);
            if !same_shape || !file.holds(&name, bytes).map_err(ModelError::from)? {
                return Err(differs(&name));
            }
        }
        Ok(())
    }
}
