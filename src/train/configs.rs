//! The config in force and the one that is wanted.

use std::ops::Deref;

use crate::config::Config;
use crate::config::resume::{self, Values};

/// The config in force, to which this dereferences, and that of `config.toml`, some of whose values may wait for the next round.
pub(super) struct Configs {
    in_force: Config,
    wanted: Config,
}

impl Deref for Configs {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.in_force
    }
}

impl Configs {
    /// The configs of a phase that began with the values `phase`; if that is empty, the configs of a run's start.
    pub(super) fn new(wanted: Config, phase: &Values) -> Self {
        Self {
            in_force: resume::in_force(&wanted, phase),
            wanted,
        }
    }

    pub(super) fn wanted(&self) -> &Config {
        &self.wanted
    }

    /// The values in force.
    pub(super) fn values(&self) -> Values {
        resume::values(&self.in_force)
    }

    /// Values that wait for the next round, as `key = value`.
    pub(super) fn waiting(&self) -> Option<String> {
        let waiting = resume::changes(&self.values(), &resume::values(&self.wanted));
        let said = waiting.iter().map(|change| {
            let value = change.new.as_deref().unwrap_or("absent");
            format!("{} = {value}", change.key.path)
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// Puts the waiting values into force.
    pub(super) fn adopt_waiting(&mut self) {
        self.in_force = self.wanted.clone();
    }

    /// Drops the waiting values in favour of those in force.
    pub(super) fn drop_waiting(&mut self) {
        self.wanted = self.in_force.clone();
    }

    /// Puts the values of a phase into force that is continued after a rollback.
    pub(super) fn return_to(&mut self, phase: &Values) {
        self.in_force = resume::in_force(&self.wanted, phase);
    }
}
