use std::sync::mpsc::{Sender as Requests, channel};

use super::*;
use crate::run::decisions::Repeat;

fn config(text: &str) -> Config {
    let text = format!(
        "data.train = 'a.txt'\nreference.train.steps = 9\n[train]\nsteps = 9\nbatch_tokens = 1\nlr = 0.1\n{text}"
    );
    toml::from_str(&text).unwrap()
}

fn control(dashboard: bool) -> (Requests<Request>, Control) {
    let (requests, receiver) = channel();
    let presence = Presence::new(dashboard);
    (
        requests,
        Control::new(receiver, Signalled::none(), presence),
    )
}

fn state() -> TrainState {
    let mut state = TrainState::new([String::new(), String::new()]);
    (state.step, state.phase_step, state.tokens) = (5, 5, 50);
    state.last_probe_seconds = 1.0;
    state
}

fn of(control: &mut Control, state: &mut TrainState, config: &Config) -> Verdict {
    control.verdict(state, config, 7200.0).0
}

#[test]
fn commands_come_before_limits_and_limits_before_steps() {
    let (requests, mut control) = control(true);
    let mut state = state();
    let limited = config("[policy]\nmax_tokens = 50\n");
    requests
        .send(Request::new(By::Control, Command::Eval))
        .unwrap();
    let (by, command) = (By::Control, Command::Eval);
    assert_eq!(
        of(&mut control, &mut state, &limited),
        Verdict::Obey { by, command }
    );
    let outcome = Outcome::LimitTokens;
    assert_eq!(
        of(&mut control, &mut state, &limited),
        Verdict::Limit { outcome }
    );
    let hours = config("[policy]\nmax_hours = 2.0\n");
    let outcome = Outcome::LimitHours;
    assert_eq!(
        of(&mut control, &mut state, &hours),
        Verdict::Limit { outcome }
    );
    // Controls have no limits.
    state.phase = Phase::from("control-random");
    let step = Verdict::Step { probe: false };
    assert_eq!(of(&mut control, &mut state, &hours), step);
}

#[test]
fn a_pause_waits_and_a_question_does_not_wait_for_ever() {
    let now = config("[policy]\nunattended_minutes = 0.0\n");
    for (dashboard, kind, verdict) in [
        (true, Pause::Waiting, Verdict::Wait),
        (false, Pause::Ordered, Verdict::Wait),
        (false, Pause::Waiting, Verdict::Leave),
    ] {
        let (_requests, mut control) = control(dashboard);
        assert!(control.pause(kind) && !control.pause(kind));
        assert_eq!(of(&mut control, &mut state(), &now), verdict);
        assert!(control.resume() && !control.resume());
    }
}

#[test]
fn a_probe_needs_time_in_the_budget() {
    let (_requests, mut control) = control(true);
    let mut state = state();
    let config = config("[probe]\nbudget = 0.01\n");
    state.last_probe_seconds = 0.2;
    for (seconds, probe) in [(10.0, false), (20.0, true)] {
        state.train_seconds = seconds;
        assert_eq!(
            of(&mut control, &mut state, &config),
            Verdict::Step { probe }
        );
    }
}

#[test]
fn another_runs_commands_are_repeated_at_their_steps_and_dropped_behind_them() {
    let (_requests, mut control) = control(false);
    let mut state = state();
    let repeat = |step| Repeat {
        step,
        phase: Phase::Reference,
        command: Command::Decide,
    };
    state.repeat = [repeat(5), repeat(7)].into();
    let (by, command) = (By::Decisions, Command::Decide);
    assert!(control.attended(&state));
    assert_eq!(
        of(&mut control, &mut state, &config("")),
        Verdict::Obey { by, command }
    );
    let step = Verdict::Step { probe: false };
    assert_eq!(of(&mut control, &mut state, &config("")), step);
    state.step = 8;
    let (step, count) = (7, 1);
    assert_eq!(
        of(&mut control, &mut state, &config("")),
        Verdict::Diverged { step, count }
    );
}

#[test]
fn verdicts_can_be_sent() {
    let obey = Verdict::Obey {
        by: By::Keyboard,
        command: Command::SetLr { lr: 0.1 },
    };
    for verdict in [obey, Verdict::Step { probe: true }, Verdict::Wait] {
        let text = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
    }
}
