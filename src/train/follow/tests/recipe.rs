//! Complete runs of several ranks: growth, controls, rollbacks and resumes equal those of one process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::{self, Config, PolicyMode, ShardChoice};
use crate::corpus::Source;
use crate::dist::local;
use crate::run::command::{By, Command, Request};
use crate::run::create::{NewName, NewRun};
use crate::run::dir::RunDir;
use crate::run::event::{Body, Event};
use crate::run::handle::{CONFIG, EVENTS, RunHandle};
use crate::run::journal::Journal;
use crate::run::lock::RunLock;
use crate::run::presence::Presence;
use crate::signals::Signalled;
use crate::train::checkpoint::Checkpoints;
use crate::train::{Resume, Setup, Trainer};

const RECIPE: &str = r#"
[model]
n_layer = 2
n_head = 2
n_embd = 8
context_length = 16

[data]
val_fraction = 0.2
tokenizer = "byte"

[reference.train]
steps = 3
lr = 1e-2
warmup = 1

[inherit]
layers = 1

[train]
steps = 4
batch_tokens = 192
micro_batch = 1
dtype = "f32"
lr = 1e-3
warmup = 1
log_every = 1

[eval]
every = 2
windows = 6

[probe]
windows = 2
length = 8

[grow]
step = 1
max_layers = 2

[match]
tolerance = -9.0

[policy]
mode = "auto"

[control]
random = true
reference_continued = false

[[baseline]]
name = "kd"
start = "random"
steps = 2
objective = { distill = { teacher = "reference", alpha = 0.5, temperature = 2.0 } }
"#;

/// A directory of runs and a text, and what the runs' optimizers are cut into.
pub struct Place(tempfile::TempDir, ShardChoice);

/// A command that ends a run's process, or disturbs it, after a step of a phase.
#[derive(Clone)]
pub struct At(pub &'static str, pub u64, pub Command);

/// Loss and gradient norm of a step, or loss and gap of an evaluation, by kind, phase and step; the last one counts.
type Course = BTreeMap<(&'static str, String, u64), (Option<f64>, Option<f64>)>;

impl Place {
    pub fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let words = (0..900).map(|i| format!("{} ", (i * i + 7 * i) % 101));
        std::fs::write(tmp.path().join("text.txt"), words.collect::<String>()).unwrap();
        Self(tmp, ShardChoice::None)
    }

    fn sharded() -> Self {
        Self(Self::new().0, ShardChoice::Optimizer)
    }

    fn text(&self) -> PathBuf {
        self.0.path().join("text.txt")
    }

    pub fn config(&self) -> Config {
        let data = format!("[data]\ntrain = {:?}", self.text());
        let mut config: Config = toml::from_str(&RECIPE.replace("[data]", &data)).unwrap();
        config.train.shard = self.1;
        config
    }

    fn dataset(&self) -> Dataset {
        let config = self.config();
        let sources = [Source::single(self.text().to_str().unwrap())];
        let tokenizer = crate::corpus::Tokenizer::byte();
        let (share, time) = (config.data.val_fraction, config.model.context_length);
        Dataset::open(&sources, None, share, &tokenizer, "text", time, &|_| {}).unwrap()
    }

    /// Makes the run's directory.
    fn create(&self, name: &str) -> RunLock {
        let runs = self.0.path().join("runs");
        let new = NewRun::begin(&runs, NewName::Given(name.into())).unwrap();
        let root = new.root().unwrap();
        let journal = root.open_to_append(EVENTS).unwrap();
        crate::file::lock::lock(&journal).unwrap();
        let text = config::to_toml(&self.config());
        root.replace_file(CONFIG, text.as_bytes()).unwrap();
        let (dir, root) = new.finish().unwrap();
        let handle = Arc::new(RunHandle::of(&dir, root).unwrap());
        RunLock::of_new(&handle, journal).unwrap()
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join("runs").join(name)
    }

    /// Begins a run of this name with `world` ranks, or resumes it from a checkpoint. Returns how it ended, on every rank.
    fn train(&self, name: &str, world: usize, from: Option<&str>, at: &[At]) -> Ended {
        let (ended, others) = self.led(name, world, from, at);
        let ended = ended.unwrap();
        assert!(others.iter().all(|other| *other == ended), "{others:?}");
        ended
    }

    /// Returns how rank 0's part ended, and the end that the other ranks were informed of.
    fn led(
        &self,
        name: &str,
        world: usize,
        from: Option<&str>,
        at: &[At],
    ) -> (Result<Ended>, Vec<Ended>) {
        let mut ranks = local::ranks(world).into_iter();
        let (setup, commands) = self.setup(name, from, at, ranks.next().unwrap());
        std::thread::scope(|scope| {
            let followers = ranks.map(|ranks| {
                let setup = FollowSetup {
                    dataset: self.dataset(),
                    device: Device::Cpu,
                    ranks,
                };
                scope.spawn(move || run(setup))
            });
            let followers: Vec<_> = followers.collect();
            let ended = Trainer::new(setup).and_then(|mut trainer| trainer.run());
            let others = followers.into_iter().map(|f| f.join().unwrap().unwrap());
            let others = others.collect();
            drop(commands);
            (ended, others)
        })
    }

    /// Returns the setup of rank 0's trainer, and the sender that keeps its channel of commands open.
    pub fn setup(
        &self,
        name: &str,
        from: Option<&str>,
        at: &[At],
        ranks: Arc<dyn Ranks>,
    ) -> (Setup, Sender<Request>) {
        let (lock, resume) = match from {
            None => (self.create(name), None),
            Some(wanted) => {
                let lock = RunLock::acquire(&self.dir(name)).unwrap();
                let checkpoints = Checkpoints::open(lock.handle()).unwrap();
                let (checkpoint, _) = checkpoints.to_resume(wanted).unwrap();
                let resume = Resume {
                    checkpoint: Some(checkpoint.unwrap()),
                    ..Resume::default()
                };
                (lock, Some(resume))
            }
        };
        let root = lock.handle().root();
        let (mut journal, _) = Journal::go_on(lock.journal().unwrap(), &root).unwrap();
        let (commands, requests) = channel();
        let mut at = at.to_vec();
        let sender = commands.clone();
        journal.subscribe(Box::new(move |event: &Event| {
            let is_due = |at: &At| {
                matches!(event.body, Body::Train(_))
                    && event.phase.to_string() == at.0
                    && event.phase_step == at.1
            };
            if let Some(i) = at.iter().position(is_due) {
                let At(_, _, command) = at.remove(i);
                sender.send(Request::new(By::Control, command)).unwrap();
            }
        }));
        let setup = Setup {
            config: self.config(),
            policy: PolicyMode::Auto,
            journal,
            reference: None,
            teachers: BTreeMap::new(),
            dataset: self.dataset(),
            device: Device::Cpu,
            device_name: "cpu".into(),
            device_note: None,
            threads: 1,
            dtype_reason: None,
            requests,
            signalled: Signalled::none(),
            presence: Presence::new(false),
            resume,
            repeat: Vec::new(),
            ranks,
            layout: None,
            lock: Arc::new(Mutex::new(lock)),
        };
        (setup, commands)
    }

    /// Trains to the end.
    fn done(&self, name: &str, world: usize, from: Option<&str>, at: &[At]) -> Course {
        assert_eq!(self.train(name, world, from, at), Ended::Done);
        course(&self.dir(name))
    }

    /// Trains until a command ends the process, and then from a checkpoint on with this many ranks.
    fn interrupted(
        &self,
        name: &str,
        worlds: [usize; 2],
        phase: &'static str,
        step: u64,
    ) -> Course {
        let quit = At(phase, step, Command::Quit);
        let ended = self.train(name, worlds[0], None, &[quit]);
        assert_eq!(ended, Ended::Stopped);
        self.done(name, worlds[1], Some("latest"), &[])
    }
}

fn course(dir: &Path) -> Course {
    let text = std::fs::read_to_string(RunDir::at(dir).events()).unwrap();
    let mut all = Course::new();
    for line in text.lines() {
        let event = Event::from_line(line).unwrap();
        let (kind, values) = match event.body {
            Body::Train(train) => ("train", (train.loss, train.grad_norm)),
            Body::Eval(eval) => ("eval", (eval.val_loss, eval.gap)),
            _ => continue,
        };
        all.insert((kind, event.phase.to_string(), event.phase_step), values);
    }
    all
}

fn assert_close(course: &Course, wanted: &Course) {
    assert!(course.keys().eq(wanted.keys()));
    for (place, (loss, _)) in course {
        let (a, b) = (loss.unwrap(), wanted[place].0.unwrap());
        assert!((a - b).abs() < 2e-5, "{place:?}: {a} and {b}");
    }
}

#[test]
fn a_recipe_of_several_ranks_is_that_of_one_process() {
    let place = Place::new();
    let alone = place.done("one", 1, None, &[]);
    let phases: Vec<&str> = alone.keys().map(|(_, phase, _)| &phase[..]).collect();
    for phase in [
        "reference",
        "round-1",
        "round-2",
        "control-random",
        "baseline-kd",
    ] {
        assert!(phases.contains(&phase), "{phases:?}");
    }
    let two = place.done("two", 2, None, &[]);
    assert_close(&two, &alone);
    assert!(two != alone, "sums are taken in another order");
    assert_eq!(place.done("again", 2, None, &[]), two);
    assert_close(&place.done("three", 3, None, &[]), &alone);
    // Updates are those of each element, whichever rank has it.
    assert_eq!(Place::sharded().done("two", 2, None, &[]), two);
}

#[test]
fn a_run_that_is_interrupted_has_the_bits_of_one_that_is_not() {
    let place = Place::new();
    let straight = place.done("straight", 2, None, &[]);
    for (name, phase, step) in [
        ("grown", "round-2", 1),
        ("control", "control-random", 2),
        ("taught", "baseline-kd", 1),
    ] {
        let resumed = place.interrupted(name, [2, 2], phase, step);
        assert_eq!(resumed, straight, "{phase} {step}");
    }
    // Other numbers of ranks read the same checkpoint.
    assert_close(&place.interrupted("fewer", [3, 1], "round-2", 1), &straight);
    // Checkpoints are complete, also where each rank held a part of the moments.
    let place = Place::sharded();
    assert_eq!(place.interrupted("same", [2, 2], "round-2", 2), straight);
    assert_close(&place.interrupted("more", [2, 3], "round-2", 2), &straight);
}

#[test]
fn a_rollback_of_several_ranks_has_the_bits_of_a_resume() {
    let place = Place::new();
    let straight = place.done("straight", 2, None, &[]);
    let back = Command::Rollback {
        checkpoint: "latest".into(),
    };
    let rolled = place.done("back", 2, None, &[At("round-2", 3, back)]);
    assert_eq!(rolled, straight);
    let text = std::fs::read_to_string(RunDir::at(&place.dir("back")).events()).unwrap();
    let events = text.lines().map(|line| Event::from_line(line).unwrap());
    let again = |e: &Event| e.branch == 1 && matches!(e.body, Body::Train(_));
    let again: Vec<u64> = events.filter(again).map(|e| e.phase_step).collect();
    assert_eq!(again[..4], [1, 2, 3, 4]);
}

#[test]
fn a_run_that_cannot_begin_leaves_no_rank_behind() {
    let place = Place::new();
    let (ended, others) = place.led("five", 5, None, &[]);
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("do not divide among 5 ranks"), "{error}");
    assert_eq!(others, vec![Ended::Failed("rank 0 has failed".into()); 4]);
}
