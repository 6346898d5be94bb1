//! The surroundings of the run that is shown: the other runs of its directory, one of which can be compared with it,
//! and its config.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use crate::config::keys::{self, KEYS};
use crate::file;
use crate::run::dir::RunDir;
use crate::run::series;
use crate::run::state::RunState;
use crate::text::sanitize;
use crate::threads;

/// A function that checks every file of a checkpoint of a run; its error describes the damage.
pub type Verify = fn(&RunDir, &str) -> Result<(), String>;

/// Most bytes of a config that are read.
const MOST_CONFIG: u64 = 1 << 20;

/// The surroundings, as far as they have been read.
#[derive(Debug, Clone, Default)]
pub struct Nearby {
    /// Names of the other runs in the same directory, sorted.
    pub runs: Vec<String>,
    /// Config keys with their values as TOML, in the order of their table.
    pub config: Vec<(&'static str, String)>,
    /// Names of the run's checkpoints on disk; `None` until they have been listed.
    pub kept: Option<Vec<String>>,
    /// Checkpoints whose files have been checked, with the results.
    pub verified: HashMap<String, Result<(), String>>,
    /// The run whose losses are drawn over the chart, as of the time when it was read.
    pub compared: Option<Compared>,
}

/// A run that is compared with the one that is shown.
#[derive(Debug, Clone)]
pub struct Compared {
    pub name: String,
    pub run: Box<RunState>,
}

impl Nearby {
    /// Whether a checkpoint is still on disk, as far as is known.
    pub fn is_kept(&self, name: &str) -> bool {
        let kept = self.kept.as_ref();
        kept.is_none_or(|kept| kept.iter().any(|k| k == name))
    }

    /// Finds another run by its name.
    ///
    /// # Errors
    /// When the run does not exist; suggests the most similar name.
    pub fn find_run(&self, name: &str) -> Result<String, String> {
        if let Some(run) = self.runs.iter().find(|run| *run == name) {
            return Ok(run.clone());
        }
        let names = self.runs.iter().map(String::as_str);
        let advice = match keys::best(name, names, 0.5) {
            Some(near) => format!("did you mean {near}?"),
            None => "Tab lists those that do".into(),
        };
        Err(format!(
            "compare: no run {name:?} in the same directory; {advice}"
        ))
    }

    /// Returns the value of a config key in this run, and on a second line its meaning and its rule on a resume.
    ///
    /// # Errors
    /// When the key does not exist; suggests the most similar one.
    pub fn describe_key(&self, path: &str) -> Result<String, String> {
        let Some(key) = keys::find(path) else {
            let advice = match keys::nearest(path) {
                Some(near) => format!("did you mean {near}?"),
                None => "Tab lists them".into(),
            };
            return Err(format!("config: unknown key {path:?}; {advice}"));
        };
        let value = self.config.iter().find(|(known, _)| *known == path);
        let value = value.map_or("not set", |(_, value)| value);
        Ok(format!(
            "{path} = {value}\n{} On resume: {}.",
            key.doc, key.on_resume
        ))
    }
}

/// Reads the surroundings of a run. Journals are read on a thread, so that keys do not wait for them.
#[derive(Debug)]
pub struct Neighbours {
    dir: RunDir,
    verify: Verify,
    /// The checkpoint that is being checked, and the next one.
    verifying: Option<(String, Receiver<Result<(), String>>)>,
    next: Option<String>,
    reading: Option<(String, Receiver<Result<RunState, String>>)>,
}

impl Neighbours {
    /// Makes the surroundings of the run in `dir`, without reading. `verify` checks a checkpoint.
    pub fn of(dir: &Path, verify: Verify) -> Self {
        Self {
            dir: RunDir::at(dir),
            verify,
            verifying: None,
            next: None,
            reading: None,
        }
    }

    /// Returns the directory that holds the run.
    fn runs(&self) -> Option<std::path::PathBuf> {
        let path = self.dir.path().canonicalize().ok()?;
        path.parent().map(Path::to_path_buf)
    }

    /// Reads the names of the other runs and the config. Leaves out what cannot be read.
    pub fn list(&self, nearby: &mut Nearby) {
        let runs = self.runs().and_then(|runs| RunDir::list(&runs).ok());
        let names = runs.unwrap_or_default().into_iter().map(|run| run.name());
        let own = self.dir.name();
        nearby.runs = names.filter(|name| *name != own).collect();
        let text = file::read_text(&self.dir.config(), MOST_CONFIG).unwrap_or_default();
        let root: toml::Value = toml::from_str(&text).unwrap_or(toml::Value::Boolean(false));
        let at = |path: &str| {
            let mut names = path.split('.');
            names.try_fold(&root, |value, name| value.get(name))
        };
        let value = |path| Some((path, sanitize(&at(path)?.to_string()).into_owned()));
        nearby.config = KEYS.iter().filter_map(|key| value(key.path)).collect();
    }

    /// Lists the checkpoints on disk, including links to them.
    pub fn list_checkpoints(&self, nearby: &mut Nearby) {
        let entries = std::fs::read_dir(self.dir.checkpoints());
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        nearby.kept = Some(names.filter(|name| !name.starts_with('.')).collect());
    }

    /// Checks a checkpoint on a thread, after the check in progress. Only the last of several waiting requests is carried out.
    pub fn verify(&mut self, nearby: &Nearby, name: &str) {
        // A failed check is repeated, because the failure may have been one of reading.
        let is_known = matches!(nearby.verified.get(name), Some(Ok(())));
        let is_checked = self.verifying.as_ref().is_some_and(|(now, _)| now == name);
        if !is_known && !is_checked {
            self.next = Some(name.into());
            self.begin_to_verify();
        }
    }

    fn begin_to_verify(&mut self) {
        if self.verifying.is_some() {
            return;
        }
        let Some(name) = self.next.take() else { return };
        let (send, receive) = channel();
        let (dir, verify, checked) = (self.dir.clone(), self.verify, name.clone());
        let work = move || drop(send.send(verify(&dir, &checked)));
        // If the thread is refused, the receiver has no sender, which counts as a failed check.
        drop(threads::spawn("verify", work));
        self.verifying = Some((name, receive));
    }

    /// Takes the result of a finished check. Returns true if there was one.
    pub fn poll_verified(&mut self, nearby: &mut Nearby) -> bool {
        let Some((name, receive)) = &self.verifying else {
            return false;
        };
        let checked = match receive.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Disconnected) => Err(format!("{name} could not be verified")),
            Ok(checked) => checked,
        };
        nearby.verified.insert(name.clone(), checked);
        self.verifying = None;
        self.begin_to_verify();
        true
    }

    /// Begins to read another run.
    ///
    /// # Errors
    /// When its directory is not known, or the system refuses a thread.
    pub fn read(&mut self, name: &str) -> Result<(), String> {
        let runs = self.runs().ok_or("the runs directory cannot be found")?;
        let dir = RunDir::open(&runs, name).map_err(|why| why.to_string())?;
        let (send, receive) = channel();
        let read = move || {
            let run = series::open::load(dir.path()).map_err(|why| why.to_string());
            // An error is ignored: the dashboard was closed, or another run was requested.
            drop(send.send(run));
        };
        threads::spawn("compare", read).map_err(|why| why.to_string())?;
        self.reading = Some((name.into(), receive));
        Ok(())
    }

    /// Returns the run that was read, once.
    pub fn poll(&mut self) -> Option<Result<Compared, String>> {
        let (name, receive) = self.reading.as_ref()?;
        let read = match receive.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the journal cannot be read".into()),
            Ok(read) => read,
        };
        let name = name.clone();
        self.reading = None;
        Some(match read {
            Ok(run) => Ok(Compared {
                name,
                run: Box::new(run),
            }),
            Err(why) => Err(format!("compare {name}: {why}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dashboard::tests::realistic::journal::{self, Moment};

    fn run(runs: &Path, name: &str, journal: &str) -> RunDir {
        let dir = RunDir::create(runs, "tiny", Some(name)).unwrap();
        std::fs::write(dir.events(), journal).unwrap();
        std::fs::write(dir.config(), "[train]\nlr = 3e-4\nbetas = [0.9, 0.95]\n").unwrap();
        dir
    }

    fn wait(neighbours: &mut Neighbours) -> Result<Compared, String> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match neighbours.poll() {
                Some(read) => return read,
                None if Instant::now() > until => panic!("nothing was read"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    #[test]
    fn other_runs_and_the_config_are_listed_and_a_run_is_read() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = run(tmp.path(), "mine", "");
        run(tmp.path(), "other", &journal::journal(Moment::Healthy));
        run(tmp.path(), "another", "");
        let mut neighbours = Neighbours::of(dir.path(), |_, _| Ok(()));
        let mut nearby = Nearby::default();
        neighbours.list(&mut nearby);
        assert_eq!(nearby.runs, ["another", "other"]);
        let lr = ("train.lr", "0.0003".to_string());
        assert_eq!(nearby.config, [lr, ("train.betas", "[0.9, 0.95]".into())]);
        neighbours.read("other").unwrap();
        let read = wait(&mut neighbours).unwrap();
        assert_eq!(
            (read.name.as_str(), read.run.core.phase_step),
            ("other", 62_300)
        );
        assert!(neighbours.poll().is_none());
        let why = neighbours.read("othre").unwrap_err();
        assert!(why.contains("did you mean other?"), "{why}");
        std::fs::remove_file(tmp.path().join("another/events.jsonl")).unwrap();
        std::fs::create_dir(tmp.path().join("another/events.jsonl")).unwrap();
        neighbours.read("another").unwrap();
        let why = wait(&mut neighbours).unwrap_err();
        assert!(why.starts_with("compare another: "), "{why}");
    }
}
