//! Tests the view of evaluations without results, and with tasks and samples of several models.

use std::path::Path;

use super::*;
use crate::run::dir::RunDir;
use crate::run::event::{PlannedTasks, Sample, TaskMetric, TaskProgress, TaskResult};

impl Story {
    /// Reports a task's accuracies for the present model.
    fn task(&mut self, task: &str, layers: usize, acc: f64, norm: Option<f64>, chance: f64) {
        self.task_on(task, layers, (acc, 1838), norm, chance);
    }

    /// Reports accuracies as [`Self::task`] does, with a number of documents.
    fn task_on(
        &mut self,
        task: &str,
        layers: usize,
        (acc, n): (f64, u64),
        norm: Option<f64>,
        chance: f64,
    ) {
        let metric = |name: &str, value: f64| TaskMetric {
            name: name.into(),
            value,
            stderr: Some(0.0114),
            n,
        };
        let mut metrics = vec![metric("acc", acc)];
        metrics.extend(norm.map(|value| metric("acc_norm", value)));
        self.emit(Body::Task(TaskResult {
            task: task.into(),
            version: "1".into(),
            layers,
            metrics,
            refused: None,
            chance: Some(chance),
            limit: None,
            skipped: 0,
            truncated: 0,
            seconds: 12.0,
        }));
    }

    /// Reports that a task was not measured.
    fn refuse(&mut self, task: &str, layers: usize, why: &str) {
        self.emit(Body::Task(TaskResult {
            task: task.into(),
            version: "1".into(),
            layers,
            metrics: Vec::new(),
            refused: Some(why.into()),
            chance: None,
            limit: None,
            skipped: 0,
            truncated: 0,
            seconds: 0.0,
        }));
    }

    fn perplexity(&mut self, layers: usize, value: f64) {
        self.emit(Body::Task(TaskResult {
            task: "lambada_openai".into(),
            version: "1".into(),
            layers,
            metrics: vec![TaskMetric {
                name: "perplexity".into(),
                value,
                stderr: Some(value / 20.0),
                n: 5153,
            }],
            refused: None,
            chance: None,
            limit: Some(200),
            skipped: 0,
            truncated: 3,
            seconds: 12.0,
        }));
    }

    fn sample(&mut self, prompt: &str, greedy: &str, layers: usize) {
        self.emit(Body::Sample(Sample {
            prompt: prompt.into(),
            greedy: greedy.into(),
            drawn: format!(
                "{greedy} And so it went on, as it does in every tale that is told twice."
            ),
            seed: 1,
            layers,
        }));
    }

    /// Makes a run with a reference and two rounds, with tasks and samples.
    fn evaluated() -> Self {
        let mut story = Self::new();
        story.phase(Phase::Reference, 8, 1000, Start::Random);
        story.eval(5.7);
        story.train(500, 8, |i| 2.0 + 3.5 * (-i / 80.0).exp());
        story.end(8, None);
        story.results(8, 0.03);
        story.sample(
            "Once upon a time",
            " there was a king who had three daughters.",
            8,
        );
        story.sample(
            "The capital of France is",
            " Paris, and that of Spain is Madrid.",
            8,
        );
        story.phase(Phase::Round(1), 4, 200, Start::Inherit);
        story.train(100, 4, |i| 1.97 + 0.4 * (-i / 60.0).exp());
        story.results(4, -0.05);
        story.train(100, 4, |i| 1.95 + 0.1 * (-i / 60.0).exp());
        story.end(4, Some(0.0412));
        story.results(4, 0.0);
        story.sample("Once upon a time", " there was a a time.", 4);
        story.sample("The capital of France is", " the capital of France.", 4);
        story.phase(Phase::Round(2), 6, 200, Start::Restart);
        story.train(200, 6, |i| 1.94 + 0.4 * (-i / 60.0).exp());
        story.results(6, 0.02);
        story.sample("Once upon a time", " there was a king of the castle.", 6);
        story
    }

    fn results(&mut self, layers: usize, by: f64) {
        self.task("arc_easy", layers, 0.42 + by, Some(0.39 + by), 0.25);
        self.task("piqa", layers, 0.61 + by, Some(0.60 + by), 0.5);
        self.task("hellaswag", layers, 0.27 + by / 4.0, Some(0.28 + by), 0.25);
        self.task("winogrande", layers, 0.50 + by / 4.0, None, 0.5);
        self.task("sciq", layers, 0.70 + by, Some(0.62 + by), 0.25);
        self.task("boolq", layers, 0.55 + by, None, 0.5);
        self.perplexity(layers, 61.0 - 300.0 * by);
    }
}

fn screen_of(story: &Story) -> Screen {
    let mut screen = Screen::new();
    screen.press(&story.state, KeyCode::Char('5'));
    screen
}

#[test]
fn without_results_the_view_says_how_to_get_them() {
    let story = Story::deciding();
    let text = screen_of(&story).text(&story.state, 80, 24);
    insta::assert_snapshot!("eval_empty_80x24", text);
    let before = Story::new();
    let text = screen_of(&before).text(&before.state, 80, 24);
    assert!(text.contains("no evaluation so far"), "{text}");
}

#[test]
fn tasks_and_samples_of_every_model_stand_side_by_side() {
    let story = Story::evaluated();
    let mut screen = screen_of(&story);
    for (width, height) in [(80, 24), (120, 40), (200, 60), (60, 15), (40, 12), (1, 1)] {
        let name = format!("eval_{width}x{height}");
        insta::assert_snapshot!(name, screen.text(&story.state, width, height));
    }
    screen.glyphs = Glyphs::Ascii;
    let text = screen.text(&story.state, 80, 24);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn while_tasks_are_measured_header_and_eta_say_that_training_waits() {
    let mut story = Story::deciding();
    story.train(50, 4, |_| 1.9);
    let mut screen = Screen::new();
    let before = crate::dashboard::eta::seconds(&story.state);
    story.emit(Body::Tasking(TaskProgress {
        task: "piqa".into(),
        number: 1,
        tasks: 2,
        done: 430,
        of: 1000,
        left: Some(100.0),
    }));
    let text = screen.text(&story.state, 200, 60);
    assert!(text.contains("● EVAL"), "{text}");
    assert!(
        text.contains("tasks: piqa 43 %, 1 of 2, 1m40s left"),
        "{text}"
    );
    assert!(
        text.contains("evaluating on piqa (1 of 2); training waits"),
        "{text}"
    );
    let during = crate::dashboard::eta::seconds(&story.state);
    assert_eq!(during, before.map(|s| s + 100.0));
    story.task("piqa", 4, 0.6, None, 0.5);
    let text = screen.text(&story.state, 200, 60);
    assert!(
        text.contains("● TRAIN") && !text.contains("● EVAL"),
        "{text}"
    );
}

#[test]
fn values_on_different_numbers_of_documents_are_not_joined() {
    let mut story = Story::evaluated();
    let whole = story.state.task_trend("piqa", "acc");
    assert_eq!(whole.len(), 4);
    // Operators often ask for evaluations on few documents.
    story.task_on("piqa", 6, (0.66, 200), Some(0.65), 0.5);
    assert_eq!(story.state.task_trend("piqa", "acc"), [0.66]);
    let text = screen_of(&story).text(&story.state, 120, 40);
    insta::assert_snapshot!("eval_documents_120x40", text);
    let shown = crate::run::show::text(&story.state, &RunDir::at(Path::new("x")));
    assert!(shown.contains("documents"), "{shown}");
    story.task_on("piqa", 6, (0.67, 1838), None, 0.5);
    let again = story.state.task_trend("piqa", "acc");
    assert_eq!((again.len(), again[4]), (5, 0.67));
}

#[test]
fn a_task_that_was_not_measured_says_why_until_it_is() {
    let mut story = Story::deciding();
    story.refuse(
        "piqa",
        4,
        "piqa: tasks/piqa/valid.jsonl:3: no field \"goal\"",
    );
    let text = screen_of(&story).text(&story.state, 120, 40);
    let words = "piqa was not measured: piqa: tasks/piqa/valid.jsonl:3: no field \"goal\"";
    assert!(text.contains(words), "{text}");
    assert!(text.contains("eval.tasks = "), "{text}");
    let note = story.state.notes.back().unwrap();
    assert!(
        note.text.contains(words) && note.level == crate::run::state::Level::Warning,
        "{note:?}"
    );
    story.task("sciq", 4, 0.7, None, 0.25);
    let text = screen_of(&story).text(&story.state, 80, 24);
    assert!(text.contains("piqa was not measured"), "{text}");
    story.task("piqa", 4, 0.6, None, 0.5);
    let text = screen_of(&story).text(&story.state, 120, 40);
    assert!(
        !text.contains(
            " piqa was not measured: piqa: tasks/piqa/valid.jsonl:3: no field \"goal\" ("
        ),
        "{text}"
    );
    assert!(story.state.refused_tasks().is_empty());
}

#[test]
fn more_tasks_than_rows_scroll() {
    let story = Story::evaluated();
    let mut screen = screen_of(&story);
    let text = screen.text(&story.state, 80, 24);
    assert!(
        text.contains("PgDn more") && !text.contains("boolq acc "),
        "{text}"
    );
    screen.press(&story.state, KeyCode::Char('G'));
    let text = screen.text(&story.state, 80, 24);
    assert!(
        text.contains("boolq acc ") && text.contains("task  "),
        "{text}"
    );
    assert!(
        !text.contains("arc_easy acc ") && !text.contains("PgDn more"),
        "{text}"
    );
    screen.press(&story.state, KeyCode::PageUp);
    screen.press(&story.state, KeyCode::Up);
    let above = screen.text(&story.state, 80, 24);
    assert_ne!(above, text);
    for _ in 0..9 {
        screen.press(&story.state, KeyCode::PageUp);
    }
    assert!(screen.text(&story.state, 80, 24).contains("arc_easy acc "));
}

#[test]
fn the_eta_counts_the_tasks_of_later_evaluations() {
    let mut story = Story::deciding();
    story.train(50, 4, |_| 1.9);
    let before = crate::dashboard::eta::seconds(&story.state).unwrap();
    let names = ["piqa", "sciq"].map(String::from).to_vec();
    story.state.info.as_mut().unwrap().tasks = Some(PlannedTasks { names, every: 0 });
    let none = crate::dashboard::eta::seconds(&story.state).unwrap();
    assert_eq!(none, before, "no task was measured yet");
    // An evaluation takes 12 s with four layers.
    story.task("piqa", 4, 0.6, None, 0.5);
    let one = crate::dashboard::eta::seconds(&story.state).unwrap() - before;
    story.task("sciq", 4, 0.6, None, 0.5);
    let two = crate::dashboard::eta::seconds(&story.state).unwrap() - before;
    assert!((two - 2.0 * one).abs() < 1e-6 * two, "{one} {two}");
    // Evaluations at the end of this round, of a round of six layers, and of two controls.
    let evaluations = two / 24.0;
    assert!(evaluations > 4.0 && evaluations < 8.0, "{evaluations}");
    // The remaining time of an evaluation in progress is included.
    let progress = |number, task: &str, left| {
        Body::Tasking(TaskProgress {
            task: task.into(),
            number,
            tasks: 2,
            done: 1,
            of: 2,
            left: Some(left),
        })
    };
    story.emit(progress(1, "piqa", 5.0));
    let more = crate::dashboard::eta::seconds(&story.state).unwrap() - before - two;
    assert!((more - 17.0).abs() < 1e-6, "{more}");
    story.emit(progress(1, "arc_easy", 5.0));
    let more = crate::dashboard::eta::seconds(&story.state).unwrap() - before - two;
    assert!((more - 5.0).abs() < 1e-6, "an operator's tasks: {more}");
}

#[test]
fn evaluations_after_a_step_are_counted() {
    let plan = |every| PlannedTasks {
        names: vec!["piqa".into()],
        every,
    };
    assert_eq!(plan(0).evaluations_after(0, 100), 1);
    assert_eq!(plan(0).evaluations_after(100, 100), 0);
    assert_eq!(plan(30).evaluations_after(0, 100), 4);
    assert_eq!(plan(30).evaluations_after(30, 100), 3);
    assert_eq!(plan(50).evaluations_after(0, 100), 2, "50 and the end");
    assert_eq!(plan(50).evaluations_after(99, 100), 1);
}

#[test]
fn what_was_measured_after_a_checkpoint_goes_with_a_rollback() {
    let mut story = Story::new();
    story.phase(Phase::Reference, 8, 1000, Start::Random);
    story.train(100, 8, |_| 2.0);
    story.task("piqa", 8, 0.5, None, 0.5);
    story.checkpoint();
    let from_seq = story.seq;
    story.train(100, 8, |_| 2.0);
    story.task("piqa", 8, 0.7, None, 0.5);
    story.sample("Once", " upon", 8);
    assert_eq!(story.state.task_trend("piqa", "acc"), [0.5, 0.7]);
    story.emit(Body::Rollback(crate::run::event::Rollback {
        checkpoint: "b0-s00000100-reference".into(),
        from_seq,
        why: "requested".into(),
        overruled: Vec::new(),
    }));
    assert_eq!(story.state.task_trend("piqa", "acc"), [0.5]);
    assert!(story.state.live().samples.is_empty());
}
