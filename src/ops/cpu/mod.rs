//! The CPU side of the ops: plain functions over slices, one file a topic.
//!
//! Loops are compiled for AVX-512, AVX2 and plain x86 by `simd!` and chosen at run time; matrix products are [`gemm`]'s. Work
//! is split over the current rayon pool in fixed pieces, and partial sums are added in a fixed order.

/// Runs an expression compiled for the best instruction set of this machine. What it calls must be `#[inline(always)]`.
///
/// With `A => expression`, `A` is the [`math::Arithmetic`] of that instruction set, for the functions of [`math`].
///
/// What is not inlined is compiled for plain x86-64, silently. Hence a macro, which marks the closure, and hence
/// [`Once`]: a closure that could be called twice is called through a shim that the mark does not reach.
macro_rules! simd {
    ($arithmetic:ident => $work:expr) => {
        match pulp::Arch::new() {
            pulp::Arch::Scalar => {
                type $arithmetic = $crate::ops::cpu::math::Separate;
                $work
            }
            // Every other set has fused multiply-add.
            arch => {
                let once = $crate::ops::cpu::Once;
                arch.dispatch(
                    #[inline(always)]
                    || {
                        type $arithmetic = $crate::ops::cpu::math::Fused;
                        let _once: $crate::ops::cpu::Once = once;
                        $work
                    },
                )
            }
        }
    };
    ($work:expr) => {{
        let once = $crate::ops::cpu::Once;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let _once: $crate::ops::cpu::Once = once;
                $work
            },
        )
    }};
}

/// Makes a closure that takes it callable only once.
struct Once;

pub mod attention;
mod columns;
pub mod distillation;
pub mod embedding;
pub mod gelu;
pub mod gemm;
pub mod head;
pub mod linear;
pub mod math;
pub mod muon;
pub mod norm;
pub mod optimizer;
pub mod rope;
mod softmax;
pub mod swiglu;

/// Rows that one task handles in row-wise loops. Fixed, so that the order of partial sums does not depend on the
/// number of threads.
const ROWS_PER_TASK: usize = 32;

/// Elements that one task handles in element-wise loops.
const ELEMENTS_PER_TASK: usize = 16 * 1024;

/// A pointer that may be sent to other threads. Every use must make sure that threads write to different places.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: only the pointer is shared; each use explains why the places written are different.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer itself (a method, so that closures capture the whole wrapper).
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
