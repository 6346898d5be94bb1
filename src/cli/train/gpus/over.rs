//! The start of NCCL on ranks that are connected over MPI. If a rank cannot begin, all ranks end with its reason.

use anyhow::{Context, Result};

use crate::cli::{exit, say};
use crate::dist::{DistError, End, Ranks};

/// The reason why all ranks end before training; every rank has the same text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// Returns `own` if it is `Ok` on all ranks; otherwise every rank gets the error of the first rank that has one.
///
/// # Errors
/// [`Refused`] with that error's text, or an error of the exchange when a rank is lost.
pub(super) fn agree<T>(over: &dyn Ranks, own: Result<T>) -> Result<T> {
    let words = own.as_ref().err().map(exit::words);
    let all = over.gather(&serde_json::to_vec(&words)?)?;
    let mut first = None;
    for (rank, words) in all.iter().enumerate() {
        let words: Option<String> = serde_json::from_slice(words)
            .with_context(|| format!("rank {rank} answers what rank 0 does not know"))?;
        first = first.or(words);
    }
    let mut verdict = serde_json::to_vec(&first)?;
    over.announce(&mut verdict)?;
    match serde_json::from_slice(&verdict)
        .context("rank 0 announces what this rank does not know")?
    {
        Some(words) => Err(Refused(words).into()),
        None => own,
    }
}

/// Prints the error, ends this rank's connection and returns the exit code. The error is printed first because the library may end
/// the process.
pub(super) fn part(over: &dyn Ranks, error: anyhow::Error) -> i32 {
    let refused = error.is::<Refused>();
    let verdict = matches!(error.downcast_ref(), Some(DistError::Verdict(_)));
    let words = exit::words(&error);
    // An error that all ranks have, and rank 0's verdict on a lost rank, are printed by rank 0 alone.
    if over.leads() || !(refused || verdict) {
        say::err(&words);
    }
    over.end(&match refused {
        true => End::Together,
        false => End::Failed(words),
    });
    exit::code(&exit::input(error))
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, bail};

    use super::*;
    use crate::dist::local;
    use crate::dist::lossy::Lossy;

    #[test]
    fn every_rank_gets_the_reason_of_the_first_that_cannot_begin() {
        let all = local::run(4, |ranks| {
            let rank = ranks.rank();
            let begin = |refuse: &[usize]| match refuse.contains(&rank) {
                true => Err(anyhow!("no driver").context(format!("rank {rank} has no GPU"))),
                false => Ok(rank),
            };
            assert_eq!(agree(&*ranks, begin(&[])).unwrap(), rank);
            let refused = agree(&*ranks, begin(&[3, 2])).unwrap_err();
            refused.downcast::<Refused>().unwrap().0
        });
        assert_eq!(all, vec!["rank 2 has no GPU: no driver"; 4]);
    }

    #[test]
    fn ranks_part_with_the_reason() {
        let ends = |error: anyhow::Error| {
            let over = Lossy::new();
            let code = part(&over, error);
            (code, over.ended())
        };
        let refused = ends(Refused("rank 2 has no GPU".into()).into());
        assert_eq!(refused, (exit::INPUT, Some(End::Together)));
        let failed = ends(anyhow!("cannot meet").context("NCCL"));
        let why = End::Failed("NCCL: cannot meet".into());
        assert_eq!(failed, (exit::INPUT, Some(why)));
        let lost = || -> Result<()> {
            bail!(DistError::Lost {
                rank: 1,
                seen: "its process has ended".into()
            })
        };
        let (code, end) = ends(lost().unwrap_err());
        assert_eq!(code, exit::FAILED);
        assert!(matches!(end, Some(End::Failed(why)) if why.contains("rank 1 is lost")));
    }
}
