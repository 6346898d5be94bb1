//! A further control is one row of [`crate::run::controls`]: plan, forecast, table, `show --json`, model card and journal
//! show it without knowing it.

use candle_core::Device;

use crate::config::Config;
use crate::export::card;
use crate::model::{DecoderConfig, Sizes};
use crate::run::controls::{CONTROLS, extra};
use crate::run::dir::RunDir;
use crate::run::event::{Phase, Start};
use crate::run::state::{ControlResult, RunState};
use crate::run::{show, table};
use crate::train::state::Task;
use crate::train::teacher::TeacherPaths;
use crate::train::{Passes, plan};

const ID: &str = "control-extra";

fn config() -> Config {
    let text = "data.train = 'a.txt'\nreference.train.steps = 7\n[train]\nsteps = 9\nbatch_tokens = 16\nlr = 0.1\n";
    toml::from_str(text).unwrap()
}

fn names(config: &Config) -> Vec<String> {
    let sizes = Sizes {
        n_layer: 4,
        n_head: 2,
        n_embd: 8,
        context_length: 16,
        vocab: 16,
    };
    let shape = DecoderConfig::gpt2(sizes, true);
    let passes = Passes::of(config, &shape, &Device::Cpu).unwrap();
    let phases = plan::phases(config, &shape, &passes, 0, &TeacherPaths::new()).unwrap();
    phases.iter().map(|p| p.phase.to_string()).collect()
}

#[test]
fn the_plan_has_it_in_its_place_when_it_is_wanted() {
    let config = config();
    let without = names(&config);
    assert!(!without.contains(&ID.to_string()), "{without:?}");
    let with = extra::with(|| names(&config));
    assert_eq!(with.last().unwrap(), ID);
    assert_eq!(with[..with.len() - 1], without);
    // The recipe comes to it after the control before it, and to its end after it.
    let after_of = |i: usize| {
        let before = Phase::Control(&CONTROLS[i]);
        plan::comparison_after(Some(&before), &config, 4)
    };
    let after = |i: usize| extra::with(|| after_of(i));
    assert_eq!(after(1), Task::Control(&CONTROLS[2]));
    assert_eq!(after(2), Task::Finish);
    assert_eq!(after_of(1), Task::Finish);
    let start = plan::start_of_control(&CONTROLS[2], 3, &config);
    assert_eq!(start.name(), Start::Random);
}

#[test]
fn journals_and_states_name_it() {
    let phase = Phase::from(ID);
    assert_eq!(phase, Phase::Control(&CONTROLS[2]));
    assert_eq!(phase.to_string(), ID);
    let planned = extra::with(|| plan::order(&config(), &Phase::Round(2), &[0, 1], 4, 9));
    assert_eq!(planned.last().unwrap().phase, phase);
    let text = serde_json::to_string(&Task::Control(&CONTROLS[2])).unwrap();
    assert_eq!(text, r#"{"task":"control_extra"}"#);
    assert_eq!(
        serde_json::from_str::<Task>(&text).unwrap(),
        Task::Control(&CONTROLS[2])
    );
}

#[test]
fn tables_show_its_result() {
    let mut state: RunState = table::tests::finished();
    let result = state.core.controls[0].result.clone();
    state.core.controls.push(ControlResult {
        name: CONTROLS[2].result.into(),
        result,
    });
    let table = table::text(&state);
    assert!(table.contains("\nextra  "), "{table}");
    assert!(table.contains("extra: control of a test\n"), "{table}");
    let json = show::json(&state, &RunDir::at(std::path::Path::new("nowhere")));
    assert_eq!(json["controls"][2]["name"], "extra");
    let mut card = String::new();
    card::results(&mut card, &state.core).unwrap();
    assert!(
        card.contains("\n| control: extra | 6 | 1.20M | 200 |"),
        "{card}"
    );
    assert_eq!(
        table::phase_name(&Phase::Control(&CONTROLS[2])),
        "control extra"
    );
}
