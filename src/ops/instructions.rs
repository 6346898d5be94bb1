//! The instructions that the CPU's operations use on this machine.

use super::cpu::gemm::Isa;

/// Looks at the unit that `HEIRLOOM_UNIT` asks for.
///
/// # Errors
/// Names which ones this machine has, when it has none of that name.
pub fn check_unit() -> std::result::Result<(), String> {
    Isa::asked_for().map(|_| ())
}

/// Name of the unit that multiplies on the CPU: `amx`, `avx512` (both for bf16) or `portable`.
pub fn unit() -> &'static str {
    Isa::chosen().name()
}

/// Names of the units this machine has, best first.
pub fn units() -> Vec<&'static str> {
    let units = Isa::available().into_iter();
    units.map(Isa::name).collect()
}

/// Name of the instructions that loops on the CPU are compiled for here.
pub fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(_) => return "AVX-512",
        pulp::Arch::V3(_) => return "AVX2",
        _ => {}
    }
    std::env::consts::ARCH
}
