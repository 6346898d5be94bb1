//! Resolves `train.dtype` when a run begins, and keeps it when the run is resumed.

use anyhow::{Result, bail};
use candle_core::Device;

use super::args::Args;
use crate::config::Config;
use crate::ops::{Bf16Products, EMULATED, Precision, PrecisionChoice};
use crate::run::event::{RunInfo, dtype_words};

/// Prefix of the reasons of a precision that `auto` has chosen.
const AUTO: &str = "auto:";

/// The precision of a run's matrix products.
pub(super) struct Dtype {
    pub(super) precision: Precision,
    /// Why this precision is used; `None` if it was asked for by name and is not emulated.
    pub(super) reason: Option<String>,
    /// A remark to print when a run is resumed.
    pub(super) note: Option<String>,
}

impl Dtype {
    /// Returns the precision and the reason: `bf16 (auto: AMX)`.
    pub(super) fn words(&self) -> String {
        dtype_words(self.precision.name(), self.reason.as_deref())
    }
}

impl Args {
    /// Resolves the config's `train.dtype` on this device, and puts the result into the config. `past` is the run that is
    /// resumed, as its journal describes it.
    ///
    /// # Errors
    /// When a run in bf16 is resumed where bf16 is emulated, unless the command line asks for a precision.
    pub(super) fn resolve_dtype(
        &self,
        config: &mut Config,
        device: &Device,
        past: Option<&RunInfo>,
    ) -> Result<Dtype> {
        let resumed = self.resume.as_deref().map(|run| Resumed {
            run,
            reason: past
                .filter(|past| past.dtype.as_deref() == Some(config.train.dtype.name()))
                .and_then(|past| past.dtype_reason.as_deref()),
            is_set: self.overrides.iter().any(|set| {
                set.split_once('=')
                    .is_some_and(|(path, _)| path.trim() == "train.dtype")
            }),
        });
        let offered = Bf16Products::of(device);
        let dtype = resolve(config.train.dtype, offered, resumed.as_ref())?;
        config.train.dtype = dtype.precision.into();
        Ok(dtype)
    }
}

/// The facts about a resumed run that decide its precision.
struct Resumed<'a> {
    run: &'a str,
    /// The journal's reason for the precision in the run's config, if it has one.
    reason: Option<&'a str>,
    /// Whether the command line asks for a precision.
    is_set: bool,
}

fn resolve(
    asked: PrecisionChoice,
    offered: Bf16Products,
    resumed: Option<&Resumed<'_>>,
) -> Result<Dtype> {
    let resolved = asked.resolve(offered);
    let mut dtype = Dtype {
        precision: resolved.precision,
        reason: resolved.reason.map(String::from),
        note: None,
    };
    let Some(resumed) = resumed else {
        return Ok(dtype);
    };
    let emulated = resolved.precision == Precision::Bf16 && offered == Bf16Products::Emulated;
    if emulated && !resumed.is_set {
        bail!(
            "run {} computes in bf16, and this CPU has no bf16 products (AVX512-BF16, AMX); emulated ones are {EMULATED}. \
             Resume it with --set train.dtype=f32 to continue in f32, with --set train.dtype=bf16 to continue in emulated \
             bf16, or on a machine with bf16 products",
            resumed.run
        );
    }
    match asked {
        PrecisionChoice::Auto => {
            dtype.note = Some(format!("train.dtype = \"auto\" is {} here", dtype.words()));
        }
        // Keeps the reason of the choice that `auto` made when the run began.
        _ if dtype.reason.is_none() => {
            let chosen = resumed.reason.filter(|reason| reason.starts_with(AUTO));
            dtype.reason = chosen.map(String::from);
        }
        _ => {}
    }
    Ok(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PrecisionChoice::{Auto, Bf16, F32};

    fn resumed(reason: Option<&str>, is_set: bool) -> Resumed<'_> {
        Resumed {
            run: "mine",
            reason,
            is_set,
        }
    }

    fn words(
        asked: PrecisionChoice,
        offered: Bf16Products,
        resumed: Option<Resumed<'_>>,
    ) -> String {
        resolve(asked, offered, resumed.as_ref()).unwrap().words()
    }

    #[test]
    fn a_new_run_takes_what_there_is() {
        assert_eq!(words(Auto, Bf16Products::Amx, None), "bf16 (auto: AMX)");
        assert_eq!(
            words(Auto, Bf16Products::Emulated, None),
            "f32 (auto: this CPU has no bf16 products)"
        );
        assert_eq!(words(Bf16, Bf16Products::Emulated, None), "bf16 (emulated)");
        assert_eq!(words(F32, Bf16Products::Gpu, None), "f32");
    }

    #[test]
    fn a_resume_keeps_what_was_chosen_at_the_start() {
        let amx = Some("auto: AMX");
        for (offered, expected) in [
            (Bf16Products::Amx, "bf16 (auto: AMX)"),
            (Bf16Products::Gpu, "bf16 (auto: AMX)"),
        ] {
            assert_eq!(words(Bf16, offered, Some(resumed(amx, false))), expected);
        }
        // A run in f32 stays in f32 on a CPU with bf16 products.
        let none = Some("auto: this CPU has no bf16 products");
        assert_eq!(
            words(F32, Bf16Products::Amx, Some(resumed(none, false))),
            "f32 (auto: this CPU has no bf16 products)"
        );
        // A precision that was emulated on one machine need not be emulated on another.
        let emulated = resumed(Some("emulated"), false);
        assert_eq!(words(Bf16, Bf16Products::Amx, Some(emulated)), "bf16");
        // A run of an earlier version.
        assert_eq!(
            words(F32, Bf16Products::Amx, Some(resumed(None, false))),
            "f32"
        );
    }

    #[test]
    fn emulated_bf16_is_refused_on_a_resume_unless_it_is_asked_for() {
        let amx = || Some("auto: AMX");
        let emulated = Bf16Products::Emulated;
        let refused = resolve(Bf16, emulated, Some(&resumed(amx(), false)));
        let refused = refused.err().unwrap().to_string();
        for word in [
            "run mine computes in bf16",
            EMULATED,
            "--set train.dtype=f32",
        ] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        assert_eq!(words(F32, emulated, Some(resumed(None, true))), "f32");
        let asked = words(Bf16, emulated, Some(resumed(amx(), true)));
        assert_eq!(asked, "bf16 (emulated)");
    }

    #[test]
    fn auto_on_a_resume_is_resolved_again_and_reported() {
        let again = resumed(Some("auto: AMX"), true);
        let dtype = resolve(Auto, Bf16Products::Emulated, Some(&again)).unwrap();
        assert_eq!(dtype.precision, Precision::F32);
        assert_eq!(
            dtype.note.unwrap(),
            "train.dtype = \"auto\" is f32 (auto: this CPU has no bf16 products) here"
        );
    }
}
