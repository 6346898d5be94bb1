//! Finds the teachers of baselines, and checks that they fit.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::find::located;
use crate::config::{BaselineConfig, Config, ObjectiveChoice, Teacher};
use crate::corpus::Dataset;
use crate::locate::{self, HUB};
use crate::train::plan;
use crate::train::teacher::{self, TeacherPaths};

/// Returns the name of the model that a baseline learns from; `None` without a teacher, and for the run's reference.
fn name_mut(entry: &mut BaselineConfig) -> Option<&mut String> {
    match &mut entry.objective {
        ObjectiveChoice::Distill(distill) => match &mut distill.teacher {
            Teacher::Model(name) => Some(name),
            Teacher::Reference => None,
        },
        ObjectiveChoice::CrossEntropy => None,
    }
}

/// Finds the teachers that a config names, and pins names of the hub to the revision that was found: `main` may be another
/// revision when the run is repeated. `fetching` is called with the name of each that comes from the hub.
///
/// # Errors
/// When a teacher is missing or damaged; names its baseline.
pub(super) fn find(
    config: &mut Config,
    runs: &Path,
    fetching: &dyn Fn(&str),
) -> Result<TeacherPaths> {
    let mut paths = TeacherPaths::new();
    for entry in &mut config.baseline {
        let label = entry.label();
        let Some(name) = name_mut(entry) else {
            continue;
        };
        if name.starts_with(HUB) {
            fetching(name);
        }
        let found = located(name, runs)
            .with_context(|| format!("{label}: the teacher {name} cannot be used"))?;
        *name = locate::pinned(name, &found.path);
        paths.insert(name.clone(), found.path);
    }
    Ok(paths)
}

/// Finds the teachers of a resumed run; those of the hub are fetched where the cache lacks them. A missing one
/// is a warning, not an error: the baselines that learn from it may be finished.
pub(super) fn kept(config: &Config, runs: &Path) -> (TeacherPaths, Vec<String>) {
    let (mut paths, mut missing) = (TeacherPaths::new(), Vec::new());
    for mut entry in config.baseline.iter().cloned() {
        let label = entry.label();
        let Some(name) = name_mut(&mut entry) else {
            continue;
        };
        let fetched = |_| located(name, runs).map(|found| found.path);
        match locate::kept(name, runs).or_else(fetched) {
            Ok(path) => _ = paths.insert(name.clone(), path),
            Err(error) => missing.push(format!(
                "{label}: the teacher {name} cannot be used: {error:#}"
            )),
        }
    }
    (paths, missing)
}

/// Checks, from configs alone, that the teachers that were found have the vocabulary of the models that are trained and a context
/// for their windows.
///
/// # Errors
/// When a teacher does not fit; names the first one's baseline.
pub(super) fn check(
    config: &Config,
    reference: Option<&Path>,
    dataset: &Dataset,
    teachers: &TeacherPaths,
) -> Result<()> {
    if teachers.is_empty() {
        return Ok(());
    }
    let shape = match reference {
        Some(path) => plan::open_reference(path, &dataset.tokenizer)?.config,
        None => plan::reference_shape(config, &dataset.tokenizer),
    };
    let time = plan::window_length(config, &shape)?;
    for entry in &config.baseline {
        let named = name_mut(&mut entry.clone()).is_some_and(|name| teachers.contains_key(name));
        if !named {
            continue;
        }
        let found = teacher::shape(&entry.objective, teachers, &shape, time);
        found.with_context(|| entry.label())?;
    }
    Ok(())
}
