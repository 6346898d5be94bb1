//! The two lines on top: which run, what it does, how fast, how long still.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::{Scene, fitted, thousands};
use crate::dashboard::eta;
use crate::dashboard::replay::speed_words;
use crate::device::Reading;
use crate::run::show;
use crate::run::state::{LOSS, Status};
use crate::run::table;
use crate::run::trend;

/// Two lines.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    frame.render_widget(fitted(identity(scene), area.width), area);
    let second = Rect {
        y: area.y + 1,
        height: 1,
        ..area
    };
    if area.height > 1 {
        let line = match show::pause(scene.run) {
            // A run that stands still has no speed, but a reason.
            Some(why) => reason(scene, why, area.width),
            None => speed(scene),
        };
        frame.render_widget(fitted(line, area.width), second);
    }
}

/// One line.
pub fn short(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut all = identity(scene);
    // The name of the program is the first thing to go.
    all.remove(0);
    frame.render_widget(fitted(all, area.width), area);
}

fn identity(scene: &Scene<'_>) -> Vec<(String, Style)> {
    let (run, theme) = (scene.run, scene.theme);
    let core = &run.core;
    let name = run.info.as_ref().map_or(scene.title, |i| &i.name);
    let (word, style) = match core.status {
        Status::Empty => ("WAITING", theme.dim),
        Status::Running => ("● TRAIN", theme.good),
        Status::Paused => ("PAUSED", theme.warning),
        Status::Interrupted => ("INTERRUPTED", theme.warning),
        Status::Done => ("DONE", theme.good),
        Status::Failed => ("FAILED", theme.warning),
    };
    let mut all = vec![
        ("heirloom".to_string(), theme.title),
        (scene.text(name), theme.title),
    ];
    match &scene.facts.replay {
        None => all.push((scene.text(word), style)),
        Some(playing) => {
            let speed = speed_words(playing.speed);
            all.push((format!("REPLAY {speed}"), theme.selected));
            // Training is what is expected; anything else is told, as what was.
            if core.status != Status::Running {
                all.push((format!("was {}", core.status), theme.plain));
            }
        }
    }
    // What changes the meaning of everything else comes before what may not fit.
    if let Some(share) = scene.facts.loading {
        all.push((
            format!("LOADING {:.0}%", (100.0 * share).floor()),
            theme.warning,
        ));
    }
    if scene.frozen {
        all.push(("FROZEN".into(), theme.warning));
    }
    match &scene.facts.controller {
        Some(other) => all.push((scene.text(&format!("control: {other}")), theme.warning)),
        None if scene.facts.read_only && scene.facts.replay.is_none() => {
            all.push(("read only".into(), theme.dim));
        }
        None => {}
    }
    if let Some(now) = &core.phase {
        let phase = table::phase_name(&now.phase);
        let layers = format!("{phase} · {} layers", now.layers);
        all.push((scene.text(&layers), theme.plain));
        let step = format!("step {}/{}", thousands(core.phase_step), thousands(now.due));
        all.push((step, theme.plain));
    }
    all
}

/// As much of the reason of a pause as fits; the log has the rest.
fn reason(scene: &Scene<'_>, why: &str, width: u16) -> Vec<(String, Style)> {
    let mut text = scene.text(&format!("because {why}"));
    let fits = usize::from(width.saturating_sub(1));
    while Span::raw(text.as_str()).width() > fits {
        text.pop();
    }
    vec![(text, scene.theme.warning)]
}

fn speed(scene: &Scene<'_>) -> Vec<(String, Style)> {
    let (run, theme) = (scene.run, scene.theme);
    let core = &run.core;
    let mut all = Vec::new();
    if scene.facts.replay.as_ref().is_some_and(|r| r.growing) {
        let text = scene.text("up to where the run was when this began");
        all.push((text, theme.plain));
    }
    all.extend(losses(scene));
    let mut push = |text: String| all.push((scene.text(&text), theme.plain));
    if core.tokens > 0 {
        push(format!("lr {:.2e}", core.lr));
    }
    if scene.facts.replay.is_none()
        && let Some(left) = eta::seconds(run)
    {
        // With an operator deciding, rounds may last longer than planned.
        let bound = match &run.info {
            Some(info) if info.policy == "auto" => "≤",
            _ => "~",
        };
        push(format!("ETA {bound}{}", eta::words(left)));
    }
    // A run that stands still has no speed.
    if core.tokens > 0 && core.status == Status::Running {
        push(format!(
            "{} tok/s",
            table::count(core.tokens_per_second as u64)
        ));
    }
    if core.tokens > 0 {
        push(format!("{} tokens", table::count(core.tokens)));
    }
    if let Some(info) = &run.info {
        match &core.gpu {
            Some(reading) => push(gpu(reading)),
            None => push(format!("{} · {} threads", info.device, info.threads)),
        }
        push(format!("policy {}", info.policy));
        if core.tokens > 0 {
            push(format!("step {} in all", thousands(core.step)));
        }
        if let Some(norm) = core.grad_norm {
            push(format!("grad norm {norm:.2}"));
        }
        if let Some(words) = info.eval_windows.and_then(|w| w.words()) {
            push(format!("evaluated on {words}"));
        }
    }
    if run.dropped > 0 {
        push(format!("{} points dropped", run.dropped));
    }
    all
}

/// The losses of the present phase: `train 2.947  val 2.9453 best  gap +0.0578 ±0.0022`.
fn losses(scene: &Scene<'_>) -> Vec<(String, Style)> {
    let (run, theme) = (scene.run, scene.theme);
    let mut all = Vec::new();
    let mut push = |text: String, style| all.push((scene.text(&text), style));
    let began = run.core.step.saturating_sub(run.core.phase_step);
    let in_phase = |step: u64| thousands(step.saturating_sub(began));
    let live = run.live();
    let last = live.train.stretches().last();
    // The average is that of the chart; of the phase before it says nothing.
    if let Some(last) = last.filter(|s| s.last.seq > live.phase_start()) {
        let average = scene.curve.smooth(live.train.len() - 1);
        let finite = live
            .train
            .column(LOSS)
            .last()
            .is_some_and(|l| l.is_finite());
        match (finite, average.is_finite()) {
            (true, true) => push(format!("train {average:.3}"), theme.train),
            (true, false) => {}
            (false, _) => push(
                format!("train not finite @{}", in_phase(last.last.step)),
                theme.warning,
            ),
        }
    }
    let evals = run.evals_of_phase();
    let Some(now) = evals.last() else { return all };
    let best = evals.iter().filter(|e| e.val_loss.is_finite());
    let best = best.min_by(|a, b| a.val_loss.total_cmp(&b.val_loss));
    let best = match best {
        Some(best) if best.seq == now.seq => " best".to_string(),
        Some(best) => format!(" (best {:.4} @{})", best.val_loss, in_phase(best.step)),
        None => String::new(),
    };
    match now.val_loss.is_finite() {
        true => push(format!("val {:.4}{best}", now.val_loss), theme.val),
        false => push(format!("val not finite{best}"), theme.warning),
    }
    if now.gap.is_some() {
        let gap = trend::gap_words(now.gap, now.gap_stderr);
        push(format!("gap {gap}"), theme.plain);
    }
    all
}

/// `GPU 98% 71C 61/80G 640W`.
fn gpu(reading: &Reading) -> String {
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
    fn a_gpu_is_told_of_in_as_many_words_as_are_known() {
        let reading = Reading {
            utilization: Some(98),
            temperature: Some(71),
            watts: Some(639.6),
            memory_used: 61 << 30,
            memory_total: 80 << 30,
        };
        assert_eq!(gpu(&reading), "GPU 98% 71C 61/80G 640W");
        let little = Reading {
            utilization: None,
            temperature: None,
            watts: None,
            ..reading
        };
        assert_eq!(gpu(&little), "GPU 61/80G");
    }
}
