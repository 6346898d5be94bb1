//! Attention ranks of a model are computed in less memory than the model has: its weights are read a layer at a time.

mod common;

use std::io::{BufWriter, Write};
use std::path::Path;

use common::Place;
use heirloom::model::{DecoderConfig, Param, Sizes, family};
use serde_json::{Map, Value, json};

/// Other resident memory: the program itself, its threads' stacks, the text.
const BESIDE: u64 = 96 << 20;

/// Returns the most bytes of the file that are resident: the tensor that is being read, and the surroundings of each token's
/// embedding (the system maps 64 KB around an accessed page).
fn mapped(config: &DecoderConfig, windows: u64) -> u64 {
    let params = config.params();
    let in_layers = params.iter().filter(|p| p.layer.is_some());
    let largest = in_layers.map(|p| 2 * p.len() as u64).max();
    largest.unwrap_or(0) + windows * 100 * (64 << 10)
}

/// Writes a checkpoint of this shape as bf16 safetensors with noise for weights, without holding it in memory. Returns its bytes.
fn write(config: &DecoderConfig, params: &[Param], dir: &Path) -> u64 {
    std::fs::create_dir_all(dir).unwrap();
    let text = family::to_json(config).to_string();
    std::fs::write(dir.join("config.json"), text).unwrap();
    let mut header = Map::new();
    let mut at = 0u64;
    for p in params {
        let end = at + 2 * p.len() as u64;
        header.insert(
            p.name.clone(),
            json!({"dtype": "BF16", "shape": p.shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = std::fs::File::create(dir.join("model.safetensors")).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(&header).unwrap();
    // Repeats the same noise, with the standard deviation of initial weights; norms are ones.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..(1 << 20) + 7)
        .flat_map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let uniform = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            let bits = (0.035 * uniform).to_bits();
            ((bits >> 16) as u16).to_le_bytes()
        })
        .collect();
    let mut from = 0;
    for p in params {
        let mut left = 2 * p.len();
        if p.shape.len() == 1 {
            file.write_all(&[0x80, 0x3f].repeat(p.len())).unwrap();
            continue;
        }
        while left > 0 {
            let part = left.min(noise.len() - from);
            file.write_all(&noise[from..from + part]).unwrap();
            from = (from + part) % noise.len();
            left -= part;
        }
    }
    file.flush().unwrap();
    at
}

/// Computes the ranks of a model of this shape. Returns the bound of its resident memory, the peak, and the file's size.
fn analysed(config: &DecoderConfig, windows: &str) -> (u64, u64, u64) {
    let place = Place::new();
    let dir = place.path().join("model");
    let size = write(config, &config.params(), &dir);
    let ids: Vec<u8> = (0..5000u32)
        .flat_map(|i| ((i.wrapping_mul(2654435761) >> 7) as u16 % 997).to_le_bytes())
        .collect();
    std::fs::write(place.path().join("ids.bin"), ids).unwrap();
    let args = [
        "bench",
        "ranks",
        "./model",
        "--tokens",
        "ids.bin",
        "--windows",
        windows,
        "--json",
    ];
    let found: Value = serde_json::from_str(&place.expect(0, &args)).unwrap();
    let of = |key: &str| found[key].as_u64().unwrap();
    let windows: usize = windows.parse().unwrap();
    assert_eq!(
        of("matrices"),
        (config.n_layer * config.n_head * windows) as u64
    );
    let bound = of("memory_bound_bytes") + mapped(config, windows as u64) + BESIDE;
    (bound, of("peak_memory_bytes"), size)
}

#[test]
fn one_layer_at_a_time_is_in_memory() {
    let config = DecoderConfig {
        n_kv_head: 4,
        ..DecoderConfig::llama(Sizes {
            n_layer: 16,
            n_head: 8,
            n_embd: 768,
            context_length: 128,
            vocab: 50000,
        })
    };
    let (bound, peak, size) = analysed(&config, "8");
    assert!(peak <= bound, "{} MB, {} reckoned", peak >> 20, bound >> 20);
    // In f32 the model takes twice the size of its file.
    assert!(
        3 * peak < 2 * size,
        "{} MB of a model of {} MB",
        peak >> 20,
        size >> 19
    );
}

/// `cargo test --release --test big_models_are_analysed -- --ignored --nocapture`: 16 GB of disk, some minutes.
#[test]
#[ignore = "writes a checkpoint of 16 GB"]
fn eight_billion_parameters_are_analysed_in_little_memory() {
    // Llama 3 8B's shape.
    let config = DecoderConfig {
        n_kv_head: 8,
        n_inner: 14336,
        ..DecoderConfig::llama(Sizes {
            n_layer: 32,
            n_head: 32,
            n_embd: 4096,
            context_length: 8192,
            vocab: 128256,
        })
    };
    assert!((7.9e9..8.2e9).contains(&(config.parameters() as f64)));
    let began = std::time::Instant::now();
    let (bound, peak, size) = analysed(&config, "8");
    println!(
        "{} MB of memory at most, of {} MB that were reckoned, for a file of {} MB; written and analysed in {:.0} s",
        peak >> 20,
        bound >> 20,
        size >> 20,
        began.elapsed().as_secs_f64()
    );
    assert!(peak <= bound);
}
