//! The start of a resumed run: the checkpoint that it continues from, and values of the config that differ from the run's.

use anyhow::{Result, bail};

use super::checkpoint::{CheckpointError, Checkpoints};
use super::passes::Passes;
use super::plan;
use super::state::{Task, TrainState};
use super::trainer::Trainer;
use crate::config::Config;
use crate::config::keys::Stage;
use crate::config::resume::{self, Values};
use crate::model::DecoderConfig;
use crate::run::dir::RunDir;
use crate::run::event::{Body, Log, Phase, RunStatus};
use crate::text;

/// The place from which a resumed run continues, and the differences from before.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// The checkpoint; `None` if the run has none yet and starts over.
    pub checkpoint: Option<String>,
    /// The reason for this checkpoint instead of a newer one.
    pub damage: Option<String>,
    /// The values of the run so far: those of the checkpoint or, of an older version's, of `config.toml`.
    pub values: Values,
    /// Accepted changes, for the journal.
    pub changes: Vec<String>,
    /// The reasons why the run will differ in bits from one that was not interrupted.
    pub warnings: Vec<String>,
}

impl Checkpoints {
    /// Finds the checkpoint that a resume continues from: `latest` is the newest that is intact, if there is any. Returns its name, and a
    /// message about a newer one that is damaged.
    ///
    /// # Errors
    /// When there is no checkpoint of that name, or none is intact.
    pub fn to_resume(
        &self,
        wanted: &str,
    ) -> Result<(Option<String>, Option<String>), CheckpointError> {
        if wanted != "latest" {
            return Ok((Some(self.resolve(wanted)?), None));
        }
        // Interrupted before its first checkpoint: there is nothing to lose by beginning again.
        if self.names().is_empty() {
            return Ok((None, None));
        }
        // Interrupted between a checkpoint and its link, or the link was lost in a copy.
        let Ok(latest) = self.resolve(wanted) else {
            return Ok((Some(self.newest_whole()?), None));
        };
        let Err(error) = self.verify(&latest) else {
            return Ok((Some(latest), None));
        };
        match self.newest_whole() {
            Ok(whole) => {
                let damage = format!("{error}; resuming from {whole}");
                Ok((Some(whole), Some(damage)))
            }
            Err(_) => Err(error),
        }
    }
}

impl TrainState {
    /// Returns the stage that the run has reached.
    pub fn stage(&self) -> Stage {
        match (&self.task, &self.phase) {
            (Task::Inherit, _) => Stage::Measured,
            (Task::Grow { .. }, _) => Stage::Rounds,
            (Task::Control(control), _) => control.stage,
            (Task::Finish | Task::Baseline(_), _) => Stage::Baselines,
            (Task::Train, Phase::Reference) => Stage::Reference,
            (Task::Train, Phase::Round(_)) => Stage::Rounds,
            (Task::Train, Phase::Control(control)) => control.stage,
            (Task::Train, Phase::Baseline(_) | Phase::Other(_)) => Stage::Baselines,
        }
    }
}

/// Refuses a config whose reference has another shape than the checkpoint's model. (Checkpoints of earlier versions
/// hold no config to compare with.)
///
/// # Errors
/// Naming the key and both values.
pub(super) fn check_shape(
    config: &Config,
    had: &DecoderConfig,
    wanted: &DecoderConfig,
) -> Result<()> {
    if config.reference.train.is_none() {
        return Ok(());
    }
    let keys = [
        ("model.n_head", had.n_head, wanted.n_head),
        ("model.n_kv_head", had.n_kv_head, wanted.n_kv_head),
        ("model.n_embd", had.n_embd, wanted.n_embd),
        ("model.n_inner", had.n_inner, wanted.n_inner),
        (
            "model.context_length",
            had.context_length,
            wanted.context_length,
        ),
        ("model.vocab", had.vocab, wanted.vocab),
    ];
    for (key, had, wants) in keys {
        if had != wants {
            bail!(
                "{key} is {wants} in the config, and {had} in the checkpoint's weights: put {key} = {had} into the run's config.toml, or start a new run"
            );
        }
    }
    if had.family != wanted.family {
        let (had, wants) = (had.family.name(), wanted.family.name());
        bail!(
            "model.family is \"{wants}\" in the config, and \"{had}\" in the checkpoint: put model.family = \"{had}\" into the run's config.toml, or start a new run"
        );
    }
    Ok(())
}

/// A peak at which a model of any size trains without overflow.
const SAFE_RATE: f64 = 1e-3;

/// Returns the `--set` that lowers the peak rate in force in a phase to a tenth, and to [`SAFE_RATE`] at most. `scale` is the factor that
/// the operator has put on the rate. A lowest rate that would be above the peak is lowered with it.
fn lower_rate(config: &Config, phase: &Phase, scale: f64) -> String {
    let reference = config.reference.train.as_ref();
    let own = reference.filter(|r| *phase == Phase::Reference && r.lr.is_some());
    let lr = own.and_then(|r| r.lr).unwrap_or(config.train.lr);
    let mut peak = (lr / 10.0).min(SAFE_RATE / scale.max(1.0));
    // A reference without a peak of its own, but with a lowest rate, needs the rounds' peak above that.
    let needs = reference.filter(|r| own.is_none() && r.lr.is_none());
    let needs = needs.and_then(|r| r.min_lr);
    let measured = *phase != Phase::Reference;
    if let Some(min) = needs.filter(|_| measured) {
        peak = peak.max(min);
    }
    let min = |key: &str, min: Option<f64>| match min {
        Some(min) if min > peak => format!(" --set {key}={:.0e}", peak / 10.0),
        _ => String::new(),
    };
    let (shared, of_reference) = (config.train.min_lr, "reference.train.min_lr");
    match own {
        Some(own) => format!(
            "--set reference.train.lr={peak:.0e}{}",
            min(of_reference, own.min_lr.or(shared))
        ),
        None => format!(
            "--set train.lr={peak:.0e}{}{}",
            min("train.min_lr", shared),
            min(of_reference, needs.filter(|_| !measured)),
        ),
    }
}

/// Refuses data that are not what a run was trained on; `had` and `has` are the fingerprints of both texts.
///
/// # Errors
/// Naming the text that differs, where it is configured, and what to do.
pub(super) fn check_data(
    had: &[String; 2],
    has: &[String; 2],
    config: &Config,
    dir: &RunDir,
) -> Result<()> {
    let what = match (had[0] != has[0], had[1] != has[1]) {
        (false, false) => return Ok(()),
        (true, false) => "the training text is not the one",
        (false, true) => "the validation text is not the one",
        (true, true) => "the training and the validation text are not those",
    };
    let values = resume::values(config);
    let given = [
        "data.train",
        "data.val",
        "data.val_fraction",
        "data.tokenizer",
    ];
    let given = given
        .iter()
        .filter_map(|key| Some(format!("{key} = {}", values.get(*key)?)));
    bail!(
        "{what} that run {} began with: its tokens differ ({}). Put the original text back, name it with --set \
         data.train=PATH, \
         or start a new run on the new text: heirloom train {} --name NAME",
        dir.name(),
        given.collect::<Vec<_>>().join(", "),
        text::argument(&dir.config()),
    )
}

impl Trainer {
    /// A resume may bring another number of steps for the phase in progress; a decision that extended it stays.
    pub(super) fn adopt_steps(&mut self) {
        let planned = match self.state.phase {
            Phase::Reference => self.config.reference.train.as_ref().map_or(0, |r| r.steps),
            Phase::Round(_) => self.config.train.steps,
            _ => return,
        };
        let cools_down = self
            .state
            .live
            .cooldown(self.state.schedule_place())
            .is_some();
        if self.state.due == self.state.steps && !cools_down {
            self.state.due = planned;
        }
        self.state.steps = planned;
    }

    /// Advises how to continue after a loss that is not finite: with a lower peak rate or, in a control, which has the rates of the rounds
    /// it is compared with, without that control.
    pub(super) fn way_round_nonfinite(&mut self) -> String {
        self.keeping().finish();
        let run = self.directory.run().argument();
        let start = match self.keeper.checkpoints().newest_whole() {
            Ok(name) => format!("Resume from its checkpoint {name}"),
            Err(_) => "It has no checkpoint yet: start it over".into(),
        };
        let (what, settings) = match self.state.phase {
            Phase::Control(control) => {
                let without = format!("--set {}=false", control.key);
                (" without this control", without)
            }
            _ => (
                " with a lower rate",
                lower_rate(&self.config, &self.state.phase, self.state.rate_scale()),
            ),
        };
        format!("{start}{what}: heirloom train --resume {run} {settings}")
    }

    /// Gives up controls that the config does not ask for any more.
    pub(super) fn drop_unwanted_controls(&mut self) {
        let control = match (&self.state.task, &self.state.phase) {
            (Task::Control(control), _) | (Task::Train, Phase::Control(control)) => *control,
            _ => return,
        };
        if !control.is_wanted(&self.config.control) {
            let left = Phase::Control(control);
            self.state.task =
                plan::comparison_after(Some(&left), &self.config, self.reference_layers);
        }
    }

    /// Puts the values into force that waited for a new round.
    pub(super) fn adopt_config(&mut self) -> Result<()> {
        let Some(waiting) = self.config.waiting() else {
            return Ok(());
        };
        self.config.adopt_waiting();
        self.state.values = self.config.values();
        self.fit_batches()?;
        let message = format!("{waiting} from here on");
        let info = self.info();
        self.emit(Body::Log(Log { message }));
        self.report_run(RunStatus::Running, Some(info), None);
        Ok(())
    }

    /// Drops the values that waited for another round, since no further round begins: a control repeats the rounds with their values. Warns
    /// that they were not used, and removes them from the run's config.
    pub(super) fn drop_waiting(&mut self) {
        let Some(waiting) = self.config.waiting() else {
            return;
        };
        self.warn(format!(
            "{waiting} waited for another round, but no round follows: it was not used"
        ));
        self.config.drop_waiting();
        if let Err(error) = self.directory.write_config(self.config.wanted()) {
            let path = text::path(&self.directory.run().config());
            self.warn(format!("cannot write {path}: {error}"));
        }
    }

    /// Before a rollback, puts the values of the phase into force that will be in progress again.
    pub(super) fn return_to_values(&mut self, phase: &Values) -> Result<()> {
        self.config.return_to(phase);
        self.state.values = self.config.values();
        self.fit_batches()
    }

    /// Makes batches and passes fit the config's numbers of windows.
    fn fit_batches(&mut self) -> Result<()> {
        let passes = Passes::of(&self.config, self.learner.shape(), self.machine.device())?
            .among(&self.config, self.learner.peers().ranks().world())?
            .with_eval_windows(self.data.eval_windows().windows);
        self.data.fit(&self.config, passes.time)?;
        self.learner.set_passes(passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(text: &str, phase: &Phase, scale: f64) -> String {
        let config: Config = toml::from_str(&format!("data.train = 'a.txt'\n{text}")).unwrap();
        lower_rate(&config, phase, scale)
    }

    const TRAIN: &str = "[train]\nsteps = 1\nbatch_tokens = 1\nlr = 0.002\n";

    #[test]
    fn the_rate_in_force_is_lowered() {
        let own = |rest: &str| format!("reference.train = {{ steps = 1, {rest} }}\n{TRAIN}");
        let round = Phase::Round(1);
        for (text, phase, scale, wanted) in [
            (
                own("lr = 1e12"),
                &Phase::Reference,
                1.0,
                "--set reference.train.lr=1e-3",
            ),
            (own("lr = 1e12"), &round, 1.0, "--set train.lr=2e-4"),
            (
                own("warmup = 0"),
                &Phase::Reference,
                1.0,
                "--set train.lr=2e-4",
            ),
            (
                own("lr = 0.005"),
                &Phase::Reference,
                1.0,
                "--set reference.train.lr=5e-4",
            ),
            // The operator made it a thousand times as high.
            (own("lr = 0.005"), &round, 1000.0, "--set train.lr=1e-6"),
            (
                own("lr = 0.005, min_lr = 0.001"),
                &Phase::Reference,
                1.0,
                "--set reference.train.lr=5e-4 --set reference.train.min_lr=5e-5",
            ),
            (
                own("lr = 0.005") + "min_lr = 0.001\n",
                &Phase::Reference,
                1.0,
                "--set reference.train.lr=5e-4 --set reference.train.min_lr=5e-5",
            ),
            (
                own("lr = 0.005") + "min_lr = 0.001\n",
                &round,
                1.0,
                "--set train.lr=2e-4 --set train.min_lr=2e-5",
            ),
            (
                own("min_lr = 0.001"),
                &Phase::Reference,
                1.0,
                "--set train.lr=2e-4 --set reference.train.min_lr=2e-5",
            ),
            (own("min_lr = 0.001"), &round, 1.0, "--set train.lr=1e-3"),
        ] {
            assert_eq!(advice(&text, phase, scale), wanted, "{text}");
        }
    }
}
