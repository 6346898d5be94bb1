//! Once its buffers exist, a training step in bf16 allocates only the memory of its reports. In f32 the `gemm` crate allocates memory
//! to pack operands, and frees it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Result};
use heirloom::model::{Decoder, DecoderConfig, Mode, Sizes, Workspace};
use heirloom::ops::{self, Precision};
use heirloom::train::{Hyperparameters, Optimizer};

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, with a count of what is asked of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: forwarded.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_in_steady_state() -> Result<()> {
    let sizes = Sizes {
        n_layer: 3,
        n_head: 4,
        n_embd: 128,
        context_length: 256,
        vocab: 2000,
    };
    for config in [
        DecoderConfig::gpt2(sizes, true),
        DecoderConfig::llama(sizes),
    ] {
        for compute in [Precision::F32, Precision::Bf16] {
            let model = Decoder::random(config.clone(), 1, &Device::Cpu)?;
            let ws =
                Workspace::computing(&model.config, 4, 256, Mode::Train, compute, &Device::Cpu)?;
            let mut optimizer = Optimizer::new(&model, &Device::Cpu)?;
            let train = serde_json::json!({"steps": 1, "batch_tokens": 1024, "lr": 1e-4});
            let train: heirloom::config::TrainConfig =
                serde_json::from_value(train).expect("a whole section");
            let mut asked = Vec::new();
            for _ in 0..4 {
                let before = BYTES.load(Ordering::Relaxed);
                ops::zero(&model.grads.flat)?;
                model.forward_backward(&ws, 1.0 / 1024.0)?;
                let norm = Optimizer::grad_norm(&model, &[])?;
                optimizer
                    .step(&model, norm, &Hyperparameters::of(&train, 1e-4))
                    .expect("shapes that fit");
                asked.push(BYTES.load(Ordering::Relaxed) - before);
            }
            // An activation of this model takes 512 KiB, and its logits 8 MiB; products in f32 pack a few MiB each.
            let most = match compute {
                Precision::F32 => 32 << 20,
                Precision::Bf16 => 128 << 10,
            };
            assert!(asked[3] < most, "{compute:?}: bytes by step {asked:?}");
        }
    }
    Ok(())
}
