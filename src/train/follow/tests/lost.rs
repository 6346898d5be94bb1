//! Tests that rank 0 notices a lost rank during its own long work, not only at the next exchange.

use std::sync::Arc;

use super::recipe::{At, Place};
use super::*;
use crate::config::{LayerChoice, Measure};
use crate::dist::lossy::Lossy;
use crate::dist::{DistError, Ranks};
use crate::model::Weights;
use crate::run::command::Command;
use crate::run::dir::RunDir;
use crate::run::event::{Body, Event};
use crate::train::Trainer;
use crate::train::watched::Watched;

/// Returns the number of checks for lost ranks that `work` makes after it is announced. Asserts that `work` ends with the loss when
/// any one of them finds it.
fn looks_of(work: impl Fn(&mut Run) -> Result<()>) -> usize {
    let dataset = dataset();
    let survives = |looks: &usize| {
        let ranks = Arc::new(Lossy::new());
        let peers = Arc::new(Peers::new(Arc::clone(&ranks) as Arc<dyn Ranks>));
        let mut run = Run::new(&peers, &dataset, None);
        // The announcement itself makes one check.
        ranks.lose_after(1 + looks);
        let Err(error) = work(&mut run) else {
            return true;
        };
        let lost = error.downcast_ref::<DistError>().map(DistError::again);
        let is_lost = matches!(lost, Some(DistError::Lost { rank: 1, .. }));
        assert!(is_lost, "{looks}: {error:#}");
        false
    };
    (0..).find(survives).unwrap()
}

#[test]
fn measurements_and_reading_look_at_the_other_ranks_between_their_parts() {
    let dataset = dataset();
    // An evaluation has four passes, of which this rank computes two.
    let looks = looks_of(|run| run.learner.evaluate(&dataset.val).map(drop));
    assert_eq!(looks, 2);
    // At least one check per layer in this rank's passes.
    let looks = looks_of(|run| run.learner.probe(&dataset.val, 0.9).map(drop));
    assert!(looks >= 2, "{looks}");
    // One check per tensor, and one before the model is copied to the other ranks.
    let source = Decoder::random(shape(2), 5, &Device::Cpu).unwrap();
    let looks = looks_of(|run| {
        let peers = Arc::clone(run.learner.peers());
        run.learner.replace(shape(2), true, |model, _| {
            Ok(Watched::new(&source, &peers).load_into(model)?)
        })
    });
    assert_eq!(looks, source.params.len() + 1);
}

/// Returns the events that a run of two ranks journals until rank 1 is lost: `looks` checks after an event that fulfils `when` still
/// find it.
fn journal_of(layers: LayerChoice, at: &[At], looks: usize, when: fn(&Body) -> bool) -> Vec<Event> {
    let place = Place::new();
    let ranks = Arc::new(Lossy::new());
    let (mut setup, commands) = place.setup("lost", None, at, Arc::clone(&ranks) as _);
    setup.config.inherit.layers = layers;
    let observed = move |event: &Event| {
        if when(&event.body) {
            ranks.lose_after(looks);
        }
    };
    setup.journal.subscribe(Box::new(observed));
    let mut trainer = Trainer::new(setup).unwrap();
    let error = trainer.run().unwrap_err();
    // The trainer's thread does the same after an error.
    let lost = trainer.lost().unwrap().to_string();
    let reported = error.downcast_ref::<DistError>().map(ToString::to_string);
    assert_eq!(reported.as_ref(), Some(&lost), "{error:#}");
    trainer.note(&lost);
    assert!(trainer.way_back().starts_with("resume: "));
    drop((trainer, commands));
    let text = std::fs::read_to_string(RunDir::at(&place.dir("lost")).events()).unwrap();
    let events = text.lines().map(|line| Event::from_line(line).unwrap());
    let mut events: Vec<Event> = events.collect();
    // The warning and later events, such as a completed checkpoint, are left out.
    let noted = events.iter().rposition(
        |event| matches!(&event.body, Body::Warning(warning) if warning.message == lost),
    );
    events.truncate(noted.unwrap());
    events
}

#[test]
fn a_rank_that_is_lost_ends_samples_and_measures_of_layers() {
    let sample = Command::Sample { text: "12 ".into() };
    let at = [At("round-1", 1, sample)];
    let asked = |body: &Body| matches!(body, Body::Command(given) if matches!(given.command, Command::Sample { .. }));
    let events = journal_of(LayerChoice::First(1), &at, 3, asked);
    let last = &events.last().unwrap().body;
    assert!(asked(last), "{last:?}");
    for measure in Measure::ALL {
        let chooses =
            |body: &Body| matches!(body, Body::Log(log) if log.message.starts_with("choosing "));
        let events = journal_of(LayerChoice::Measured(measure, 1), &[], 0, chooses);
        let last = &events.last().unwrap().body;
        assert!(chooses(last), "{measure:?}: {last:?}");
    }
}
