//! Ranks leave however rank 0's part ends.

use std::sync::Arc;

use super::*;
use crate::dist::local;

/// Returns the result of a follower of two ranks, where rank 0 runs `lead`.
fn follower_of(lead: impl FnOnce(Arc<Peers>, &Dataset)) -> Result<Ended> {
    let dataset = dataset();
    let mut ranks = local::ranks(2).into_iter();
    let first = ranks.next().unwrap();
    let setup = FollowSetup {
        dataset: dataset.clone(),
        device: Device::Cpu,
        ranks: ranks.next().unwrap(),
    };
    drop(ranks);
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || run(setup));
        lead(Arc::new(Peers::new(first)), &dataset);
        follower.join().unwrap()
    })
}

#[test]
fn ranks_leave_as_rank_0_does() {
    for ended in [
        Ended::Done,
        Ended::Stopped,
        Ended::Preempted,
        Ended::Lost("no disk".into()),
        Ended::Failed("loss is not finite".into()),
    ] {
        let heard = follower_of(|peers, _| peers.dismiss(&ended));
        assert_eq!(heard.unwrap(), ended);
    }
    // Before a learner was made, and between two operations.
    let heard = follower_of(|peers, _| drop(peers));
    assert_eq!(heard.unwrap(), Ended::Failed("rank 0 has failed".into()));
    let heard = follower_of(|peers, dataset| {
        let mut run = Run::new(&peers, dataset, None);
        run.steps(1);
    });
    assert_eq!(heard.unwrap(), Ended::Failed("rank 0 has failed".into()));
}

#[test]
fn a_rank_whose_rank_0_is_lost_in_a_step_fails() {
    let heard = follower_of(|peers, dataset| {
        let run = Run::new(&peers, dataset, None);
        peers.announce(|| Instruction::Evaluate).unwrap();
        let again = peers.announce(|| Instruction::Evaluate).unwrap_err();
        assert!(again.to_string().contains("out of step"), "{again}");
        drop(run);
    });
    let error = format!("{:#}", heard.unwrap_err());
    assert!(error.contains("rank 1: rank 0 is lost"), "{error}");
}
