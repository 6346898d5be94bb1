//! Prepares a run after the checks and before its first step: reference, data, directory, lock, journal, control socket.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

use super::args::Args;
use super::check::{Plan, Planned};
use super::data::{open_data, unusable};
use super::progress::Progress;
use super::ranks::Group;
use super::teachers;
use crate::cli::find::located;
use crate::config::{self, Config};
use crate::corpus::{Dataset, Reporter};
use crate::dist::Solo;
use crate::file::{self, Dir};
use crate::locate;
use crate::run::command::Request;
use crate::run::control::server::Server;
use crate::run::create::NewRun;
use crate::run::decisions::{self, Repeat};
use crate::run::dir::RunDir;
use crate::run::handle::{CONFIG, EVENTS, RunHandle};
use crate::run::journal::Journal;
use crate::run::lock::RunLock;
use crate::run::notify::command::{Notifier, Place};
use crate::run::presence::Presence;
use crate::run::series::keep::{Keeping, SeriesKeeper};
use crate::run::shared::SharedRun;
use crate::text;
use crate::train::{Setup, tasks};

/// The parts of a run that `train` keeps alive until the run ends.
pub(super) struct Parts {
    pub(super) dir: RunDir,
    pub(super) run: Arc<SharedRun>,
    /// The control socket, where there is one.
    pub(super) server: Option<Server>,
    /// Keeps `series.bin` up to date with the journal.
    pub(super) keeping: Keeping,
    pub(super) presence: Arc<Presence>,
    /// Runs the operator's notification command, if one is configured.
    pub(super) notifier: Option<Notifier>,
    /// Held until the end: without a sender, the trainer would take no commands.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) held: (Sender<Request>, Arc<Mutex<RunLock>>),
}

impl Args {
    /// Reads a run's inputs and then makes or reopens its directory.
    ///
    /// # Errors
    /// When a reference or a text cannot be used, the directory cannot be made, or a stop was asked for before. Nothing is
    /// left behind then.
    pub(super) fn prepare(
        &self,
        plan: Plan,
        progress: Progress<'_>,
        group: Option<&Group>,
    ) -> Result<(Parts, Setup)> {
        let Plan {
            mut config,
            signalled,
            presence,
            machine,
            dtype,
            ..
        } = plan;
        let report: Reporter<'_> = &|report| progress.report(report);
        let begin = || match signalled.begin() {
            true => Ok(()),
            // The signal handler ends the process.
            false => bail!("stopped before the training began"),
        };
        let share = |reference: &Option<PathBuf>, dataset: &Dataset| match group {
            Some(group) => group.share_texts(reference.as_deref(), dataset),
            None => Ok(()),
        };
        let cache = group.and_then(Group::token_cache);
        let cache = cache.as_ref();
        let (dir, lock, journal, reference, dataset, teachers, resume) = match plan.what {
            Planned::Resumed {
                dir,
                lock,
                checkpoint,
                resume,
            } => {
                let reference = self.known_reference(&config, &dir, &checkpoint)?;
                let dataset = open_data(&config, reference.as_deref(), cache, report)?;
                let (teachers, missing) = teachers::kept(&config, &self.global.runs);
                for warning in missing {
                    progress.warn(warning, &presence);
                }
                teachers::check(&config, reference.as_deref(), &dataset, &teachers)?;
                tasks::check(&config)?;
                share(&reference, &dataset)?;
                begin()?;
                let (journal, warning) = Journal::go_on(lock.journal()?, &lock.handle().root())?;
                if let Some(warning) = warning {
                    progress.warn(warning, &presence);
                }
                let resume = Some(*resume);
                (dir, lock, journal, reference, dataset, teachers, resume)
            }
            Planned::New(name) => {
                // Data is read before the directory is made, so that a failure leaves no empty run.
                let reference = match (&config.reference.path, plan.reference) {
                    (Some(name), Some(located)) => {
                        progress.show("checking", name);
                        located.verify().with_context(|| unusable(name))?;
                        Some(located.path)
                    }
                    (Some(name), None) => {
                        progress.show("fetching", name);
                        self.reference(&config)?
                    }
                    (None, _) => None,
                };
                if let (Some(name), Some(path)) = (&mut config.reference.path, &reference) {
                    // The hub's `main` may be another model when the run is repeated, so the config keeps the exact revision.
                    *name = locate::pinned(name, path);
                }
                let show = |name: &str| progress.show("fetching", name);
                let teachers = teachers::find(&mut config, &self.global.runs, &show)?;
                let dataset = open_data(&config, reference.as_deref(), cache, report)?;
                teachers::check(&config, reference.as_deref(), &dataset, &teachers)?;
                tasks::check(&config)?;
                share(&reference, &dataset)?;
                begin()?;
                let new = NewRun::begin(&self.global.runs, name)?;
                let lock = fill(new, &config, &plan.repeat)?;
                let dir = lock.handle().dir().clone();
                let (journal, _) = Journal::go_on(lock.journal()?, &lock.handle().root())?;
                (dir, lock, journal, reference, dataset, teachers, None)
            }
        };
        progress.show("building", "the model");
        let mut journal = journal;
        journal.subscribe(plan.observer);
        let place = Place {
            handle: Arc::clone(lock.handle()),
            run: Arc::clone(&plan.run),
            attendance: Arc::clone(&presence),
            signalled: Arc::clone(&signalled),
        };
        let notifier = Notifier::start(plan.notify, place).unwrap_or_else(|refused| {
            presence.warn(format!("notify.command is not run: {refused}"));
            None
        });
        let lock = Arc::new(Mutex::new(lock));
        let (held, sender) = (Arc::clone(&lock), plan.commands.clone());
        let server = match Server::start(&dir, plan.hub, sender, held) {
            Ok(server) => Some(server),
            Err(error) => {
                presence.print(format!(
                    "no control socket: {error}; attach and ctl cannot reach this run"
                ));
                None
            }
        };
        let parts = Parts {
            server,
            keeping: SeriesKeeper::spawn(dir.path(), &plan.run),
            presence: Arc::clone(&presence),
            notifier,
            dir,
            run: plan.run,
            held: (plan.commands, Arc::clone(&lock)),
        };
        let setup = Setup {
            config,
            policy: plan.policy,
            journal,
            reference,
            teachers,
            dataset,
            device: machine.chosen.device,
            device_name: machine.chosen.name,
            device_note: machine.chosen.note,
            threads: machine.threads,
            dtype_reason: dtype.reason,
            requests: plan.requests,
            signalled,
            presence,
            resume,
            repeat: plan.repeat,
            ranks: group.map_or_else(|| Arc::new(Solo) as _, |group| Arc::clone(group.ranks())),
            layout: group.and_then(Group::layout),
            lock,
        };
        Ok((parts, setup))
    }

    /// Returns the path of the reference that the config loads.
    pub(super) fn reference(&self, config: &Config) -> Result<Option<PathBuf>> {
        let Some(name) = &config.reference.path else {
            return Ok(None);
        };
        let located = located(name, &self.global.runs).with_context(|| unusable(name))?;
        Ok(Some(located.path))
    }
}

/// Writes the files that a resume needs into a new run's directory, locks it, and only then gives it its name.
fn fill(new: NewRun, config: &Config, repeat: &[Repeat]) -> Result<RunLock> {
    let fill = |root: &Dir| -> std::io::Result<File> {
        let journal = root.open_to_append(EVENTS)?;
        file::lock::lock(&journal)?;
        if !repeat.is_empty() {
            decisions::keep(root, repeat)?;
        }
        root.replace_file(CONFIG, config::to_toml(config).as_bytes())?;
        Ok(journal)
    };
    let journal = new.root().and_then(fill);
    let journal = journal.context("cannot write the new run's directory")?;
    let (dir, root) = new.finish()?;
    Ok(RunLock::of_new(
        &Arc::new(RunHandle::of(&dir, root)?),
        journal,
    )?)
}

/// Writes the resolved config into the run, replacing the previous one atomically.
pub(super) fn write_config(run: &RunHandle, config: &Config) -> Result<()> {
    run.root()
        .replace_file(CONFIG, config::to_toml(config).as_bytes())
        .with_context(|| format!("cannot write {}", text::path(&run.dir().config())))
}
