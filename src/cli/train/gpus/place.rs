//! Chooses the GPU of a rank.

use anyhow::{Result, bail};

use crate::device::Choice;
use crate::dist::launch::Launch;

/// Returns the GPU of a rank: the one with the rank's number on its machine, or the only visible one, as with `srun
/// --gpus-per-task 1`.
///
/// # Errors
/// When the rank's machine has fewer GPUs than ranks.
pub(super) fn gpu_of(launch: &Launch, visible: usize) -> Result<Choice> {
    let Some(local) = launch.local_rank else {
        bail!(
            "rank {}: {} sets no variable with this rank's number on its machine, which chooses its GPU",
            launch.rank,
            launch.launcher
        );
    };
    match visible {
        1 => Ok(Choice::Cuda(0)),
        there if local < there => Ok(Choice::Cuda(local)),
        there => bail!(
            "rank {} is number {local} of its machine, counted from 0, which has {there} GPUs: start one rank for each GPU of a machine",
            launch.rank
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::launch::Launcher;

    fn launch(local_rank: Option<usize>) -> Launch {
        Launch {
            launcher: Launcher::Torchrun,
            rank: 9,
            world: 16,
            local_rank,
            local_world: None,
            master: None,
        }
    }

    #[test]
    fn a_rank_has_the_gpu_of_its_number() {
        let gpu = |local, there| gpu_of(&launch(local), there).map_err(|why| why.to_string());
        assert_eq!(gpu(Some(1), 8), Ok(Choice::Cuda(1)));
        assert_eq!(gpu(Some(7), 8), Ok(Choice::Cuda(7)));
        assert_eq!(gpu(Some(5), 1), Ok(Choice::Cuda(0)));
        let few = gpu(Some(2), 2).unwrap_err();
        assert!(few.contains("rank 9 is number 2 of its machine"), "{few}");
        assert!(gpu(None, 8).unwrap_err().contains("torchrun"));
    }
}
