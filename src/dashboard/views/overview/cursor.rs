//! Shows the value of every series at the cursor.

use super::extent::View;
use super::loss;
use crate::dashboard::widgets::trace::{Kind, Trace};
use crate::run::series::pyramid::Series;
use crate::run::state::{
    CLIP_RATE, GAP, GAP_STDERR, GPU_PERCENT, GRAD_NORM, LOSS, LR, MOMENTUM_NORM, PARAM_NORM,
    TOKENS_PER_SECOND, VAL_LOSS,
};
use crate::run::table;
use crate::text;

/// Returns `@62,000 train 2.947 val 2.9486 gap +0.061 lr 1.3e-4 ...`, in order of importance, as far as it fits into `width`.
pub fn words(view: &View<'_>, width: u16) -> Option<String> {
    let (scene, parts) = (view.scene, &view.parts);
    let x = scene.ui.chart.cursor?;
    let live = scene.run.live();
    let origin = parts.zero(view.window.axis);
    let at = |series: &Series, column: usize| {
        let trace = Trace {
            range: parts.range(series),
            origin,
            ..Trace::new(series, column, Kind::Line, scene.theme.plain)
        };
        trace.at(&view.window, x)
    };
    let mut items = vec![format!("@{}", view.window.axis.label(x))];
    let mut push = |value: Option<f64>, format: &dyn Fn(f64) -> String| {
        items.extend(value.filter(|v| v.is_finite()).map(format));
    };
    match at(&live.train, LOSS) {
        Some(v) if v.is_nan() => push(Some(0.0), &|_| "train not finite".into()),
        v => push(v, &|v| format!("train {v:.4}")),
    }
    push(at(&live.val, VAL_LOSS), &|v| format!("val {v:.4}"));
    let stderr = at(&live.val, GAP_STDERR).filter(|e| e.is_finite());
    let stderr = stderr.map_or(String::new(), |e| format!(" ±{e:.4}"));
    push(at(&live.val, GAP), &|v| format!("gap {v:+.4}{stderr}"));
    push(at(&live.train, LR), &|v| format!("lr {v:.2e}"));
    push(at(&live.train, GRAD_NORM), &|v| format!("grad {v:.2}"));
    push(at(&live.train, TOKENS_PER_SECOND), &|v| {
        format!("{} tok/s", table::count(v as u64))
    });
    push(at(&live.train, GPU_PERCENT), &|v| format!("GPU {v:.0}%"));
    push(at(&live.train, PARAM_NORM), &|v| format!("weights {v:.1}"));
    push(at(&live.train, MOMENTUM_NORM), &|v| {
        format!("moments {v:.3}")
    });
    push(at(&live.train, CLIP_RATE), &|v| {
        format!("clipped {:.0}%", 100.0 * v)
    });
    for (trace, part) in loss::overlays(view, VAL_LOSS, |_| true)
        .iter()
        .zip(&parts.earlier)
    {
        let name = table::phase_name(&part.phase);
        push(trace.at(&view.window, x), &|v| format!("{name} {v:.4}"));
    }
    let mut line = String::new();
    for item in items {
        let item = scene.text(&item);
        if text::width(&line) + text::width(&item) + 2 <= usize::from(width) {
            line.push(' ');
            line.push_str(&item);
        }
    }
    line.push(' ');
    Some(line)
}
