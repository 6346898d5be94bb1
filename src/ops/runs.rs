//! Rows that are copied together.

/// Neighbouring rows that are copied to neighbouring rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub to: usize,
    pub from: usize,
    pub len: usize,
}

/// The fewest runs that copy these rows, in order.
pub fn runs(rows: &[u32]) -> Vec<Run> {
    let follows = |a: &u32, b: &u32| a.checked_add(1) == Some(*b);
    let mut to = 0;
    let run = |rows: &[u32]| {
        to += rows.len();
        Run {
            to: to - rows.len(),
            from: rows[0] as usize,
            len: rows.len(),
        }
    };
    rows.chunk_by(follows).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_rows_are_one_run() {
        let run = |to, from, len| Run { to, from, len };
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 5]), [run(0, 3, 3)]);
        assert_eq!(
            runs(&[0, 2, 3, 3, 1, u32::MAX, 0]),
            [
                run(0, 0, 1),
                run(1, 2, 2),
                run(3, 3, 1),
                run(4, 1, 1),
                run(5, u32::MAX as usize, 1),
                run(6, 0, 1),
            ]
        );
    }
}
