//! The notice of a run that should train and has sent no event for unusually long ([`RunState::silence`]).

use super::{Notice, Occasion};
use crate::run::state::RunState;
use crate::run::{show, trouble};

/// Returns the notice of a run that has been quiet for `silence` seconds.
pub fn notice(run: &RunState, silence: f64) -> Notice {
    let (silence, step) = (show::duration(silence), run.core.step);
    let place = trouble::place(run, step);
    let text = format!("stall: no event for {silence} after {place}");
    Notice::new(Occasion::Stall, step, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Body, Event, RunEvent, RunStatus, TrainMetrics};
    use crate::run::state::SILENT;

    fn run(status: RunStatus, interval: f64) -> RunState {
        let mut run = RunState::default();
        let event = |seq: u64, body| Event {
            elapsed: seq as f64 * interval,
            ..Event::numbered(seq, body)
        };
        for seq in 1..=20 {
            run.apply(&event(
                seq,
                Body::Train(TrainMetrics {
                    loss: Some(2.0),
                    nonfinite: None,
                    lr: 1e-3,
                    grad_norm: Some(1.0),
                    tokens: seq,
                    tokens_per_second: 1.0,
                    ..Default::default()
                }),
            ));
        }
        let (info, message) = (None, None);
        run.apply(&event(
            21,
            Body::Run(RunEvent {
                status,
                info,
                message,
            }),
        ));
        run
    }

    #[test]
    fn a_run_is_stalled_after_a_minute_and_three_usual_intervals() {
        let quick = run(RunStatus::Running, 0.1);
        let is_stalled = |run: &RunState, silence| run.is_quiet_for(silence, SILENT);
        assert!(!is_stalled(&quick, 60.0) && is_stalled(&quick, 61.0));
        let slow = run(RunStatus::Running, 50.0);
        assert!(!is_stalled(&slow, 149.0) && is_stalled(&slow, 151.0));
        assert!(!is_stalled(&run(RunStatus::Paused, 0.1), 1e6));
        assert!(!is_stalled(&RunState::default(), 1e6));
        let notice = notice(&quick, 75.0);
        assert_eq!(notice.text, "stall: no event for 1m15s after step 21");
    }
}
