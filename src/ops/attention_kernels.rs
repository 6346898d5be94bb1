//! Chooses the kernels with which a GPU computes attention, by sizes and addresses alone, so that the choice can be tested without a GPU.

use candle_core::{Result, bail};

/// Widest heads of the plain kernels.
const WIDEST: usize = 256;

/// Checks that there are kernels for heads of this many channels.
///
/// # Errors
/// When the size has no kernels; names it and the sizes that work.
pub fn check_head_size(head_size: usize) -> Result<()> {
    if head_size == 0 || head_size > WIDEST {
        bail!(
            "attention heads of {head_size} channels: GPUs take 1 to {WIDEST} (in bf16 at full speed: even sizes up to 128); use --device cpu"
        );
    }
    Ok(())
}

/// The kernels for tensor cores that take a head size: those for 64 or for 128 channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub struct TensorCores {
    width: usize,
    /// Bytes of the pieces in which heads are copied to shared memory, where they are padded with zeros. `None` where the
    /// kernels for heads of exactly this size take the operands.
    pub pieces: Option<usize>,
    hopper: bool,
}

/// A kernel and its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub struct Kernel {
    pub name: String,
    /// Rows of time of a block.
    pub rows: usize,
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared: usize,
}

#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
impl TensorCores {
    /// Chooses kernels for heads of `head_size` channels in bf16, in operands that begin at `addresses`. None for odd and for
    /// wider heads, and where an address is not a multiple of 4 bytes: that is left to the plain kernels.
    pub fn choose(head_size: usize, addresses: &[u64], hopper: bool) -> Option<Self> {
        let width = match head_size {
            1..=64 => 64,
            65..=128 => 128,
            _ => return None,
        };
        // Every row and head begins at a multiple of a head's bytes.
        let all = addresses.iter().fold(2 * head_size as u64, |a, b| a | b);
        let pieces = [16, 8, 4]
            .into_iter()
            .find(|&n| all.is_multiple_of(n as u64))?;
        Some(Self {
            width,
            pieces: (head_size != width || pieces != 16).then_some(pieces),
            hopper,
        })
    }

    fn kernel(self, kind: &str, rows: usize, threads: u32, rows_in_memory: usize) -> Kernel {
        let padded = if self.pieces.is_some() { "_padded" } else { "" };
        let hopper = if self.hopper { "_hopper" } else { "" };
        Kernel {
            name: format!("attention_{kind}{}{padded}{hopper}", self.width),
            rows,
            threads,
            shared: 2 * self.width * rows_in_memory,
        }
    }

    /// Queries of a block; two blocks each of 64 keys and values.
    pub fn forward(self) -> Kernel {
        let (rows, threads) = match (self.hopper, self.width) {
            (false, 128) => (128, 256),
            _ => (64, 128),
        };
        self.kernel("", rows, threads, rows + 4 * 64)
    }

    /// 64 keys and values; two blocks each of 64 (32) queries and gradients.
    pub fn backward_keys(self) -> Kernel {
        let queries = match (self.hopper, self.width) {
            (false, 128) => 32,
            _ => 64,
        };
        self.kernel("backward_keys_", 64, 128, 2 * 64 + 4 * queries)
    }

    /// 64 queries and gradients; two blocks each of 64 keys and values.
    pub fn backward_queries(self) -> Kernel {
        self.kernel("backward_queries_", 64, 128, 2 * 64 + 4 * 64)
    }

    /// Whether the kernel for the sums of products of gradients and outputs takes the operands, which reads 8 bytes at a time.
    pub fn sums_wide(self) -> bool {
        self.pieces != Some(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_heads_up_to_128_go_to_tensor_cores() {
        for hopper in [false, true] {
            for d in 1..=WIDEST + 1 {
                let chosen = TensorCores::choose(d, &[256, 4096], hopper);
                assert_eq!(chosen.is_some(), d % 2 == 0 && d <= 128, "{d}");
                let Some(chosen) = chosen else { continue };
                assert_eq!(chosen.width, if d <= 64 { 64 } else { 128 });
                let pieces = match d {
                    64 | 128 => None,
                    _ if d % 8 == 0 => Some(16),
                    _ if d % 4 == 0 => Some(8),
                    _ => Some(4),
                };
                assert_eq!(chosen.pieces, pieces, "{d}");
                assert_eq!(chosen.sums_wide(), d % 4 == 0, "{d}");
            }
        }
    }

    #[test]
    fn addresses_narrow_the_pieces() {
        for d in [64, 96] {
            let pieces = |addresses: &[u64]| {
                TensorCores::choose(d, addresses, false).map(|chosen| chosen.pieces)
            };
            assert_eq!(pieces(&[512, 512 + 8]), Some(Some(8)));
            assert_eq!(pieces(&[512 + 4, 512 + 8]), Some(Some(4)));
            assert_eq!(pieces(&[512, 512 + 2]), None);
        }
    }

    #[test]
    fn a_head_size_without_kernels_is_named_with_those_that_work() {
        for d in [1, 64, 100, 255, 256] {
            assert!(check_head_size(d).is_ok(), "{d}");
        }
        for d in [0, 257, 320] {
            let error = check_head_size(d).unwrap_err().to_string();
            for part in [&format!("of {d} channels"), "1 to 256", "up to 128"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    /// Compiles the kernels for the CPU and compares them with attention in f64, where there is a C++ compiler. What the emulator
    /// launches is what the GPU is asked for.
    #[cfg(target_os = "linux")]
    #[test]
    fn kernels_compiled_for_the_cpu_agree_with_f64() {
        use std::process::Command;

        if Command::new("g++").arg("--version").output().is_err() {
            eprintln!("not run: no g++ to compile the kernels with");
            return;
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let run = |program: &str, arguments: &[&str]| {
            let run = Command::new(root.join(program)).args(arguments).output();
            let run = run.unwrap();
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            let trouble = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(run.status.success(), "{text}{trouble}");
            text
        };
        let text = run("scripts/cuda/build.sh", &["emulate", "few"]);
        assert!(text.trim_end().ends_with(" passed, 0 failed"), "{text}");

        let mut expected = String::new();
        for hopper in [false, true] {
            for width in [64, 128] {
                for pieces in [None, Some(16)] {
                    let chosen = TensorCores {
                        width,
                        pieces,
                        hopper,
                    };
                    for k in [
                        chosen.forward(),
                        chosen.backward_keys(),
                        chosen.backward_queries(),
                    ] {
                        expected += &format!("{} {} {} {}\n", k.name, k.rows, k.threads, k.shared);
                    }
                }
            }
        }
        assert_eq!(
            run("target/cuda/emulate-few/emulate", &["launches"]),
            expected
        );
    }
}
