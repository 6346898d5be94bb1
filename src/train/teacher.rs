//! The teacher of a distilled model: its files, its checks, its memory and its cost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::passes::Passes;
use super::peers::Peers;
use super::watched::Watched;
use crate::config::{self, ObjectiveChoice};
use crate::model::{self, Decoder, DecoderConfig, Files, Format, Teacher, Weights};
use crate::ops::{Bf16Products, Precision};

/// Paths of teachers' files by the names in the config, without the run's reference.
pub type TeacherPaths = BTreeMap<String, PathBuf>;

/// Returns a teacher's format: bf16 on a GPU, and on a CPU with bf16 instructions if `train.dtype` is bf16; otherwise f32.
pub fn format(passes: &Passes) -> Format {
    let student = passes.format;
    let half = student.compute == Precision::Bf16
        && Bf16Products::of(&Device::Cpu) != Bf16Products::Emulated;
    Format {
        compute: match student.gpu || half {
            true => Precision::Bf16,
            false => Precision::F32,
        },
        ..student
    }
}

/// Returns the bytes of the weights and buffers of a teacher of this shape.
pub fn bytes(passes: &Passes, teacher: &DecoderConfig) -> u64 {
    let (format, size) = (format(passes), (passes.micro, passes.time));
    model::arena_bytes(teacher, false, format)
        + Teacher::buffer_bytes(teacher, size, format, passes.format)
}

/// Returns the floating-point operations of a teacher over `tokens` training tokens, in windows of `time`: those of forward
/// passes, a third of training the same shape.
pub fn flops(teacher: Option<&DecoderConfig>, tokens: u64, time: usize) -> f64 {
    teacher.map_or(0.0, |teacher| {
        teacher.flops_per_token(time) * tokens as f64 / 3.0
    })
}

/// Rejects a teacher for models of this vocabulary, trained in windows of `time` tokens, that cannot teach them.
///
/// # Errors
/// When vocabularies differ or the context is too short; the message names both numbers.
pub fn check(teacher: &DecoderConfig, vocab: usize, time: usize) -> Result<()> {
    if teacher.vocab != vocab {
        bail!(
            "the teacher has a vocabulary of {} tokens, and the models that are trained have one of {vocab}: a teacher must have the same vocabulary",
            teacher.vocab
        );
    }
    if teacher.context_length < time {
        bail!(
            "the teacher has a context of {} tokens, and the training windows have {time}: set train.context_length to at most {}",
            teacher.context_length,
            teacher.context_length
        );
    }
    Ok(())
}

/// Returns the shape of an objective's teacher, read only from its config; `None` without a teacher.
/// `reference` is the shape of the run's reference, `time` the tokens of a training window.
///
/// # Errors
/// When the teacher's files cannot be read, or as [`check`].
pub fn shape(
    objective: &ObjectiveChoice,
    paths: &TeacherPaths,
    reference: &DecoderConfig,
    time: usize,
) -> Result<Option<DecoderConfig>> {
    let name = match objective {
        ObjectiveChoice::CrossEntropy => return Ok(None),
        ObjectiveChoice::Distill(distill) => match &distill.teacher {
            config::Teacher::Reference => return Ok(Some(reference.clone())),
            config::Teacher::Model(name) => name,
        },
    };
    let files = files(name, paths)?;
    check(&files.config, reference.vocab, time)
        .with_context(|| format!("{name} cannot be the teacher"))?;
    Ok(Some(files.config))
}

/// Opens the files of a teacher that the config names, without reading its weights.
pub(super) fn files(name: &str, paths: &TeacherPaths) -> Result<Files> {
    let unusable = || format!("the teacher {name} cannot be read");
    let path = paths.get(name).with_context(unusable)?;
    Files::open(path).with_context(unusable)
}

/// Reads a teacher into memory, and looks for lost ranks among the `peers` meanwhile.
///
/// # Errors
/// When it cannot be read, its vocabulary is not `vocab`, its context is too short, it does not fit in memory, or another rank is
/// lost meanwhile.
pub fn load(
    files: &Files,
    vocab: usize,
    passes: &Passes,
    device: &Device,
    peers: &Peers,
) -> Result<Teacher> {
    check(&files.config, vocab, passes.time)?;
    let model = Decoder::frozen(files.config.clone(), format(passes), device)?;
    Watched::new(files, peers).load_into(&model)?;
    with_buffers(model, passes)
}

/// Makes room for a teacher of this shape, whose weights are still to be written.
///
/// # Errors
/// When it does not fit in memory.
pub(super) fn blank(shape: DecoderConfig, passes: &Passes, device: &Device) -> Result<Teacher> {
    with_buffers(Decoder::frozen(shape, format(passes), device)?, passes)
}

fn with_buffers(model: Decoder, passes: &Passes) -> Result<Teacher> {
    let size = (passes.micro, passes.time);
    Ok(Teacher::new(model, size, format(passes), passes.format)?)
}

#[cfg(test)]
mod tests;
