//! Results on downstream tasks, and continued texts.

use crate::run::event::{Event, Sample, TaskProgress, TaskResult};
use crate::run::state::RunState;
use crate::run::state::points::Level;
use crate::run::state::results::{SamplePoint, TaskPoint, result_words};

/// Characters of a continued text in its note.
const NOTED: usize = 200;

impl RunState {
    pub(super) fn on_task(&mut self, event: &Event, result: &TaskResult) {
        let text = format!("task  {}", result_words(result));
        let level = match result.refused {
            Some(_) => Level::Warning,
            None => Level::Info,
        };
        self.history.live.push_task(TaskPoint {
            seq: event.seq,
            step: event.step,
            phase: event.phase.clone(),
            phase_step: event.phase_step,
            result: result.clone(),
        });
        self.core.tasking = None;
        self.note(event, level, text);
    }

    /// Remembers how far the tasks are; the first such event of a task makes a note.
    pub(super) fn on_tasking(&mut self, event: &Event, progress: &TaskProgress) {
        let before = self.core.tasking.replace(progress.clone());
        if before.is_none_or(|b| b.task != progress.task) {
            let of = match progress.tasks {
                0 | 1 => String::new(),
                all => format!(" ({} of {all})", progress.number),
            };
            let text = format!("evaluating on {}{of}; training waits", progress.task);
            self.note(event, Level::Info, text);
        }
    }

    pub(super) fn on_sample(&mut self, event: &Event, sample: &Sample) {
        let short = |text: &str| text.chars().take(NOTED).collect::<String>();
        let text = format!(
            "sample  {:?} -> {:?}",
            short(&sample.prompt),
            short(&sample.greedy)
        );
        self.history.live.push_sample(SamplePoint {
            seq: event.seq,
            step: event.step,
            phase: event.phase.clone(),
            phase_step: event.phase_step,
            sample: sample.clone(),
        });
        self.note(event, Level::Info, text);
    }
}
