//! Tests plain lines: their texts, the choices that they offer, and the commands that are typed below them.

use super::super::plain::{Answers, Console, Lines, Move, Role};
use super::*;
use crate::run::dir::RunDir;
use crate::run::event::{Answer, CheckpointBegun, CommandGiven, Gap, Log, RunEvent};
use std::path::Path;

const RUN: Answers<'_> = Answers::Commands("mine");

/// Returns the printer of lines of a run without files.
fn lines() -> Lines {
    Lines::of_zone(&RunDir::at(Path::new("mine")), TimeZone::UTC)
}

fn console() -> Console {
    Console::new(&RunDir::at(Path::new("runs/mine")), Role::Owner)
}

/// Returns the lines that the next event prints.
fn printed(story: &mut Story, body: Body, answers: Answers<'_>) -> Vec<String> {
    let event = story.emit(body);
    let text = lines().of_event(&story.state, &event, answers).text;
    text.unwrap_or_default().lines().map(String::from).collect()
}

fn paused(why: Option<&str>) -> Body {
    Body::Run(RunEvent {
        status: RunStatus::Paused,
        info: None,
        message: why.map(String::from),
    })
}

fn checkpointing() -> Body {
    Body::Checkpointing(CheckpointBegun {
        name: "b0-s00000007-round-1".into(),
        reason: "steps".into(),
    })
}

fn log(message: &str) -> Body {
    Body::Log(Log {
        message: message.into(),
    })
}

/// Returns a run in its first round, with decision 1 open, whose numbered choices have been printed.
fn offered() -> (Story, Decision) {
    let mut story = Story::deciding();
    let event = story.decision(1);
    let printed = lines().of_event(&story.state, &event, Answers::Typed);
    (story, printed.offered.unwrap())
}

#[test]
fn only_what_is_still_open_is_offered() {
    let mut story = Story::deciding();
    let event = story.decision(1);
    let later = |state: &RunState, answers| lines().of_answers(state, &event, answers);
    let at_once = lines().of_event(&story.state, &event, RUN).text.unwrap();
    let past = lines().of_event(&story.state, &event, Answers::No).text;
    let more = later(&story.state, RUN).text.unwrap();
    assert_eq!(at_once, format!("{}\n{more}", past.unwrap()));
    assert!(later(&story.state, Answers::Typed).offered.is_some());
    let none = later(&story.state, Answers::No);
    assert!(none.text.is_none() && none.offered.is_none());
    // The decision has been replaced by another one, or decided.
    let mut run = story.state.clone();
    run.core.decision.as_mut().unwrap().id += 1;
    assert_eq!(later(&run, RUN).text, None);
    run.core.decision = None;
    assert_eq!(later(&run, RUN).text, None);
}

#[test]
fn a_line_has_the_time_and_the_step_of_its_phase_and_each_event_its_own() {
    let mut story = Story::deciding();
    let all = [
        log("the same words"),
        checkpointing(),
        log("the same words"),
        Body::Gap(Gap { dropped: 1 }),
        Body::Gap(Gap { dropped: 5123 }),
    ];
    let all: Vec<String> = all
        .into_iter()
        .flat_map(|body| printed(&mut story, body, RUN))
        .collect();
    let head = "2023-11-14 22:15:20  round-1 step 200/200      ";
    let texts = [
        "the same words",
        "the same words",
        "gap: 1 event missing here, a queue was full",
        "gap: 5123 events missing here, a queue was full",
    ];
    assert_eq!(all, texts.map(|text| format!("{head}{text}")));
}

#[test]
fn the_budget_follows_what_moves_the_end() {
    let mut story = Story::deciding();
    story.emit(Body::Command(CommandGiven {
        id: 1,
        by: By::Keyboard,
        command: Command::Extend { steps: 100 },
        pid: None,
    }));
    let answer = Body::Answer(Answer {
        id: 1,
        applied: true,
        message: "this phase now ends at its step 300".into(),
        change: None,
    });
    let all = printed(&mut story, answer, RUN);
    assert!(all[0].contains("  round-1 step 200/300  "), "{all:?}");
}

#[test]
fn an_event_of_no_known_time_or_budget_still_has_its_line() {
    let mut event = Event {
        phase: Phase::Other("later".into()),
        ..Event::numbered(3, log("x"))
    };
    event.t = i64::MAX;
    let mut state = RunState::default();
    state.apply(&event);
    let text = lines().of_event(&state, &event, RUN).text.unwrap();
    assert_eq!(text, "time unknown         later step 3              x");
}

#[test]
fn old_evidence_is_told_by_its_age() {
    let mut story = Story::deciding();
    story.step += 7;
    let resolved = Body::Decision(crate::run::event::Decision {
        id: 1,
        status: DecisionStatus::Resolved,
        reason: DecisionReason::EndOfSteps,
        evidence: None,
        evidence_step: Some(1200),
        choice: Some("grow by 1 (keep)".into()),
        by: Some(By::Keyboard),
    });
    let all = printed(&mut story, resolved, RUN);
    let said = "step 207/200      decided by operator: grow by 1 (keep) (on evidence 7 steps old)";
    assert!(all[0].ends_with(said), "{all:?}");
}

#[test]
fn a_decision_names_the_commands_that_answer_it_with_their_cost() {
    let mut story = Story::deciding();
    let event = story.decision(1);
    let text = lines().of_event(&story.state, &event, RUN).text.unwrap();
    let head = "2023-11-14 22:15:20  round-1 step 200/200      ";
    let wanted = [
        "decision of round 1 (end of steps): grow suggested: 4 layers are 0.0412 ±0.0023 behind the reference",
        "answer: grow by 2 layers (restart): 4 to 6 layers, 1.25M parameters, 81 MB, about 6 s: heirloom ctl mine grow 2 restart",
        "answer: train on for 100 steps: 4 layers, 800k parameters, about 4 s: heirloom ctl mine train-on 100",
        "answer: stop growing: the present model of 4 layers is the result, then 2 controls: heirloom ctl mine stop",
    ];
    let wanted = wanted.map(|line| format!("{head}{line}")).join("\n");
    assert_eq!(text, wanted);
    // An event of the past offers no answers.
    let past = lines().of_event(&story.state, &event, Answers::No);
    assert_eq!(past.text.unwrap().lines().count(), 1);
    // A decision that the policy takes is not offered.
    story.state.info.as_mut().unwrap().policy = "auto".into();
    let alone = lines().of_event(&story.state, &event, RUN);
    assert_eq!(alone.text.unwrap().lines().count(), 1);
    // It is offered if the policy could not decide.
    let all = printed(&mut story, paused(Some("no decision was taken")), RUN);
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(all[1].ends_with("heirloom ctl mine grow 2 restart"));
}

#[test]
fn a_pause_names_what_ends_it_and_no_keys() {
    let mut story = Story::deciding();
    let all = printed(
        &mut story,
        paused(Some("20 steps over budget: D to decide, p to train on")),
        RUN,
    );
    assert!(
        all[0].ends_with("  paused: 20 steps over budget"),
        "{all:?}"
    );
    assert!(all[1].ends_with("answer: continue training: heirloom ctl mine resume"));
    assert_eq!(all.len(), 2);
    // A rollback is offered only if its checkpoint is on disk.
    let tmp = tempfile::tempdir().unwrap();
    let kept = tmp.path().join("checkpoints/b0-s00001200-round-1");
    std::fs::create_dir_all(kept).unwrap();
    story.checkpoint();
    story.not_a_number();
    let why = "loss or gradient is not finite at step 210 of round 1; the update was skipped";
    let event = story.emit(paused(Some(&format!(
        "{why}: p trains on with the next batch, R rolls back"
    ))));
    let lines = Lines::of_zone(&RunDir::at(tmp.path()), TimeZone::UTC);
    let text = lines.of_event(&story.state, &event, RUN).text.unwrap();
    let ends = [
        "paused: loss or gradient is not finite at step 210 of round 1; the update was skipped",
        "answer: continue with the next batch: heirloom ctl mine resume",
        "10 steps ago): heirloom ctl mine rollback b0-s00001200-round-1",
        "answer: lower the learning rate, before one of the others: heirloom ctl mine set lr 5.00e-4",
    ];
    assert_eq!(text.lines().count(), ends.len(), "{text}");
    for (line, end) in text.lines().zip(ends) {
        assert!(line.ends_with(end), "{line}");
    }
    story.state.core.not_finite = None;
    // Under the policy `pause`, a decision that is due must be answered.
    story.state.info.as_mut().unwrap().policy = "pause".into();
    let all = printed(&mut story, paused(Some("waiting for a decision")), RUN);
    assert_eq!(all.len(), 1, "{all:?}");
    // A reason that contains its commands needs no further lines.
    let full = "the disk is full; heirloom ctl mine checkpoint makes one now";
    assert_eq!(printed(&mut story, paused(Some(full)), RUN).len(), 1);
}

#[test]
fn numbers_choose_once_they_are_confirmed() {
    let (story, offered) = offered();
    let mut console = console();
    let mut read = |line: &str| console.read(line, &story.state, Some(&offered));
    let asked = "grow by 2 layers (restart), 4 to 6 layers, 1.25M parameters, 81 MB, about 6 s: ends this round at \
                 round-1 step 200/200, after a checkpoint that is written and verified? y/n";
    let grow = Command::Grow {
        layers: 2,
        mode: Some(GrowMode::Restart),
        decision: Some(1),
    };
    assert_eq!(read("1"), Move::Say(asked.into()));
    assert_eq!(read("y"), Move::Send(grow.clone()));
    assert_eq!(read("1"), Move::Say(asked.into()));
    assert_eq!(
        read("n"),
        Move::Say("cancelled: grow by 2 (restart)".into())
    );
    // After "no", the question is gone, so that "y" is not an answer any more.
    assert!(matches!(read("y"), Move::Say(said) if said.contains("unknown command")));
    assert_eq!(read("1"), Move::Say(asked.into()));
    let said = "cancelled: grow by 2 (restart) (y confirms it)";
    assert_eq!(read("2"), Move::Say(said.into()));
    let train_on = Command::TrainOn {
        steps: 100,
        decision: Some(1),
    };
    assert_eq!(read("2"), Move::Send(train_on));
    assert!(matches!(read("4"), Move::Say(said) if said.starts_with("later")));
    for wrong in ["0", "5", "99999999999"] {
        let said = format!("{wrong} is not one of the choices: give a number from 1 to 4");
        assert_eq!(read(wrong), Move::Say(said));
    }
    assert!(matches!(read(""), Move::Say(said) if said.contains("  2 train on for 100 steps")));
}

#[test]
fn a_number_answers_the_decision_it_was_printed_with_alone() {
    let (mut story, offered) = offered();
    let mut console = console();
    story.decision(2);
    let said = |read| match read {
        Move::Say(said) => said,
        other => panic!("{other:?}"),
    };
    let refused = said(console.read("1", &story.state, Some(&offered)));
    assert!(refused.contains("has been closed or replaced"), "{refused}");
    let refused = said(console.read("1", &story.state, None));
    assert!(
        refused.contains("no decision has been offered"),
        "{refused}"
    );
}

#[test]
fn words_are_commands_and_drastic_ones_are_asked_about() {
    let (story, offered) = offered();
    let mut console = console();
    let mut read = |line: &str| console.read(line, &story.state, Some(&offered));
    assert_eq!(read(" pause "), Move::Send(Command::Pause));
    assert_eq!(
        read(":set lr 2e-4"),
        Move::Send(Command::SetLr { lr: 2e-4 })
    );
    let note = Command::Note {
        text: "a warmer start".into(),
    };
    assert_eq!(read("note a warmer start"), Move::Send(note));
    assert_eq!(read("take-control"), Move::TakeControl);
    // A typed command applies to the decision that is open when it is typed.
    let stop = Command::Stop { decision: Some(1) };
    for (words, asked, command) in [
        (
            "stop",
            "stop growing at round-1 step 200/200: the present model of 4 layers is the result, then 2 controls? y/n",
            stop,
        ),
        (
            "quit",
            "write a checkpoint at round-1 step 200/200 and end the process; heirloom train --resume mine resumes it? y/n",
            Command::Quit,
        ),
    ] {
        assert_eq!(read(words), Move::Say(asked.into()));
        assert_eq!(read("yes"), Move::Send(command));
    }
    // A command that is certain to be refused is refused without a confirmation.
    let said = "refused: can grow by at most 2 more layers (grow.max_layers = ";
    assert!(matches!(read("grow 9"), Move::Say(text) if text.starts_with(said)));
    assert!(matches!(read("puase"), Move::Say(said) if said.contains("did you mean pause?")));
    assert!(matches!(read("?"), Move::Say(said) if said.contains("  rollback NAME: go back")));
    assert!(matches!(read("status"), Move::Say(said) if said.starts_with("running, step 1200")));
}

#[test]
fn a_confirmation_is_about_the_run_as_it_was_asked() {
    let (mut story, offered) = offered();
    let mut console = console();
    assert!(matches!(
        console.read("stop", &story.state, Some(&offered)),
        Move::Say(_)
    ));
    story.phase(Phase::Round(2), 6, 200, Start::Inherit);
    let Move::Say(said) = console.read("y", &story.state, Some(&offered)) else {
        panic!("stopped another round");
    };
    assert!(said.starts_with("refused: stop"), "{said}");
}

#[test]
fn what_ends_the_input_is_described_as_what_it_does() {
    let (story, _) = offered();
    let help = |role| match Console::new(&RunDir::at(Path::new("mine")), role).read(
        "?",
        &story.state,
        None,
    ) {
        Move::Say(said) => said,
        other => panic!("{other:?}"),
    };
    assert!(help(Role::Owner).contains("  Ctrl-C: write a checkpoint and stop"));
    assert!(help(Role::Attached).contains("  Ctrl-C: leave; the training continues"));
}
