//! A checkpoint on its way to disk: everything it will hold, copied at a step boundary so that training can continue while it is written.
//! If memory for a copy is lacking, it is written from the model's own memory, and training waits.

use std::collections::BTreeMap;
use std::ops::Range;

use super::fetch::Fetch;
use super::saved::{MOMENTS, OPTIMIZER};
use super::verify::{FILES, STATE, StateFile, VERSION, checksum, damaged, verify_in};
use super::{CheckpointError, Checkpoints, UNFINISHED};
use crate::corpus::Tokenizer;
use crate::file::Dir;
use crate::model::{self, DecoderConfig, ModelError, Param, ReadOnly};
use crate::run::handle::EVENTS;
use crate::tensors::Source;
use crate::train::learner::Learner;
use crate::train::optimizer::{Moment, Optimizer};
use crate::train::state::TrainState;

/// One checkpoint, not yet on disk.
pub struct Copied {
    pub name: String,
    /// Whether it is read back and compared before it counts.
    pub verify: bool,
    config: DecoderConfig,
    params: Vec<Param>,
    weights: Values,
    moments: MomentValues,
    state: TrainState,
    tokenizer: Tokenizer,
}

/// First and second moments.
enum MomentValues {
    Here([Values; 2]),
    /// Other ranks hold parts of them, which are fetched while they are written.
    Elsewhere,
}

impl MomentValues {
    fn of(learner: &Learner, optimizer: &Optimizer, copy: bool) -> Result<Self, CheckpointError> {
        let [m, v] = Moment::BOTH.map(|moment| match optimizer.lend(moment) {
            Some(values) => Values::of(values, copy).map(Some),
            None if copy => {
                let values = learner.gather_moments(moment, 0..optimizer.elements());
                let values = values.map_err(CheckpointError::Nothing)?;
                Ok(Some(Values::Copied(values)))
            }
            None => Ok(None),
        });
        Ok(m?
            .zip(v?)
            .map_or(Self::Elsewhere, |(m, v)| Self::Here([m, v])))
    }
}

/// A moment of one parameter.
struct Place<'a> {
    name: String,
    shape: &'a [usize],
    moment: Moment,
    /// Its elements in the flat arena.
    range: Range<usize>,
}

/// The values of an arena.
enum Values {
    Copied(Vec<f32>),
    /// The arena itself, which must not change meanwhile.
    Live(ReadOnly),
    /// This number of zeros.
    Zeros(usize),
}

impl Values {
    fn of(values: ReadOnly, copy: bool) -> Result<Self, CheckpointError> {
        match copy {
            true => Ok(Self::Copied(values.read().map_err(ModelError::from)?)),
            false => Ok(Self::Live(values)),
        }
    }

    /// Lends the values to `f`. Those of a GPU pass through the process's memory.
    fn lend<R>(
        &self,
        f: impl FnOnce(&[f32]) -> Result<R, CheckpointError>,
    ) -> Result<R, CheckpointError> {
        match self {
            Self::Copied(values) => f(values),
            Self::Live(values) => values.lend(f).map_err(ModelError::from)?,
            Self::Zeros(n) => f(&vec![0.0; *n]),
        }
    }
}

impl Copied {
    /// Takes the contents of a checkpoint of this moment: with `copy` in memory of its own, 12 bytes a parameter; otherwise by reference,
    /// so that the model must not change before it is written.
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
                MomentValues::of(learner, optimizer, copy)?,
                optimizer.steps.clone(),
            ),
            // A model that is only measured has had no update.
            None => {
                let n = model.weights.elements();
                (
                    MomentValues::Here([Values::Zeros(n), Values::Zeros(n)]),
                    vec![0; model.params.len()],
                )
            }
        };
        Ok(Self {
            name: name.into(),
            verify,
            config: model.config.clone(),
            params: model.params.clone(),
            weights: Values::of(model.weights.share(), copy)?,
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
    pub(super) fn save(&self, to: &Checkpoints, fetch: &Fetch<'_>) -> Result<u64, CheckpointError> {
        to.check_space(&self.config)?;
        let folder = to.folder()?;
        let tmp = format!("{UNFINISHED}{}", self.name);
        let result = self.write(to, &folder, &tmp, fetch);
        if result.is_err() {
            let _ = folder.remove_all(&tmp);
        }
        result
    }

    fn write(
        &self,
        to: &Checkpoints,
        folder: &Dir,
        tmp: &str,
        fetch: &Fetch<'_>,
    ) -> Result<u64, CheckpointError> {
        let io = to.io(tmp);
        if folder.kind(tmp).map_err(&io)?.is_some() {
            folder.remove_all(tmp).map_err(&io)?;
        }
        let new = folder.create_subdir(tmp).map_err(&io)?;
        let end = self.tokenizer.end_of_text();
        self.weights
            .lend(|weights| Ok(model::save(&self.config, &self.params, weights, end, &new)?))?;
        model::write_synced(&new, "tokenizer.json", &self.tokenizer.tokenizer_json())?;
        self.write_moments(&new, fetch)?;
        // This thread need not look for lost ranks: the trainer does so while it waits for this thread.
        let unwatched = || Ok(());
        let mut files = BTreeMap::new();
        for file in FILES {
            files.insert(file.to_string(), checksum(&new, file, &unwatched)?);
        }
        let total: u64 = files.values().map(|f| f.bytes).sum();
        let state = StateFile {
            v: VERSION,
            program: crate::PROGRAM.into(),
            files,
            state: self.state.clone(),
        };
        let text = serde_json::to_vec_pretty(&state).map_err(|e| io(e.into()))?;
        model::write_synced(&new, STATE, &text)?;
        new.sync().map_err(&io)?;
        if self.verify {
            verify_in(&new, &self.name, &unwatched)?;
            self.compare(&new, fetch)?;
        }
        // A resume continues from the line that reports the beginning of this checkpoint, so that line must not get lost.
        let journal = to.handle.as_ref().map(|run| run.root().open_file(EVENTS));
        if let Some(Ok(journal)) = journal {
            // If it cannot be flushed, the journal's writer reports that.
            let _ = journal.sync_data();
        }
        crate::fault::delay_at("rename");
        let io = to.io(&self.name);
        folder.rename(tmp, &self.name).map_err(&io)?;
        let synced = match crate::fault::fails_at("checkpoint-folder") {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => folder.sync(),
        };
        if let Err(error) = synced {
            // It may or may not be on disk, so the next attempt writes everything again.
            let _ = to.remove(&self.name);
            return Err(io(error));
        }
        Ok(total + text.len() as u64)
    }

    /// Compares every tensor on disk with the one in memory.
    fn compare(&self, dir: &Dir, fetch: &Fetch<'_>) -> Result<(), CheckpointError> {
        self.weights.lend(|weights| {
            let weights = model::named("", &self.params, weights);
            self.compare_file(dir, model::WEIGHTS, weights)
        })?;
        match &self.moments {
            MomentValues::Here([m, v]) => {
                m.lend(|m| v.lend(|v| self.compare_file(dir, OPTIMIZER, self.named_moments(m, v))))
            }
            MomentValues::Elsewhere => self.compare_fetched(dir, fetch),
        }
    }

    fn write_moments(&self, dir: &Dir, fetch: &Fetch<'_>) -> Result<(), CheckpointError> {
        match &self.moments {
            MomentValues::Here([m, v]) => m.lend(|m| {
                v.lend(|v| {
                    let named = self.named_moments(m, v);
                    Ok(model::save_tensors(dir, OPTIMIZER, named, &[])?)
                })
            }),
            MomentValues::Elsewhere => {
                let places: Vec<Place<'_>> = self.places().collect();
                let tensors = places.iter().map(|at| (at.name.clone(), at.shape));
                let tensors: Vec<_> = tensors.collect();
                model::stream_tensors(dir, OPTIMIZER, &tensors, |i, write| {
                    let (moment, range) = (places[i].moment, places[i].range.clone());
                    fetch.each(moment, range, |_, values| Ok(write(values)?))
                })
            }
        }
    }

    /// Both moments of all parameters.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let both = MOMENTS.iter().zip(Moment::BOTH);
        both.flat_map(|(prefix, moment)| {
            let mut end = 0;
            self.params.iter().map(move |p| {
                let start = end;
                end += p.len();
                Place {
                    name: format!("{prefix}{}", p.name),
                    shape: &p.shape,
                    moment,
                    range: start..end,
                }
            })
        })
    }

    /// As [`Self::compare_file`], for moments that lie on other ranks.
    fn compare_fetched(&self, dir: &Dir, fetch: &Fetch<'_>) -> Result<(), CheckpointError> {
        let file = Source::open_in(dir, OPTIMIZER).map_err(|_| self.differs("its file"))?;
        for place in self.places() {
            let Place {
                name,
                shape,
                moment,
                range,
            } = place;
            if file.info(&name).is_none_or(|info| info.shape != shape) {
                return Err(self.differs(&name));
            }
            let first = range.start;
            fetch.each(moment, range, |at, values| {
                let from = (at - first) * size_of::<f32>();
                match file.holds_at(&name, from, bytemuck::cast_slice(values))? {
                    true => Ok(()),
                    false => Err(self.differs(&name)),
                }
            })?;
        }
        Ok(())
    }

    fn differs(&self, tensor: &str) -> CheckpointError {
        damaged(&self.name, format!("{tensor} reads back differently"))
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
        dir: &Dir,
        name: &str,
        tensors: impl Iterator<Item = model::Named<'v>>,
    ) -> Result<(), CheckpointError> {
        let file = Source::open_in(dir, name).map_err(|_| self.differs("its file"))?;
        for (name, shape, values) in tensors {
            let same_shape = file.info(&name).is_some_and(|info| info.shape == shape);
            // By their bits: NaN is not equal to itself.
            let bytes = bytemuck::cast_slice(values);
            if !same_shape || !file.holds(&name, bytes).map_err(ModelError::from)? {
                return Err(self.differs(&name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Decoder;

    /// A checkpoint that is verified, of a model and of these moments or of ones that other ranks hold.
    pub fn checkpoint(name: &str, model: &Decoder, moments: Option<[Vec<f32>; 2]>) -> Copied {
        Copied {
            name: name.into(),
            verify: true,
            config: model.config.clone(),
            params: model.params.clone(),
            weights: Values::Copied(model.weights.read_all().unwrap()),
            moments: moments.map_or(MomentValues::Elsewhere, |both| {
                MomentValues::Here(both.map(Values::Copied))
            }),
            state: TrainState::new([String::new(), String::new()]),
            tokenizer: Tokenizer::byte(),
        }
    }
}
