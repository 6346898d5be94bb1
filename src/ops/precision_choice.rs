//! The precision that is asked for, the products that a device offers, and the precision that follows.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::cpu::gemm::Isa;
use super::precision::Precision;

/// Compares training with emulated products in bf16 with f32, as measured on a CPU with AVX2 (docs/performance.md).
pub const EMULATED: &str = "three to five times as slow as f32";

/// The precision that `train.dtype` and `--dtype` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the device has products of bf16, else f32.
    Auto,
    F32,
    Bf16,
}

impl PrecisionChoice {
    /// The names in configs and on the command line.
    pub const NAMES: [&str; 3] = ["auto", "f32", "bf16"];

    /// Returns its name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Returns the precision on a device that has these products of bf16, and the reason.
    pub fn resolve(self, offered: Bf16Products) -> Resolved {
        let (precision, reason) = match (self, offered) {
            (Self::F32, _) => (Precision::F32, None),
            (Self::Bf16, Bf16Products::Emulated) => (Precision::Bf16, Some("emulated")),
            (Self::Bf16, _) => (Precision::Bf16, None),
            (Self::Auto, Bf16Products::Gpu) => (Precision::Bf16, Some("auto: GPU")),
            (Self::Auto, Bf16Products::Amx) => (Precision::Bf16, Some("auto: AMX")),
            (Self::Auto, Bf16Products::Avx512) => (Precision::Bf16, Some("auto: AVX512-BF16")),
            (Self::Auto, Bf16Products::Emulated) => {
                (Precision::F32, Some("auto: this CPU has no bf16 products"))
            }
        };
        Resolved { precision, reason }
    }

    /// Returns the precision on this device.
    pub fn on(self, device: &Device) -> Precision {
        self.resolve(Bf16Products::of(device)).precision
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Auto, Self::F32, Self::Bf16];
        let named = all.into_iter().find(|choice| choice.name() == text);
        named.ok_or_else(|| format!("use {}", Self::NAMES.join(", ")))
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns a warning where products of bf16 are emulated.
pub fn slow_bf16(precision: Precision, device: &Device) -> Option<String> {
    let emulated = Bf16Products::of(device) == Bf16Products::Emulated;
    (emulated && precision == Precision::Bf16).then(|| {
        format!(
            "this CPU has no bf16 products (AVX512-BF16, AMX), and emulated ones are {EMULATED}"
        )
    })
}

/// The unit that multiplies operands of bf16 on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16Products {
    Gpu,
    Amx,
    Avx512,
    /// Plain loops on a CPU without such instructions, or where `HEIRLOOM_UNIT` asks for them.
    Emulated,
}

impl Bf16Products {
    /// Returns what a device has.
    pub fn of(device: &Device) -> Self {
        match (device.is_cuda(), Isa::chosen()) {
            (true, _) => Self::Gpu,
            (false, Isa::Amx) => Self::Amx,
            (false, Isa::Avx512) => Self::Avx512,
            (false, Isa::Portable) => Self::Emulated,
        }
    }
}

/// A precision, and why it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    pub precision: Precision,
    /// The reason in a few words; `None` where the precision was asked for by name and the device has it.
    pub reason: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_on_every_device() {
        use Bf16Products::{Amx, Avx512, Emulated, Gpu};
        use Precision::{Bf16, F32};
        use PrecisionChoice as Choice;
        for (asked, offered, precision, reason) in [
            (Choice::F32, Gpu, F32, None),
            (Choice::F32, Amx, F32, None),
            (Choice::F32, Avx512, F32, None),
            (Choice::F32, Emulated, F32, None),
            (Choice::Bf16, Gpu, Bf16, None),
            (Choice::Bf16, Amx, Bf16, None),
            (Choice::Bf16, Avx512, Bf16, None),
            (Choice::Bf16, Emulated, Bf16, Some("emulated")),
            (Choice::Auto, Gpu, Bf16, Some("auto: GPU")),
            (Choice::Auto, Amx, Bf16, Some("auto: AMX")),
            (Choice::Auto, Avx512, Bf16, Some("auto: AVX512-BF16")),
            (
                Choice::Auto,
                Emulated,
                F32,
                Some("auto: this CPU has no bf16 products"),
            ),
        ] {
            let resolved = asked.resolve(offered);
            assert_eq!(
                (resolved.precision, resolved.reason),
                (precision, reason),
                "{asked} where there is {offered:?}"
            );
            // Resolving a resolved precision again does not change it.
            let kept = PrecisionChoice::from(precision);
            for other in [Gpu, Amx, Avx512, Emulated] {
                assert_eq!(kept.resolve(other).precision, precision);
            }
        }
    }

    #[test]
    fn choices_have_the_names_that_are_listed() {
        let names = PrecisionChoice::NAMES.map(|name| name.parse::<PrecisionChoice>().unwrap());
        assert_eq!(names.map(PrecisionChoice::name), PrecisionChoice::NAMES);
        assert!(
            "fp16"
                .parse::<PrecisionChoice>()
                .unwrap_err()
                .contains("auto, f32, bf16")
        );
    }

    #[test]
    fn a_cpu_offers_the_unit_in_use() {
        let offered = Bf16Products::of(&Device::Cpu);
        assert_eq!(
            offered == Bf16Products::Emulated,
            crate::ops::unit() == "portable"
        );
    }
}
