//! Counts a GPU's memory without a GPU: the trainer's own code makes the allocations that it would make there, in the GPU's formats,
//! and an allocator adds up those that are alive. Nothing is computed and nothing large is written, so that the machine needs
//! little memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use candle_core::Device;
use heirloom::model::{Decoder, DecoderConfig, Format, Sizes, Teacher};
use heirloom::ops::Precision;
use heirloom::train::memory::Memory;
use heirloom::train::{Learner, Passes, teacher};

struct Counting;

static ALIVE: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

fn more(bytes: usize) {
    let alive = ALIVE.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64;
    MOST.fetch_max(alive, Ordering::SeqCst);
}

// SAFETY: the system's allocator, with a sum of what is alive.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: forwarded.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: forwarded.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size() as u64, Ordering::SeqCst);
        // SAFETY: forwarded.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the part of the promised memory that the learner itself holds. A probe's buffers come with the first probe, and
/// cuBLASLt's with the library.
fn held(memory: &Memory) -> u64 {
    const LIBRARY: u64 = 32 << 20;
    memory.weights + memory.gradients + memory.moments + memory.workspace + memory.teacher - LIBRARY
}

/// The complete recipe of `configs/gpt2-books.toml` (GPT-2 small), in bf16 on a GPU: the check before the start must cover every
/// change of phase.
#[test]
fn a_recipe_needs_no_more_than_its_largest_phase() -> Result<()> {
    let sizes = Sizes {
        n_layer: 12,
        n_head: 12,
        n_embd: 768,
        context_length: 1024,
        vocab: 50304,
    };
    let reference = DecoderConfig::gpt2(sizes, true);
    let layers = |n: usize| reference.with_layers(vec![1.0; n]);
    let passes = Passes {
        format: Format {
            compute: Precision::Bf16,
            gpu: true,
        },
        ..Passes::usual(32, 1024)
    };
    let promise = |shape: &DecoderConfig, trained| Memory::of_phase(&passes, shape, trained, 0);
    let before = ALIVE.load(Ordering::SeqCst);
    let mut learner = Learner::new(reference.clone(), passes, 1 << 20, &Device::Cpu);
    let mut largest = 0;
    // A loaded reference that is only measured, a reference that is trained, two rounds, and the reference as a control.
    for (shape, trained) in [
        (reference.clone(), false),
        (reference.clone(), true),
        (layers(6), true),
        (layers(8), true),
        (reference.clone(), true),
    ] {
        MOST.store(ALIVE.load(Ordering::SeqCst), Ordering::SeqCst);
        let promised = held(&promise(&shape, trained));
        let was = largest;
        largest = largest.max(promised);
        learner.replace(shape, trained, |_, _| Ok(()))?;
        let alive = ALIVE.load(Ordering::SeqCst) - before;
        let ratio = promised as f64 / alive as f64;
        println!("{promised} promised, {alive} alive, {ratio:.4}");
        assert!((0.999..=1.001).contains(&ratio), "{promised} {alive}");
        let most = MOST.load(Ordering::SeqCst) - before;
        let bound = largest.max(was) + (1 << 20);
        assert!(most <= bound, "{most} at most, {bound} are needed");
    }
    // Distillation of six layers with a teacher, here the reference.
    let student = layers(6);
    let promised = promise(&student, true).with_teacher(&passes, Some(&reference));
    assert!(promised.on_gpu > promise(&student, true).on_gpu);
    learner.replace(student, true, |_, _| Ok(()))?;
    MOST.store(ALIVE.load(Ordering::SeqCst), Ordering::SeqCst);
    let format = teacher::format(&passes);
    let model = Decoder::frozen(reference.clone(), format, &Device::Cpu)?;
    let made = Teacher::new(model, (32, 1024), format, passes.format)?;
    learner.set_teacher(Some(made)).unwrap();
    let (promised, alive) = (held(&promised), ALIVE.load(Ordering::SeqCst) - before);
    let ratio = promised as f64 / alive as f64;
    println!("{promised} promised with a teacher, {alive} alive, {ratio:.4}");
    assert!((0.999..=1.001).contains(&ratio), "{promised} {alive}");
    let most = MOST.load(Ordering::SeqCst) - before;
    assert!(most <= promised + (1 << 20), "{most} at most");
    learner.set_teacher(None).unwrap();
    let freed = ALIVE.load(Ordering::SeqCst) - before;
    let alone = held(&promise(&layers(6), true));
    let ratio = alone as f64 / freed as f64;
    assert!((0.999..=1.001).contains(&ratio), "{alone} {freed}");
    let largest = promise(&reference, true);
    let gb = largest.total() as f64 / 1e9;
    println!("{gb:.2} GB in all");
    assert!(gb < 16.0, "bench train was measured with 14.96 GB");
    assert!(promise(&reference, false).total() < largest.total() / 4);
    Ok(())
}
