//! The figures of a run in the order in which an operator needs them. The header's two lines show as many as fit, the info
//! layer all.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Scene, evidence, thousands};
use crate::dashboard::replay::speed_words;
use crate::dashboard::{eta, when};
use crate::device::Reading;
use crate::run::show;
use crate::run::state::{LOSS, Status};
use crate::run::{table, trend};

/// Without an event for this long and for [`STALL`] times the usual interval, a run that should train is told to stand
/// still.
const SILENT: f64 = 60.0;
const STALL: f64 = 3.0;
/// Points of the training curve that say what is usual.
const RECENT: usize = 50;

/// The rank of a figure that only the info layer shows.
const INFO: u8 = u8::MAX;

/// A figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// As the info layer names it.
    pub name: &'static str,
    pub text: String,
    pub style: Style,
    /// What does not fit is left out from the highest rank on.
    pub rank: u8,
}

/// As many figures as fit into `width`, two spaces apart, the least important left out.
pub fn fitted(figures: &[Figure], width: u16) -> Line<'static> {
    let wide = |f: &Figure| Span::raw(f.text.as_str()).width();
    let mut by_rank: Vec<usize> = (0..figures.len())
        .filter(|&i| !figures[i].text.is_empty() && figures[i].rank != INFO)
        .collect();
    by_rank.sort_by_key(|&i| figures[i].rank);
    let mut left = usize::from(width);
    let mut chosen = Vec::new();
    for i in by_rank {
        let needs = wide(&figures[i]) + if chosen.is_empty() { 1 } else { 2 };
        if needs <= left {
            left -= needs;
            chosen.push(i);
        }
    }
    chosen.sort_unstable();
    let mut line = Line::default();
    for (n, i) in chosen.into_iter().enumerate() {
        line.push_span(Span::raw(if n == 0 { " " } else { "  " }));
        line.push_span(Span::styled(figures[i].text.clone(), figures[i].style));
    }
    line
}

/// Gathers figures.
struct Figures<'a>(&'a Scene<'a>, Vec<Figure>);

impl Figures<'_> {
    fn push(&mut self, name: &'static str, rank: u8, text: &str, style: Style) {
        let text = self.0.text(text);
        self.1.push(Figure {
            name,
            text,
            style,
            rank,
        });
    }

    fn plain(&mut self, name: &'static str, rank: u8, text: &str) {
        self.push(name, rank, text, self.0.theme.plain);
    }
}

/// The first line: what the run is and does, and how far it is.
pub fn of_state(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let core = &run.core;
    let mut all = Figures(scene, Vec::new());
    all.push("", 9, "heirloom", theme.title);
    let name = run.info.as_ref().map_or(scene.title, |i| &i.name);
    all.push("run", 0, name, theme.title);
    let (word, style) = match core.status {
        Status::Empty => ("WAITING", theme.dim),
        Status::Running => ("● TRAIN", theme.good),
        Status::Paused => ("PAUSED", theme.warning),
        Status::Interrupted => ("INTERRUPTED", theme.warning),
        Status::Done => ("DONE", theme.good),
        Status::Failed => ("FAILED", theme.warning),
    };
    match &scene.facts.replay {
        None => all.push("state", 0, word, style),
        Some(playing) => {
            let speed = format!("REPLAY {}", speed_words(playing.speed));
            all.push("state", 0, &speed, theme.selected);
            // Training is what is expected; anything else is shown, as what was.
            if core.status != Status::Running {
                all.plain("state then", 0, &format!("was {}", core.status));
            }
        }
    }
    if let Some(silence) = stalled(scene) {
        let text = format!("no event for {}", show::duration(silence));
        all.push("stalled", 0, &text, theme.warning);
    }
    // What changes the meaning of everything else comes before what may not fit.
    if let Some(share) = scene.facts.loading {
        let text = format!("LOADING {:.0}%", (100.0 * share).floor());
        all.push("loading", 0, &text, theme.warning);
    }
    if scene.frozen {
        all.push("display", 0, "FROZEN", theme.warning);
    }
    match &scene.facts.controller {
        Some(other) => all.push("control", 0, &format!("control: {other}"), theme.warning),
        None if scene.facts.replay.is_some() || scene.over() => {}
        None if scene.facts.read_only => all.push("control", 2, "read only", theme.dim),
        None => all.push("control", 6, "control: you", theme.dim),
    }
    let Some(now) = &core.phase else {
        return all.1;
    };
    let layers = format!("{} · {} layers", table::phase_name(&now.phase), now.layers);
    all.plain("phase", 1, &layers);
    let step = format!("step {}/{}", thousands(core.phase_step), thousands(now.due));
    all.plain("step", 0, &step);
    let share = core.phase_step as f64 / now.due.max(1) as f64;
    let percent = format!("{:.0} %", (100.0 * share).floor());
    all.plain("of the phase", 5, &percent);
    all.push("", 7, &bar(scene, share), theme.dim);
    if scene.facts.replay.is_none() {
        all.1.extend(times(scene));
    }
    all.1
}

/// A progress bar of forty columns.
fn bar(scene: &Scene<'_>, share: f64) -> String {
    const WIDTH: usize = 40;
    let full = (share.clamp(0.0, 1.0) * WIDTH as f64) as usize;
    let (on, off) = match scene.is_ascii() {
        true => ("#", "."),
        false => ("█", "░"),
    };
    on.repeat(full) + &off.repeat(WIDTH - full)
}

/// When the next decision is due, and when everything is done.
fn times(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let mut all = Figures(scene, Vec::new());
    if run.core.decision.is_some() && !scene.over() {
        all.push("decision", 2, "decision open: D", theme.warning);
    } else if let Some(left) = eta::to_decision(run) {
        let text = format!("decision in {}", eta::words(left));
        all.plain("decision", 2, &text);
    }
    if let Some(left) = eta::seconds(run) {
        // With an operator deciding, rounds may last longer than planned.
        let bound = match &run.info {
            Some(info) if info.policy == "auto" => "≤",
            _ => "~",
        };
        let at = when::at(scene.now(), left, scene.zone).unwrap_or_default();
        let text = format!("done in {bound}{}, {at}", eta::words(left));
        all.plain("recipe", 3, &text);
    }
    all.1
}

/// How long a run that should train has sent nothing, if that is unusually long. Seconds.
fn stalled(scene: &Scene<'_>) -> Option<f64> {
    let run = scene.run;
    if run.core.status != Status::Running || scene.facts.replay.is_some() {
        return None;
    }
    let silence = (scene.now() - run.t) as f64 / 1000.0;
    let recent = run.live().train.stretches();
    let recent = &recent[recent.len().saturating_sub(RECENT)..];
    // The median: a run slows down before it stalls.
    let mut gaps: Vec<f64> = recent
        .windows(2)
        .map(|pair| pair[1].last.elapsed - pair[0].last.elapsed)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0.0);
    (silence > SILENT.max(STALL * usual)).then_some(silence)
}

/// The second line: the losses, and what they were measured with.
pub fn of_losses(scene: &Scene<'_>) -> Vec<Figure> {
    let run = scene.run;
    let core = &run.core;
    let mut all = Figures(scene, Vec::new());
    if scene.facts.replay.as_ref().is_some_and(|r| r.growing) {
        all.plain("replay", 0, "up to where the run was when this began");
    }
    all.1.extend(losses(scene));
    if core.tokens > 0 {
        all.plain("learning rate", 2, &format!("lr {:.2e}", core.lr));
    }
    ages(&mut all);
    // A run that stands still has no speed.
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
                &format!("{} · {} threads", info.device, info.threads),
            ),
        }
        all.plain("policy", 9, &format!("policy {}", info.policy));
        if core.tokens > 0 {
            let step = format!("step {} in all", thousands(core.step));
            all.plain("steps of the run", 9, &step);
        }
        if let Some(words) = info.eval_windows.and_then(|w| w.words()) {
            all.plain("evaluation", 9, &format!("evaluated on {words}"));
        }
    }
    if let Some(last) = &core.last_decision {
        let (age, style) = evidence::age(scene, last);
        all.push("evidence", INFO, &age, style);
    }
    if run.dropped > 0 {
        let text = format!("{} points dropped", run.dropped);
        all.plain("not shown", 5, &text);
    }
    all.1
}

/// How old the latest evaluation and the latest checkpoint are; old by the clock where nothing runs, too.
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

/// The losses of the present phase: `train 2.947  val 2.9453 best  gap +0.0578 ±0.0022`.
fn losses(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let mut all = Figures(scene, Vec::new());
    let began = run.core.step.saturating_sub(run.core.phase_step);
    let in_phase = |step: u64| thousands(step.saturating_sub(began));
    let live = run.live();
    let last = live.train.stretches().last();
    // An average over some 50 steps, whatever the chart shows; one of the phase before would mislead.
    if let Some(last) = last.filter(|s| s.last.seq > live.phase_start()) {
        let average = scene.curve.smooth(live.train.len() - 1);
        let mut values = live.train.column(LOSS).iter();
        let finite = values.next_back().is_some_and(|l| l.is_finite());
        match (finite, average.is_finite()) {
            (true, true) => all.push(
                "training loss",
                0,
                &format!("train {average:.3}"),
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
    let best = evals.iter().filter(|e| e.val_loss.is_finite());
    let best = best.min_by(|a, b| a.val_loss.total_cmp(&b.val_loss));
    let best = match best {
        Some(best) if best.seq == now.seq => " best".to_string(),
        Some(best) => format!(" (best {:.4} @{})", best.val_loss, in_phase(best.step)),
        None => String::new(),
    };
    match now.val_loss.is_finite() {
        true => {
            let text = format!("val {:.4}{best}", now.val_loss);
            all.push("validation loss", 0, &text, theme.val);
        }
        false => {
            let text = format!("val not finite{best}");
            all.push("validation loss", 0, &text, theme.warning);
        }
    }
    if now.gap.is_some() {
        let gap = trend::gap_words(now.gap, now.gap_stderr);
        all.plain("gap to the reference", 1, &format!("gap {gap}"));
    }
    all.1
}

/// Returns `GPU 98% 71C 61/80G 640W`.
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
    fn a_gpu_has_as_many_words_as_are_known() {
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

    #[test]
    fn the_least_important_figures_are_left_out_first() {
        let figure = |text: &str, rank| Figure {
            name: "",
            text: text.into(),
            style: Style::new(),
            rank,
        };
        let all = [figure("aaaa", 3), figure("bb", 0), figure("cccc", 1)];
        let text = |width| fitted(&all, width).to_string();
        assert_eq!(text(40), " aaaa  bb  cccc");
        assert_eq!(text(12), " bb  cccc");
        assert_eq!(text(2), "");
    }
}
