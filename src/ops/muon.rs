//! Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>): momentum whose matrices are approximately
//! orthogonalised before they update the weights. The order of operations, the coefficients and epsilon are those of
//! PyTorch's `torch.optim.Muon`; everything is computed in f32, where PyTorch rounds to bf16 in [`orthogonalize`].

use candle_core::{Device, Result, Tensor, bail};

use super::access::{none_on_cpu, slices, zeros};
use super::clock::Part;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Accumulation, Block, Layout, Precision, cpu, linear, linear_backward_weight, zero};

/// Newton-Schulz steps of [`orthogonalize`].
const STEPS: usize = 5;
/// The quintic's coefficients: of X, of X Xᵀ X and of X Xᵀ X Xᵀ X.
const QUINTIC: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Least norm that a matrix is divided by.
const EPS: f32 = 1e-7;

/// Computes `m = μ m + (1 - μ) g` in a block of `m` and `g`, where the gradient is `grad_scale` times `g`, and
/// `x = μ m + (1 - μ) g`, Nesterov's look-ahead; `x` holds the block alone.
pub fn muon_momentum(
    x: &Tensor,
    m: &Tensor,
    g: &Tensor,
    block: Block,
    momentum: f32,
    grad_scale: f32,
) -> Result<()> {
    block.check(m, x)?;
    block.check(g, x)?;
    on_gpu!(
        Optimizer,
        x,
        cuda::muon::momentum(x, m, g, block, momentum, grad_scale)
    );
    slices([x, m], [g], |[x, m], [g]| {
        Part::Optimizer.time(|| cpu::muon::momentum(x, m, g, block, momentum, grad_scale));
        Ok(())
    })
}

/// Computes `p = keep p - lr x` in a block of `p`; on a GPU, `rounded` receives the new `p` in bf16.
pub fn muon_weights(
    p: &Tensor,
    rounded: Option<&Tensor>,
    x: &Tensor,
    block: Block,
    keep: f32,
    lr: f32,
) -> Result<()> {
    block.check(p, x)?;
    on_gpu!(
        Optimizer,
        p,
        cuda::muon::weights(p, rounded, x, block, keep, lr)
    );
    none_on_cpu(rounded)?;
    slices([p], [x], |[p], [x]| {
        Part::Optimizer.time(|| cpu::muon::weights(p, x, block, keep, lr));
        Ok(())
    })
}

/// Scratch memory of [`orthogonalize`]: a matrix and two square matrices.
#[derive(Debug)]
pub struct MuonRoom {
    matrix: Tensor,
    squares: [Tensor; 2],
}

impl MuonRoom {
    /// Allocates scratch for matrices of up to `elements` elements whose smaller dimension is at most `side`.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(elements: usize, side: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            matrix: zeros(elements, device)?,
            squares: [zeros(side * side, device)?, zeros(side * side, device)?],
        })
    }
}

/// Approximates the orthogonal factor of the polar decomposition of the matrix `x`, with singular values from about 0.7 to 1.2,
/// by five steps of a quintic Newton-Schulz iteration, `X = a X + (b A + c A²) X` with `A = X Xᵀ`. A matrix with more rows than
/// columns is multiplied from the right, with `A = Xᵀ X`, which is equivalent. Returns the result, which lies in `room`;
/// `x` is overwritten.
///
/// # Errors
/// When `room` is too small, or an operation fails.
pub fn orthogonalize(x: &Tensor, room: &MuonRoom) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let side = rows.min(columns);
    let wide = rows <= columns;
    let part = |of: &Tensor, a: usize, b: usize| of.narrow(0, 0, a * b)?.reshape((a, b));
    let gram = part(&room.squares[0], side, side)?;
    let polynomial = part(&room.squares[1], side, side)?;
    let mut now = x.clone();
    let mut next = part(&room.matrix, rows, columns)?;
    let [a, b, c] = QUINTIC;
    let compute = Precision::F32;
    to_unit_norm(x, EPS)?;
    for _ in 0..STEPS {
        if wide {
            linear(compute, &gram, &now, &now, Layout::OutIn, None, None)?;
        } else {
            zero(&gram)?;
            let add = Accumulation::Add;
            linear_backward_weight(compute, add, &gram, Layout::InOut, None, &now, &now)?;
        }
        linear(
            compute,
            &polynomial,
            &gram,
            &gram,
            Layout::InOut,
            None,
            None,
        )?;
        blend(&polynomial, c, &gram, b)?;
        let (left, right) = match wide {
            true => (&polynomial, &now),
            false => (&now, &polynomial),
        };
        linear(compute, &next, left, right, Layout::InOut, None, None)?;
        blend(&next, 1.0, &now, a)?;
        std::mem::swap(&mut now, &mut next);
    }
    Ok(now)
}

/// Returns the floating-point operations of [`orthogonalize`]'s products for a matrix of these sizes; a multiplication and an
/// addition are two.
pub fn orthogonalize_flops(rows: usize, columns: usize) -> f64 {
    let (side, other) = (rows.min(columns) as f64, rows.max(columns) as f64);
    // X Xᵀ and the product with X take side² other each, A² takes side³.
    2.0 * STEPS as f64 * (2.0 * side * side * other + side * side * side)
}

/// Computes `x = x / max(‖x‖, eps)`.
pub fn to_unit_norm(x: &Tensor, eps: f32) -> Result<()> {
    on_gpu!(Optimizer, x, cuda::muon::to_unit_norm(x, eps));
    slices([x], [], |[x], []| {
        Part::Optimizer.time(|| cpu::muon::to_unit_norm(x, eps));
        Ok(())
    })
}

/// Computes `out = a out + b x`.
pub fn blend(out: &Tensor, a: f32, x: &Tensor, b: f32) -> Result<()> {
    if out.elem_count() != x.elem_count() {
        bail!("cannot blend {:?} and {:?}", out.shape(), x.shape());
    }
    on_gpu!(Optimizer, out, cuda::muon::blend(out, a, x, b));
    slices([out], [x], |[out], [x]| {
        Part::Optimizer.time(|| cpu::muon::blend(out, a, x, b));
        Ok(())
    })
}
