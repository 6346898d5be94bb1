//! The forecast of the present phase, as a cone from its latest evaluation to its planned end.

use super::extent::View;
use crate::dashboard::widgets::axes::Axis;
use crate::dashboard::widgets::cone::Cone;
use crate::run::event::{Forecast, Interval, Prospect};
use crate::run::state::EvalPoint;

/// Returns the cone of the validation loss.
pub fn of_loss(view: &View<'_>) -> Option<Cone> {
    cone(view, |f| f.final_loss, |e| e.val_loss)
}

/// Returns the cone of the gap.
pub fn of_gap(view: &View<'_>) -> Option<Cone> {
    cone(view, |f| f.final_gap, |e| e.gap)
}

/// Returns the legend of a cone.
pub fn legend(view: &View<'_>) -> String {
    format!("{} forecast 90 %", view.scene.glyphs.marks().cone)
}

/// Builds the cone if there is a forecast, the present phase is shown, and the window extends beyond the present. On an axis of time
/// the end of a phase is not known.
fn cone(
    view: &View<'_>,
    end: fn(&Forecast) -> Option<Interval>,
    now: fn(&EvalPoint) -> Option<f64>,
) -> Option<Cone> {
    let (run, axis) = (view.scene.run, view.window.axis);
    let phase = run.core.phase.as_ref().filter(|_| !view.parts.whole)?;
    let outlook = run.outlook()?;
    let forecast = &outlook.forecast;
    let end = end(forecast).filter(|end| end.low.is_finite() && end.high.is_finite())?;
    let eval = run.evals_of_phase().last()?;
    let value = now(eval).filter(|value| value.is_finite())?;
    let per_step = match axis {
        Axis::Step => 1.0,
        Axis::Tokens => run.info.as_ref()?.batch_tokens as f64,
        Axis::Time => return None,
    };
    let x = |step: u64| step as f64 * per_step;
    let (from, to) = (
        x(eval.step.saturating_sub(phase.began_at)),
        x(forecast.at_phase_step),
    );
    let ahead = forecast.prospect == Prospect::AsPlanned && to > from;
    (ahead && view.window.to > view.now()).then_some(Cone {
        from: (from, value),
        to,
        low: end.low,
        high: end.high,
        style: view.scene.theme.val,
    })
}
