//! Checks knowledge distillation: the loss at the head and its gradients, for a student and a teacher of different width.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module};

use super::super::{Case, SelfTest};
use super::{exact, gradients, variable};
use crate::model::{Decoder, Format, Teacher, Workspace};
use crate::ops::{self, Accumulation, Precision, SoftTargets};

/// The share of the divergence, and the temperature.
#[derive(Clone, Copy)]
pub struct Mix {
    pub alpha: f64,
    pub temperature: f64,
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alpha {} T {}", self.alpha, self.temperature)
    }
}

/// Computes the loss of each row of logits `[M, V]` from the definition (Hinton et al., arXiv 1503.02531).
pub fn row_losses(logits: &Tensor, taught: &Tensor, targets: &Tensor, mix: Mix) -> Result<Tensor> {
    let of_rows = candle_nn::ops::log_softmax(logits, 1)?;
    let hard = of_rows
        .gather(&targets.unsqueeze(1)?, 1)?
        .squeeze(1)?
        .neg()?;
    let [log_p, log_q] =
        [logits, taught].map(|logits| candle_nn::ops::log_softmax(&(logits / mix.temperature)?, 1));
    let (log_p, log_q) = (log_p?, log_q?);
    let divergence = (log_q.exp()? * (log_q - log_p)?)?.sum(1)?;
    let soft = (divergence * (mix.alpha * mix.temperature.powi(2)))?;
    (hard * (1.0 - mix.alpha))? + soft
}

/// Returns a frozen copy of `model` on `device` as a teacher for the passes of `ws`.
pub fn teacher(model: &Decoder, ws: &Workspace, device: &Device) -> Result<Teacher> {
    let format = Format::on(device, ws.compute);
    let copy = Decoder::frozen(model.config.clone(), format, device)?;
    copy.weights.write_all(&model.weights.read_all()?)?;
    Teacher::new(copy, (ws.batch, ws.time), format, format)
}

impl SelfTest<'_> {
    /// Checks distillation at the head and in complete models.
    pub fn distillation(&mut self) {
        for (student, teacher) in self.pairs() {
            let drawn = (self.ragged(90), self.ragged(100), self.ragged(900));
            for (m, c, v) in [(3, 8, 5), (150, 40, 1100), (5, 16, 9001), drawn] {
                for (alpha, temperature) in [(0.4, 2.0), (1.0, 1.0)] {
                    let (c, mix) = (self.fit(c), Mix { alpha, temperature });
                    let what = format!(
                        "distillation {} from {} {m}x{c}x{v}, {mix}",
                        student.name(),
                        teacher.name()
                    );
                    self.check_shares(&what, |t| t.distilled((student, teacher), (m, c, v), mix));
                }
            }
        }
        self.taught_models();
    }

    /// Returns precisions of students and teachers. On a GPU, a student in bf16 has a teacher in bf16.
    fn pairs(&self) -> Vec<(Case, Case)> {
        let cases = self.cases();
        let all = cases.iter().flat_map(|&student| {
            let teachers = cases.iter().filter(move |teacher| {
                student.dtype == DType::F32 || teacher.dtype == student.dtype
            });
            teachers.map(move |&teacher| (student, teacher))
        });
        all.collect()
    }

    fn distilled(
        &mut self,
        (student, taught): (Case, Case),
        (m, c, v): (usize, usize, usize),
        mix: Mix,
    ) -> Result<Vec<f64>> {
        let width = c + 8;
        let x = self.normal_there(&[m, c], student.dtype, 1.0)?;
        let wte = self.normal_there(&[v, c], student.dtype, 0.5)?;
        let teacher_x = self.normal_there(&[m, width], taught.dtype, 1.0)?;
        let head = self.normal_there(&[v, width], taught.dtype, 0.5)?;
        let targets = self.ids(&[1, m], v)?;
        let stride = match self.device.is_cuda() {
            true => v.next_multiple_of(64),
            false => v,
        };
        // The pieces differ in size; the smaller size applies to both.
        let chunk = self.poisoned_there(&[m.min(64), stride], DType::F32)?;
        let teacher_chunk = self.poisoned_there(&[m.min(70), stride], taught.dtype)?;

        let xv = variable(&student.operand(&x)?)?;
        let wv = variable(&student.operand(&wte)?)?;
        let logits = Linear::new(wv.as_tensor().clone(), None).forward(&xv)?;
        let of_teacher = Linear::new(taught.operand(&head)?, None);
        let of_teacher = of_teacher.forward(&taught.operand(&teacher_x)?)?;
        let losses = row_losses(&logits, &of_teacher, &targets.cpu.flatten_all()?, mix)?;
        // The scale of the gradients.
        let scale = 0.25f32;
        let dy = losses.ones_like()?.affine(f64::from(scale), 0.0)?;
        let [want_dx, want_dw] = gradients(&losses, &dy, [&xv, &wv])?;

        let got = self.poisoned_there(&[m], DType::F32)?;
        let dx = self.poisoned_there(&[m, c], student.dtype)?;
        let dw = self.normal_there(&[v, c], DType::F32, 0.1)?;
        let want_dw = (exact(&dw)? + want_dw)?;
        ops::head_distillation(
            student.compute,
            &got,
            (&dx, &dw, Accumulation::Add),
            &chunk,
            &x,
            &wte,
            &targets.gpu,
            scale,
            SoftTargets {
                compute: taught.compute,
                x: &teacher_x,
                head: &head,
                chunk: &teacher_chunk,
                alpha: mix.alpha as f32,
                temperature: mix.temperature as f32,
            },
        )?;
        // On a GPU, rounding of the teacher's logits is visible in losses and gradients.
        let rounded = match taught.compute {
            Precision::F32 => student,
            Precision::Bf16 if self.device.is_cuda() => taught,
            Precision::Bf16 => student,
        };
        let loss = rounded.one_of(3e-5, 3e-5, 3e-3);
        let gradient = rounded.one_of(3e-5, 4e-2, 6e-2);
        Ok(vec![
            self.agree(&got, &losses, loss)?,
            self.agree(&dx, &want_dx, gradient)?,
            self.agree(&dw, &want_dw, gradient)?,
        ])
    }
}
