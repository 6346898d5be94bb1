//! Training steps, evaluations and probes, with their events.

use std::time::Instant;

use anyhow::Result;

use super::evidence;
use super::instruction::Order;
use super::learner::{Pace, Step};
use super::objective::Objective;
use super::optimizer::Hyperparameters;
use super::plan;
use super::state::AtStep;
use super::trainer::Trainer;
use crate::eval::{mean_stderr, paired_gap};
use crate::run::event::{
    Body, Evaluation, Phase, Probe, RankSeconds, RankTimes, TrainMetrics, finite,
};
use crate::run::losses::GapData;

/// Seconds of training after which a step emits a `train` event whatever `train.log_every` is, so that slow steps are reported one by one.
const SILENCE_SECONDS: f64 = 5.0;

impl Trainer {
    /// One optimizer step. Returns false, without touching the weights, when loss or gradient are not finite.
    pub(super) fn train_step(&mut self) -> Result<bool> {
        crate::fault::panic_at("trainer", self.state.step);
        let choice = plan::objective(&self.config, &self.state.phase);
        self.provide_teacher(&choice)?;
        let objective = Objective::from(&choice);
        let began = Instant::now();
        let lr = self.learning_rate();
        let schedule = self.schedule();
        self.state.course.follow(self.state.phase_step, schedule);
        self.state.course.see(self.state.phase_step, lr);
        let (stream, step) = (self.state.stream, self.state.phase_step);
        let drawn = self.data.drawn(stream, step, self.weights());
        let batch = self.data.batch(&drawn)?;
        let frozen = self.state.live.frozen().to_vec();
        let values = Hyperparameters {
            frozen: &frozen,
            ..self.hyperparameters()
        };
        let order = Order::new(drawn, objective, &values);
        let step = self.learner.lead_step(&batch, &order);
        self.data.give_back(batch);
        let Step {
            loss,
            grad_norm: norm,
            clipped,
            applied: good,
        } = step?;
        let seconds = began.elapsed().as_secs_f64();
        let state = &mut self.state;
        state.step += 1;
        state.phase_step += 1;
        state.tokens += self.config.train.batch_tokens;
        state.loss_sum += loss;
        state.loss_count += 1;
        state.clipped += u64::from(clipped);
        state.phase_tokens += self.config.train.batch_tokens;
        state.train_seconds += seconds;
        state.wall_seconds += seconds;
        state.interval_seconds += seconds;
        let due = state.phase_step.is_multiple_of(self.config.train.log_every);
        self.keep_algorithms();
        let state = &self.state;
        if !good || due || state.interval_seconds >= SILENCE_SECONDS {
            self.report_step(lr, norm, &frozen)?;
        }
        Ok(good)
    }

    fn report_step(&mut self, lr: f64, norm: f64, frozen: &[usize]) -> Result<()> {
        let norms = self.learner.norms(frozen)?;
        let clips = self.hyperparameters().clip > 0.0;
        let state = &mut self.state;
        let tokens = state.loss_count * self.config.train.batch_tokens;
        let (loss, nonfinite) = finite(state.loss_sum / state.loss_count as f64);
        let clip_rate = clips.then(|| state.clipped as f64 / state.loss_count as f64);
        state.clipped = 0;
        state.loss_sum = 0.0;
        state.loss_count = 0;
        let tokens_per_second = tokens as f64 / state.interval_seconds.max(1e-9);
        state.interval_seconds = 0.0;
        let body = Body::Train(TrainMetrics {
            loss,
            nonfinite,
            lr,
            grad_norm: finite(norm).0,
            param_norm: norms.and_then(|norms| six_digits(norms.params)),
            momentum_norm: norms.and_then(|norms| six_digits(norms.momentum)),
            clip_rate,
            tokens: self.state.tokens,
            tokens_per_second,
        });
        self.emit(body);
        if self.learner.peers().are_there() {
            let pace = self.learner.take_pace()?;
            let steps = pace.first().map_or(0, |pace| pace.steps);
            let pace: Vec<RankSeconds> = pace.iter().map(to_seconds).collect();
            self.emit(Body::Ranks(RankTimes::of(steps, &pace)));
        }
        if let Some(reading) = self.machine.gpu_stats() {
            self.emit(Body::Gpu(reading));
        }
        self.journal.flush();
        self.report_journal_problem();
        Ok(())
    }

    /// Evaluates on the fixed windows, unless that was done at this very step.
    pub(super) fn evaluate(&mut self) -> Result<Evaluation> {
        if let Some(record) = self.state.eval_now() {
            return Ok(record.measured);
        }
        let began = Instant::now();
        let windows = self.data.eval_windows();
        let disjoint = windows.disjoint;
        let losses = self.data.evaluate(&mut self.learner, self.state.step)?;
        let (val_loss, stderr) = mean_stderr(losses, disjoint);
        let gap = self
            .state
            .benchmark
            .as_ref()
            .map(|b| paired_gap(losses, &b.losses, disjoint));
        let within = gap.is_some_and(|(gap, stderr)| {
            GapData::of(gap, stderr) == GapData::Measured && gap <= self.config.matching.tolerance
        });
        self.state.consecutive_matches = match (within, &self.state.phase) {
            (true, Phase::Round(_)) => self.state.consecutive_matches + 1,
            _ => 0,
        };
        let matched = self.state.consecutive_matches >= self.config.matching.patience;
        let (loss, nonfinite) = finite(val_loss);
        let seconds = began.elapsed().as_secs_f64();
        let evaluation = Evaluation {
            val_loss: loss,
            nonfinite,
            stderr: finite(stderr).0,
            windows: self.learner.eval_windows(),
            blocks: windows.overlap().then_some(disjoint),
            gap: gap.and_then(|g| finite(g.0).0),
            gap_stderr: gap.and_then(|g| finite(g.1).0),
            matched,
            seconds,
        };
        let was_finite = self.state.evals.last().is_none_or(|e| e.val_loss.is_some());
        let before = evidence::divergence(&self.state.evals).is_some();
        self.state.evals.push(AtStep {
            phase_step: self.state.phase_step,
            measured: evaluation,
        });
        self.state.wall_seconds += seconds;
        self.emit(Body::Eval(evaluation));
        if !val_loss.is_finite() && was_finite {
            self.warn(format!(
                "the validation loss at {} is not finite: plateau, forecast and suggestion have insufficient data until it is again",
                self.place()
            ));
        }
        if !before && let Some(diverged) = evidence::divergence(&self.state.evals) {
            let run = self.directory.run().argument();
            self.warn(format!(
                "{diverged}; heirloom ctl {run} status lists what helps"
            ));
        }
        Ok(evaluation)
    }

    /// Probes the attention ranks, unless that was done at this very step.
    pub(super) fn probe(&mut self) -> Result<()> {
        let done = self
            .state
            .probe
            .as_ref()
            .is_some_and(|p| p.phase_step == self.state.phase_step);
        if done {
            return Ok(());
        }
        let began = Instant::now();
        let (result, stats) = match self.learner.probe(self.data.val(), self.config.probe.tau)? {
            Ok(found) => found,
            Err(error) => {
                self.warn(format!("attention ranks were not measured: {error}"));
                self.state.probe = Some(AtStep {
                    phase_step: self.state.phase_step,
                    measured: Probe::default(),
                });
                return Ok(());
            }
        };
        let name = format!(
            "b{}-s{:08}-{}.safetensors",
            self.state.branch, self.state.step, self.state.phase
        );
        let file = format!("rank/{name}");
        self.keeping()
            .keep_probe(name, result.clone(), stats.clone());
        let seconds = began.elapsed().as_secs_f64();
        self.state.last_probe_seconds = seconds;
        self.state.wall_seconds += seconds;
        let probe = Probe {
            max_rank: result.max_rank,
            avg_mass: result.avg_mass,
            rank: result.rank,
            sink: rounded(&result.sink),
            lazy_layers: result.lazy_layers,
            block_influence: stats.block_influence,
            grad_q: stats.grad_q,
            grad_k: stats.grad_k,
            windows: result.windows,
            length: result.length,
            tau: result.tau,
            seconds,
            file,
        };
        self.state.probe = Some(AtStep {
            phase_step: self.state.phase_step,
            measured: probe.clone(),
        });
        self.emit(Body::Probe(probe));
        Ok(())
    }
}

/// A rank's times as journals have them.
fn to_seconds(pace: &Pace) -> RankSeconds {
    RankSeconds {
        compute: (pace.seconds - pace.wait).max(0.0),
        wait: pace.wait,
        exchange: pace.exchange,
    }
}

/// Rounds to six significant digits, enough for charts, so that events stay short; `None` if the number is not finite.
fn six_digits(x: f64) -> Option<f64> {
    format!("{x:.5e}")
        .parse()
        .ok()
        .filter(|x: &f64| x.is_finite())
}

/// Four decimals, which are more than a mean over a probe's windows is worth, so that an event stays short.
fn rounded(table: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let round = |x: &f64| (x * 1e4).round() / 1e4;
    let row = |row: &Vec<f64>| row.iter().filter(|x| x.is_finite()).map(round).collect();
    table.iter().map(row).collect()
}
