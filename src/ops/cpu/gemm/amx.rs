//! Intel's tile registers: eight tiles of 16 rows of 64 bytes, and `tdpbf16ps`, which adds the product of two bf16 tiles to
//! one of f32. The intrinsics are not stable in Rust, the instructions are.
#![cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(unused))]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use linux::{Tiles, block, is_available};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::sync::LazyLock;

    use crate::ops::cpu::gemm::mat::Mat;
    use crate::ops::cpu::gemm::tile::Line;

    /// Whether this machine has tiles for bf16, and the kernel lets this process use them.
    pub fn is_available() -> bool {
        static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
            const BF16: u32 = 1 << 22;
            const TILE: u32 = 1 << 24;
            const TILE_DATA: i32 = 18;
            const REQUEST: i32 = 0x1023; // ARCH_REQ_XCOMP_PERM
            let has = __cpuid_count(0, 0).eax >= 7
                && __cpuid_count(7, 0).edx & (BF16 | TILE) == BF16 | TILE;
            // SAFETY: a system call that reads its two numbers. Linux keeps tile data off until it is asked for, for all
            // threads of the process (Documentation/arch/x86/xstate.rst).
            has && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) } == 0
        });
        *AVAILABLE
    }

    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes_per_row: [u16; 16],
        rows: [u8; 16],
    }

    /// This thread's tiles, configured. They are released when this is dropped, so that context switches need not save them.
    pub struct Tiles;

    impl Tiles {
        /// All eight at full size.
        pub fn configure() -> Self {
            static CONFIG: Config = Config {
                palette: 1,
                start_row: 0,
                reserved: [0; 14],
                bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
                rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
            };
            // SAFETY: only called where AMX was found; 64 bytes of a valid configuration.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack)) };
            Self
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: as in `configure`.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }

    /// Tiles 0 to 3 hold the 32 x 32 sums: zero, or what they are added to.
    macro_rules! begin {
        ($onto:ident) => {
            if let Some(onto) = $onto {
                asm!(
                    "tileloadd tmm0, [{o} + {s}*1]",
                    "tileloadd tmm1, [{o} + {s}*1 + 64]",
                    "tileloadd tmm2, [{p} + {s}*1]",
                    "tileloadd tmm3, [{p} + {s}*1 + 64]",
                    o = in(reg) onto.ptr,
                    p = in(reg) onto.at(16, 0).ptr,
                    s = in(reg) 4 * onto.row,
                    options(nostack, readonly),
                );
            } else {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    options(nostack, nomem),
                );
            }
        };
    }

    macro_rules! end {
        ($out:ident) => {
            asm!(
                "tilestored [{o} + {s}*1], tmm0",
                "tilestored [{o} + {s}*1 + 64], tmm1",
                "tilestored [{p} + {s}*1], tmm2",
                "tilestored [{p} + {s}*1 + 64], tmm3",
                o = in(reg) $out.ptr,
                p = in(reg) $out.at(16, 0).ptr,
                s = in(reg) 4 * $out.row,
                options(nostack),
            );
        };
    }

    /// `out[32, 32] = onto + a b` of packed panels.
    ///
    /// # Safety
    /// Tiles must be configured; `a` and `b` must hold `steps` steps, `out` and `onto` 32 rows of 32, `out` for writing.
    pub unsafe fn block(a: *const Line, b: *const Line, steps: usize, out: Mat, onto: Option<Mat>) {
        // SAFETY: forwarded to the caller.
        unsafe {
            begin!(onto);
            if steps > 0 {
                asm!(
                    "2:",
                    "tileloadd tmm4, [{a} + {s}*1]",
                    "tileloadd tmm6, [{b} + {s}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{a} + {s}*1 + 1024]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tileloadd tmm7, [{b} + {s}*1 + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "dec {n}",
                    "jnz 2b",
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    n = inout(reg) steps => _,
                    s = in(reg) 64usize,
                    options(nostack, readonly),
                );
            }
            end!(out);
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn is_available() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod elsewhere {
    use crate::ops::cpu::gemm::mat::Mat;
    use crate::ops::cpu::gemm::tile::Line;

    pub struct Tiles;

    impl Tiles {
        pub fn configure() -> Self {
            Self
        }
    }

    pub unsafe fn block(_: *const Line, _: *const Line, _: usize, _: Mat, _: Option<Mat>) {
        unreachable!("this unit is never chosen here")
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use elsewhere::{Tiles, block};
