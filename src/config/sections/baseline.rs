//! `[[baseline]]`, the one key that is a list of sections.

use crate::config::key::OnResume::FreeUntil;
use crate::config::key::Stage::Controls;
use crate::config::key::{Key, Need, Section};
use crate::config::kind::Kind;

/// Its path.
pub const BASELINE: &str = "baseline";

pub(in crate::config) const SECTION: Section = Section {
    name: "",
    doc: "",
    keys: &[Key {
        path: BASELINE,
        on_resume: FreeUntil(Controls),
        kind: Kind::Baselines,
        need: Need::Unless("none"),
        doc: "Models that are trained for comparison after the rounds and the controls, in this order.",
    }],
};
