//! The figures of losses, speed and hardware.

use super::{Figure, Figures, INFO};
use crate::dashboard::panels::evidence;
use crate::dashboard::scene::Scene;
use crate::dashboard::when;
use crate::dashboard::widgets::thousands;
use crate::dashboard::widgets::trace::latest_average;
use crate::run::GpuStats;
use crate::run::state::{LOSS, Status};
use crate::run::{losses, show, table};

/// Decay per optimizer step of the training loss that is shown as a number: an average over about 50 steps, independent of the
/// chart.
const DECAY: f64 = 0.98;

/// Returns the figures of the header's second line: losses, speed and hardware.
pub fn of_losses(scene: &Scene<'_>) -> Vec<Figure> {
    let run = scene.run;
    let core = &run.core;
    let mut all = Figures(scene, Vec::new());
    if scene.facts.replay.as_ref().is_some_and(|r| r.growing) {
        all.plain(
            "replay",
            0,
            "up to the step the run had reached at the start",
        );
    }
    all.1.extend(losses(scene));
    if core.tokens > 0 {
        all.plain("learning rate", 2, &format!("lr {:.2e}", core.lr));
    }
    ages(&mut all);
    // The speed is shown only while the run trains.
    if core.tokens > 0 && core.status == Status::Running {
        let speed = table::count(core.tokens_per_second as u64);
        all.plain("speed", 4, &format!("{speed} tok/s"));
    }
    if let Some(norm) = core.grad_norm {
        all.plain("gradient norm", 6, &format!("grad norm {norm:.2}"));
    }
    if core.tokens > 0 {
        let tokens = format!("{} tokens", table::count(core.tokens));
        all.plain("tokens", 8, &tokens);
    }
    if let Some(info) = &run.info {
        match &core.gpu {
            Some(reading) => all.plain("GPU", 5, &gpu(reading)),
            None => all.plain(
                "device",
                8,
                &format!(
                    "{} · {}",
                    info.device,
                    table::plural(info.threads, "thread")
                ),
            ),
        }
        all.plain("policy", 9, &format!("policy {}", info.policy));
        if core.tokens > 0 {
            let step = format!("{} steps total", thousands(core.step));
            all.plain("steps of the run", 9, &step);
        }
        if let Some(words) = info.eval_windows.and_then(|w| w.words()) {
            all.plain("evaluation", 9, &format!("evaluated on {words}"));
        }
    }
    if let Some(changes) = show::changes(run) {
        all.plain("set by the operator", 6, &changes);
    }
    if let Some(last) = &core.last_decision {
        let (age, style) = evidence::age(scene, last);
        all.push("evidence", INFO, &age, style);
    }
    if let Some(info) = &run.info {
        if let Some(dtype) = &info.dtype {
            all.plain("dtype", 8, dtype);
        }
        if let Some(reason) = &info.dtype_reason {
            all.plain("dtype because", INFO, reason);
        }
    }
    all.1.extend(ranks(scene));
    if run.dropped > 0 {
        let text = format!("{} points dropped", run.dropped);
        all.plain("not shown", 5, &text);
    }
    all.1
}

/// Returns the times per step of the ranks of a run of several; the first line has their number.
fn ranks(scene: &Scene<'_>) -> Vec<Figure> {
    let run = scene.run;
    let mut all = Figures(scene, Vec::new());
    let layout = run.layout();
    if let Some(layout) = layout.filter(|_| run.world().is_some()) {
        all.push("ranks", INFO, &layout.words(), scene.theme.plain);
    }
    if let Some(times) = run.rank_times() {
        all.push("ranks' time", INFO, &times.words(), scene.theme.plain);
    }
    all.1
}

/// Adds the ages of the latest evaluation and the latest checkpoint, also for a run that is not in progress.
fn ages(all: &mut Figures<'_>) {
    let scene = all.0;
    let run = scene.run;
    let since = (scene.now() - run.t).max(0) as f64 / 1000.0;
    if let Some(eval) = run.evals_of_phase().last() {
        let age = when::ago(since + run.elapsed - eval.elapsed);
        all.plain("latest evaluation", 3, &format!("eval {age}"));
    }
    if let Some(checkpoint) = run.checkpoints.last() {
        let age = when::ago((scene.now() - checkpoint.t) as f64 / 1000.0);
        all.plain("latest checkpoint", 5, &format!("ckpt {age}"));
    }
}

/// Returns the losses of the present phase: `train 2.947  val 2.9453 best  gap +0.0578 ±0.0022`.
fn losses(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let mut all = Figures(scene, Vec::new());
    let began = run.core.step.saturating_sub(run.core.phase_step);
    let in_phase = |step: u64| thousands(step.saturating_sub(began));
    let live = run.live();
    let last = live.train.stretches().last();
    // The average must not include values of the previous phase.
    if let Some(last) = last.filter(|s| s.last.seq > live.phase_start()) {
        let average = latest_average(&live.train, LOSS, live.phase_start(), DECAY);
        let mut values = live.train.column(LOSS).iter();
        let finite = values.next_back().is_some_and(|l| l.is_finite());
        match (finite, average.is_finite()) {
            (true, true) => all.push(
                "training loss",
                0,
                &format!("train {}", short(average)),
                theme.train,
            ),
            (true, false) => {}
            (false, _) => {
                let text = format!("train not finite @{}", in_phase(last.last.step));
                all.push("training loss", 0, &text, theme.warning);
            }
        }
    }
    let evals = run.evals_of_phase();
    let Some(now) = evals.last() else {
        return all.1;
    };
    let best = evals.iter().filter(|e| e.val_loss.is_some());
    let best = best.min_by(|a, b| a.val_loss().total_cmp(&b.val_loss()));
    let best = match best {
        Some(best) if best.seq == now.seq => " best".to_string(),
        Some(best) => format!(
            " (best {} @{})",
            losses::loss(best.val_loss()),
            in_phase(best.step)
        ),
        None => String::new(),
    };
    match now.val_loss.is_some() {
        true => {
            let text = format!("val {}{best}", losses::loss(now.val_loss()));
            all.push("validation loss", 0, &text, theme.val);
        }
        false => {
            let text = format!("val not finite{best}");
            all.push("validation loss", 0, &text, theme.warning);
        }
    }
    if now.gap.is_some() {
        let gap = losses::gap_words(now.gap, now.gap_stderr);
        all.plain("gap to the reference", 1, &format!("gap {gap}"));
    }
    all.1
}

/// Formats an average with as many digits as its noise permits.
fn short(loss: f64) -> String {
    match loss.abs() < 1000.0 {
        true => format!("{loss:.3}"),
        false => losses::loss(loss),
    }
}

/// Returns `GPU 98% 71C 61/80G 640W`.
fn gpu(reading: &GpuStats) -> String {
    let gb = |bytes: u64| (bytes as f64 / f64::from(1 << 30)).round();
    let mut text = "GPU".to_string();
    let mut push = |part: String| {
        text.push(' ');
        text.push_str(&part);
    };
    if let Some(share) = reading.utilization {
        push(format!("{share}%"));
    }
    if let Some(degrees) = reading.temperature {
        push(format!("{degrees}C"));
    }
    let (used, total) = (reading.memory_used, reading.memory_total);
    push(format!("{}/{}G", gb(used), gb(total)));
    if let Some(watts) = reading.watts {
        push(format!("{watts:.0}W"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_as_many_words_as_are_known() {
        let reading = GpuStats {
            utilization: Some(98),
            temperature: Some(71),
            watts: Some(639.6),
            memory_used: 61 << 30,
            memory_total: 80 << 30,
        };
        assert_eq!(gpu(&reading), "GPU 98% 71C 61/80G 640W");
        let little = GpuStats {
            utilization: None,
            temperature: None,
            watts: None,
            ..reading
        };
        assert_eq!(gpu(&little), "GPU 61/80G");
    }
}
