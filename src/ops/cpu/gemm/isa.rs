//! The instructions that multiply tiles of bf16: which ones there are, and which are in use.

use std::sync::LazyLock;

use super::{amx, avx512};

/// Instructions that multiply tiles of bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Intel's tile registers.
    Amx,
    /// `vdpbf16ps`.
    Avx512,
    /// Plain loops, compiled for the best vectors there are.
    Portable,
}

impl Isa {
    /// The units this machine has, best first.
    pub fn available() -> Vec<Self> {
        let mut units = vec![Self::Portable];
        if avx512::is_available() {
            units.insert(0, Self::Avx512);
            if amx::is_available() {
                units.insert(0, Self::Amx);
            }
        }
        units
    }

    /// The unit in use: the best one, or a lesser one named by `HEIRLOOM_UNIT` (`amx`, `avx512`, `portable`).
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Isa> = LazyLock::new(|| {
            let best = Isa::available()[0];
            Isa::asked_for().ok().flatten().unwrap_or(best)
        });
        *CHOSEN
    }

    /// The unit that `HEIRLOOM_UNIT` names, if it is set.
    ///
    /// # Errors
    /// When this machine has none of that name.
    pub fn asked_for() -> Result<Option<Self>, String> {
        let Some(wanted) = std::env::var_os("HEIRLOOM_UNIT") else {
            return Ok(None);
        };
        let units = Self::available();
        let named = units.iter().find(|unit| wanted == unit.name());
        named.copied().map(Some).ok_or_else(|| {
            let names: Vec<_> = units.iter().map(|unit| unit.name()).collect();
            format!(
                "HEIRLOOM_UNIT is {wanted:?}, this machine has {}",
                names.join(", ")
            )
        })
    }

    /// Its name in `HEIRLOOM_UNIT` and in benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Portable => "portable",
        }
    }
}
