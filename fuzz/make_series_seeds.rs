//! Writes the seeds of the target `series_file`: folds of the journal `seeds/replay/run` up to several of its lines.
//!
//! Run it in `fuzz/` when the fold has changed: `cargo run --bin make_series_seeds`.

use std::error::Error;
use std::path::Path;

use heirloom::run::series::file;
use heirloom::run::state::RunState;
use heirloom::run::tail::Tail;

fn main() -> Result<(), Box<dyn Error>> {
    let journal = std::fs::read("seeds/replay/run")?;
    let dir = std::env::temp_dir().join(format!("heirloom-seeds-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let lines: Vec<usize> = (0..journal.len())
        .filter(|&i| journal[i] == b'\n')
        .collect();
    for part in [4, lines.len() / 2, lines.len() - 1] {
        std::fs::write(dir.join("events.jsonl"), &journal[..=lines[part - 1]])?;
        let (mut tail, mut state) = (Tail::open(&dir), RunState::default());
        loop {
            for item in tail.poll()? {
                item.apply_to(&mut state);
            }
            if tail.caught_up() {
                break;
            }
        }
        let bytes = file::encode(&state, &tail.position()).ok_or("a fold that is not sound")?;
        // Header: 8 + 32 + 8 bytes, then the head's length.
        let len = u64::from_le_bytes(bytes[48..56].try_into()?) as usize;
        let parts = &bytes[160..];
        let mut seed = vec![0];
        seed.extend_from_slice(&u16::try_from(len)?.to_le_bytes());
        seed.extend_from_slice(parts);
        std::fs::write(
            Path::new("seeds/series_file").join(format!("lines-{part}")),
            seed,
        )?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
