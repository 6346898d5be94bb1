//! Builds the runs of the tests, event by event.

use super::*;
use crate::run::event::{
    CheckpointWritten, Decision, Done, Evaluation, Growth, NonFinite, PhaseEvent, Probe, Rollback,
    RunEvent, TrainMetrics,
};

/// Events as a trainer would send them.
pub(in crate::dashboard) struct Story {
    pub state: RunState,
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    pub began: u64,
}

impl Story {
    pub fn new() -> Self {
        let mut story = Self {
            state: RunState::default(),
            seq: 0,
            step: 0,
            phase: Phase::Reference,
            began: 0,
        };
        let info = RunInfo {
            program: "heirloom 0.1.0".into(),
            name: "gpt2m-half".into(),
            host: "box".into(),
            pid: 4242,
            device: "cpu".into(),
            threads: 2,
            ranks: None,
            dtype: Some("bf16".into()),
            dtype_reason: Some("auto: AMX".into()),
            library: None,
            policy: "ask".into(),
            tokenizer: "byte".into(),
            train_tokens: 1_000_000,
            val_tokens: 100_000,
            n_layer: 8,
            n_head: 4,
            n_embd: 128,
            context_length: 128,
            vocab: 320,
            batch_tokens: 1024,
            reference_steps: 1000,
            round_steps: 200,
            grow_step: 2,
            grow_mode: GrowMode::Restart,
            grow_source: GrowSource::Next,
            max_layers: 6,
            tau: 0.9,
            probe_length: 100,
            control_random: true,
            control_reference: true,
            baselines: Vec::new(),
            only_baseline: None,
            eval_windows: None,
            tolerance: Some(0.0),
            ringing: None,
            tasks: None,
        };
        story.emit(Body::Run(RunEvent {
            status: RunStatus::Started,
            info: Some(info),
            message: None,
        }));
        story
    }

    /// Folds the next event, and returns it.
    pub fn emit(&mut self, body: Body) -> Event {
        self.seq += 1;
        let event = Event {
            v: FORMAT_VERSION,
            seq: self.seq,
            t: 1_700_000_000_000 + 100 * self.step as i64,
            elapsed: self.step as f64 / 10.0,
            step: self.step,
            phase: self.phase.clone(),
            phase_step: self.step - self.began,
            branch: 0,
            body,
        };
        self.state.apply(&event);
        event
    }

    pub fn phase(&mut self, phase: Phase, layers: usize, steps: u64, start: Start) {
        (self.phase, self.began) = (phase, self.step);
        let source_layers = (0..layers).collect();
        let parameters = 200_000 * layers as u64;
        self.emit(Body::Phase(PhaseEvent {
            layers,
            parameters,
            steps,
            start,
            source_layers,
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
    }

    pub fn train(&mut self, steps: u64, layers: usize, loss: impl Fn(f64) -> f64) {
        for i in (10..=steps).step_by(10) {
            self.step += 10;
            let noise = 0.05 * ((self.step * 7919 % 101) as f64 / 101.0 - 0.5);
            self.emit(Body::Train(TrainMetrics {
                loss: Some(loss(i as f64) + noise),
                lr: 1e-3,
                grad_norm: Some(1.25),
                tokens: 1024 * self.step,
                tokens_per_second: 24_500.0,
                ..Default::default()
            }));
            if i % 50 == 0 {
                self.eval(loss(i as f64) + 0.05);
            }
        }
        let max_rank: Vec<f64> = (0..layers)
            .map(|l| {
                if l == 7 {
                    1.0
                } else {
                    (40.0 / (l + 1) as f64).max(1.1)
                }
            })
            .collect();
        let lazy_layers = (0..layers).filter(|l| *l == 7).collect();
        self.emit(Body::Probe(Probe {
            rank: max_rank.iter().map(|r| vec![*r; 4]).collect(),
            sink: Vec::new(),
            avg_mass: vec![0.5; layers],
            max_rank,
            lazy_layers,
            block_influence: (0..layers).map(|l| 0.4 / (l + 1) as f64).collect(),
            grad_q: Vec::new(),
            grad_k: Vec::new(),
            windows: 20,
            length: 100,
            tau: 0.9,
            seconds: 0.1,
            file: "rank/x.safetensors".into(),
        }));
    }

    /// Logs a training loss that is NaN, ten steps later.
    pub fn not_a_number(&mut self) {
        self.step += 10;
        self.emit(Body::Train(TrainMetrics {
            nonfinite: Some(NonFinite::Nan),
            lr: 1e-3,
            tokens: 1024 * self.step,
            tokens_per_second: 1.0,
            ..Default::default()
        }));
    }

    pub fn eval(&mut self, val_loss: f64) {
        let gap = self.state.benchmark().map(|b| val_loss - b);
        self.emit(Body::Eval(Evaluation {
            val_loss: Some(val_loss),
            nonfinite: None,
            stderr: Some(0.01),
            windows: 256,
            blocks: None,
            gap,
            gap_stderr: gap.map(|_| 0.0023),
            matched: gap.is_some_and(|g| g <= 0.0),
            seconds: 0.3,
        }));
    }

    pub fn end(&mut self, layers: usize, gap: Option<f64>) {
        let result = PhaseResult {
            layers,
            parameters: 200_000 * layers as u64,
            steps: self.step - self.began,
            tokens: 1024 * (self.step - self.began),
            val_loss: 2.0 + gap.unwrap_or(0.0),
            stderr: 0.01,
            gap,
            gap_stderr: gap.map(|_| 0.0023),
            tokens_per_second: 24_500.0,
            tokens_per_second_wall: 20_000.0,
            lazy_layers: if layers == 8 { vec![7] } else { Vec::new() },
            max_rank: vec![3.0; layers],
            start: Start::Inherit,
            matched: gap.is_some_and(|g| g <= 0.0),
        };
        self.emit(Body::Phase(PhaseEvent {
            layers,
            parameters: result.parameters,
            steps: result.steps,
            start: result.start,
            source_layers: Vec::new(),
            result: Some(result),
            schedule: None,
            planned: Vec::new(),
        }));
    }

    pub fn checkpoint(&mut self) {
        self.emit(Body::Checkpoint(CheckpointWritten {
            name: format!("b0-s{:08}-{}", self.step, self.phase),
            bytes: 1 << 20,
            seconds: 0.1,
            val_loss: None,
            reason: "every".into(),
            verified: true,
            begun: None,
            of_step: None,
            milestone: None,
        }));
    }

    pub fn decision(&mut self, id: u64) -> Event {
        let evidence = Evidence {
            round: 1,
            layers: 4,
            val_loss: 2.0412,
            stderr: 0.0104,
            benchmark: 2.0,
            reference_layers: 8,
            gap: 0.0412,
            gap_stderr: 0.0023,
            tolerance: 0.0,
            matched: false,
            slope_per_1k: None,
            slope_stderr: None,
            plateau: Plateau::No,
            forecast: None,
            forecast_grown: None,
            forecasts: forecasts::of_choices(),
            lazy_layers: Vec::new(),
            reference_lazy_layers: vec![7],
            growth: Some(GrowthCost {
                add: 2,
                source_layers: vec![4, 5],
                layers: 6,
                parameters: 1_250_000,
                memory_bytes: 77 << 20,
                tokens_per_second: 35_600.0,
                measured: false,
                hours: 0.0016,
            }),
            costs: Vec::new(),
            rules: Vec::new(),
            suggestion: Suggestion::Grow,
            why: "4 layers are 0.0412 ±0.0023 behind the reference".into(),
        };
        self.emit(Body::Decision(Decision {
            id,
            status: DecisionStatus::Open,
            reason: DecisionReason::EndOfSteps,
            evidence: Some(Box::new(evidence)),
            evidence_step: Some(self.step),
            choice: None,
            by: None,
        }))
    }

    /// Makes a run in its first round, with an open decision.
    pub fn deciding() -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1000, Start::Random);
        story.eval(5.7);
        story.train(500, 8, |i| 2.0 + 3.5 * (-i / 80.0).exp());
        story.checkpoint();
        story.train(500, 8, |i| 1.95 + 0.05 * (-i / 80.0).exp());
        story.end(8, None);
        story.phase(Phase::Round(1), 4, 200, Start::Inherit);
        story.eval(3.1);
        story.train(200, 4, |i| 1.97 + 0.4 * (-i / 60.0).exp());
        story.decision(1);
        story
    }

    /// Makes a run in a phase of a million steps, with one event per step.
    pub fn long(events: u64) -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1_000_000, Start::Random);
        for i in 0..events {
            story.step += 1;
            story.emit(Body::Train(TrainMetrics {
                loss: Some(2.0 + (i % 97) as f64 / 100.0),
                nonfinite: None,
                lr: 1e-3,
                grad_norm: Some(1.25),
                tokens: 1024 * story.step,
                tokens_per_second: 24_500.0,
                ..Default::default()
            }));
            if i % 50 == 0 {
                story.eval(2.5);
            }
        }
        story
    }

    /// Makes a run in a round that went back to a checkpoint after its loss had jumped.
    pub fn gone_back() -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1000, Start::Random);
        story.train(400, 8, |i| 2.0 + 3.5 * (-i / 80.0).exp());
        story.checkpoint();
        let (from_seq, step) = (story.seq, story.step);
        story.train(300, 8, |i| 2.02 + 0.3 * (i / 300.0).powi(2));
        story.step = step;
        story.emit(Body::Rollback(Rollback {
            checkpoint: "b0-s00000400-reference".into(),
            from_seq,
            why: "the loss jumped".into(),
            overruled: Vec::new(),
        }));
        story.train(200, 8, |i| 2.02 - 0.05 * (i / 200.0));
        story
    }

    /// Makes a run that is done.
    pub fn done() -> Self {
        let mut story = Self::deciding();
        story.end(4, Some(0.0412));
        story.phase(Phase::Round(2), 6, 200, Start::Restart);
        story.emit(Body::Grow(Growth {
            from_layers: 4,
            to_layers: 6,
            added: vec![4, 5],
            mode: GrowMode::Restart,
            source: GrowSource::Next,
            round: 2,
        }));
        story.train(200, 6, |i| 1.92 + 0.4 * (-i / 60.0).exp());
        story.end(6, Some(-0.0123));
        story.phase(Phase::from("control-random"), 6, 200, Start::Random);
        story.train(200, 6, |i| 2.4 + 3.0 * (-i / 60.0).exp());
        story.end(6, Some(0.41));
        let outcome = Some(Outcome::Matched);
        story.emit(Body::Done(Done {
            outcome,
            failed: false,
            message: "6 of 8 layers, gap -0.0123 ±0.0023".into(),
        }));
        story
    }
}
