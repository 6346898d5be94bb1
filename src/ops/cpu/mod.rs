//! The CPU side of the ops: plain functions over slices, one file a topic.
//!
//! Loops are compiled for AVX-512, AVX2 and plain x86 by [`simd`] and chosen at run time; matrix products go through
//! the `gemm` crate. Work is split over the current rayon pool in fixed pieces, and partial sums are added in a fixed
//! order.

pub mod attention;
pub mod embedding;
pub mod gelu;
pub mod head;
pub mod linear;
pub mod math;
pub mod norm;
pub mod optimizer;
pub mod rope;
pub mod swiglu;

/// Rows that one task handles in row-wise loops. Fixed, so that the order of partial sums does not depend on the
/// number of threads.
const ROWS_PER_TASK: usize = 32;

/// Elements that one task handles in element-wise loops.
const ELEMENTS_PER_TASK: usize = 16 * 1024;

/// Runs `f` compiled for the best instruction set of this machine. What `f` calls must be `#[inline(always)]`.
#[inline(always)]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// A matrix operand of [`matmul`]: where it starts and how far apart its rows and columns lie.
#[derive(Clone, Copy)]
struct Mat {
    ptr: *const f32,
    row: usize,
    col: usize,
}

impl Mat {
    /// A row-major matrix of `cols` columns.
    fn rows(data: &[f32], cols: usize) -> Self {
        Self {
            ptr: data.as_ptr(),
            row: cols,
            col: 1,
        }
    }

    /// The same matrix transposed.
    fn t(self) -> Self {
        Self {
            ptr: self.ptr,
            row: self.col,
            col: self.row,
        }
    }
}

/// How many threads one product may use.
#[derive(Clone, Copy)]
enum Threads {
    One,
    All,
}

/// `out[m, n] = (accumulate ? out : 0) + beta · a[m, k] b[k, n]`, `out` row-major with rows `out_row` apart.
///
/// # Safety
/// The three pointers must be valid for the sizes and strides given, `out` for writing and apart from the others.
#[allow(clippy::too_many_arguments)]
unsafe fn matmul(
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
    a: Mat,
    b: Mat,
    beta: f32,
    threads: Threads,
) {
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(rayon::current_num_threads()),
    };
    // SAFETY: forwarded to the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_row as isize,
            accumulate,
            a.ptr,
            a.col as isize,
            a.row as isize,
            b.ptr,
            b.col as isize,
            b.row as isize,
            1.0,
            beta,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A pointer that may go to other threads; whoever uses it sees to it that they write different places.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: only the pointer is shared; each use says why the places written are different.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer itself (a method, so that closures capture the whole wrapper).
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
