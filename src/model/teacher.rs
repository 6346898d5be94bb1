//! A frozen model on whose probabilities another model is trained (knowledge distillation).

use candle_core::{Result, Tensor, bail};

use super::config::DecoderConfig;
use super::decoder::Decoder;
use super::format::{Format, Mode};
use super::head::Head;
use super::memory::workspace_bytes;
use super::weights::WeightArena;
use super::workspace::{Workspace, activations};
use crate::ops::{self, SoftTargets};

/// A model without gradients, and buffers to run a student's windows through it. As for the student, logits exist for only a
/// piece of the rows at a time.
#[derive(Debug)]
pub struct Teacher {
    model: Decoder,
    ws: Workspace,
    /// The teacher's logits for a piece of the rows.
    chunk: Tensor,
    /// The student's logits for a piece of the rows, if the student's workspace cannot hold complete rows.
    of_student: Option<Tensor>,
}

/// Returns the number of rows of logits that exist at once, their stride, and whether the student needs a buffer of its own for
/// such rows: with bf16 on the CPU its head works on columns instead.
fn piece(student: Format, rows: usize, vocab: usize) -> ((usize, usize), bool) {
    match student.gpu {
        true => {
            // The student's memory is counted in f32, while its logits have the type of its activations.
            let (whole, stride) = student.chunk(rows, vocab);
            let own = whole * size_of::<f32>() / student.activation().size_in_bytes();
            ((own.min(rows), stride), false)
        }
        false => {
            let piece = Format::PLAIN.chunk(rows, vocab);
            (piece, piece != student.chunk(rows, vocab))
        }
    }
}

impl Teacher {
    /// Makes a teacher for passes over `batch` windows of `time` tokens. `format`, for which the model was made, is the teacher's
    /// format, and `student` the student's.
    ///
    /// # Errors
    /// When `time` is longer than the model's context, or there is not enough memory.
    pub fn new(
        model: Decoder,
        (batch, time): (usize, usize),
        format: Format,
        student: Format,
    ) -> Result<Self> {
        let device = model.weights.device().clone();
        let ((rows, stride), own) = piece(student, batch * time, model.config.vocab);
        let logits = |format| activations(&[rows, stride], format, &device);
        Ok(Self {
            ws: Workspace::with_room(
                &model.config,
                (batch, time),
                Mode::Trunk,
                format,
                0,
                &device,
            )?,
            chunk: logits(format)?,
            of_student: own.then(|| logits(student)).transpose()?,
            model,
        })
    }

    /// Returns the bytes of a teacher's buffers, without the weights.
    pub fn buffer_bytes(
        config: &DecoderConfig,
        (batch, time): (usize, usize),
        format: Format,
        student: Format,
    ) -> u64 {
        let ((rows, stride), own) = piece(student, batch * time, config.vocab);
        let logits = |format: Format| (rows * stride * format.activation().size_in_bytes()) as u64;
        let own = if own { logits(student) } else { 0 };
        workspace_bytes(config, (batch, time), Mode::Trunk, format, 0) + logits(format) + own
    }

    /// Returns the weights of the model that [`Self::new`] was given.
    pub fn weights(&self) -> &WeightArena {
        &self.model.weights
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.model.config
    }

    /// Runs the windows `inputs` (B T token ids) through the model, for the losses that follow.
    ///
    /// # Errors
    /// When there are not B T ids, an id is not in the vocabulary, or an operation fails.
    pub fn read(&self, inputs: &[u32]) -> Result<()> {
        if inputs.len() != self.ws.batch * self.ws.time {
            bail!(
                "{} tokens for a teacher of {} x {}",
                inputs.len(),
                self.ws.batch,
                self.ws.time
            );
        }
        ops::write(&self.ws.inputs, inputs)?;
        self.model.trunk(&self.ws, &mut |_, _, _| Ok(()))
    }
}

impl Head<'_> {
    /// Computes the distillation loss of every token, in nats, and the gradients of `scale` times their sum:
    /// `(1 - alpha) CE + alpha T² KL(teacher || student)`, with both distributions of the divergence at temperature T. The
    /// teacher must have read the same windows.
    ///
    /// # Errors
    /// When the vocabularies differ, a target is outside them, or an operation fails.
    pub fn distillation(
        &self,
        teacher: &Teacher,
        alpha: f32,
        temperature: f32,
        scale: f32,
    ) -> Result<()> {
        let (ws, compute) = (self.ws, teacher.ws.compute);
        ops::head_distillation(
            ws.compute,
            &ws.losses,
            (self.d_x, self.d_weight, self.how),
            teacher.of_student.as_ref().unwrap_or(&ws.chunk),
            &ws.x_final,
            self.weight,
            &ws.targets,
            scale,
            SoftTargets {
                compute,
                x: &teacher.ws.x_final,
                head: &teacher.model.operands(compute)?.head,
                chunk: &teacher.chunk,
                alpha,
                temperature,
            },
        )
    }
}
