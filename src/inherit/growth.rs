//! The layers of a grown model.

use super::choice::next_layers;
use crate::run::command::GrowSource;

/// A layer of a grown model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grown {
    /// A layer of the model before the growth.
    Kept(usize),
    /// A copy of a layer of the model before the growth, in addition to that layer.
    Copied(usize),
    /// A layer of the reference.
    Next(usize),
}

/// Returns the layers of a model after a growth by up to `add`, bottom first. `present` are the reference's layers that the
/// model's layers came from. If no layer can be added, all are kept.
///
/// `CopyMiddle` copies the middle block of `add` layers right above itself (Saunshi et al., "On the inductive bias of stacking
/// towards improving reasoning" (MIDAS), arXiv 2409.19044); of two middle blocks, the lower one. A model of fewer layers than
/// `add` is copied as a whole.
pub fn grow(
    source: GrowSource,
    present: &[usize],
    add: usize,
    reference_layers: usize,
) -> Vec<Grown> {
    let n = present.len();
    let block = add.min(n);
    let first = match source {
        GrowSource::Next => {
            let next = next_layers(present, add, reference_layers);
            return (0..n)
                .map(Grown::Kept)
                .chain(next.into_iter().map(Grown::Next))
                .collect();
        }
        GrowSource::CopyMiddle => (n - block) / 2,
        GrowSource::CopyTop => n - block,
    };
    let end = first + block;
    let below = (0..end).map(Grown::Kept);
    let copies = (first..end).map(Grown::Copied);
    below
        .chain(copies)
        .chain((end..n).map(Grown::Kept))
        .collect()
}

/// Returns the reference's layers that the layers of a grown model come from, and those of the added layers alone; `present`
/// as for [`grow`].
pub fn sources(grown: &[Grown], present: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let source = |layer: &Grown| match *layer {
        Grown::Kept(own) | Grown::Copied(own) => present[own],
        Grown::Next(layer) => layer,
    };
    let added = |layer: &&Grown| !matches!(layer, Grown::Kept(_));
    (
        grown.iter().map(source).collect(),
        grown.iter().filter(added).map(source).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(source: GrowSource, present: &[usize], add: usize) -> (Vec<usize>, Vec<usize>) {
        sources(&grow(source, present, add, 8), present)
    }

    #[test]
    fn the_reference_continues_its_first_layers_only() {
        let next = |present: &[usize], add| grown(GrowSource::Next, present, add);
        assert_eq!(next(&[0, 1], 2), (vec![0, 1, 2, 3], vec![2, 3]));
        assert_eq!(next(&[0, 1, 2, 3, 4, 5, 6], 2).1, [7]);
        assert_eq!(next(&[0, 5], 2), (vec![0, 5], vec![]));
    }

    #[test]
    fn the_middle_is_copied_above_itself() {
        let middle = |present: &[usize], add| grown(GrowSource::CopyMiddle, present, add);
        assert_eq!(
            middle(&[0, 1, 2, 3], 2),
            (vec![0, 1, 2, 1, 2, 3], vec![1, 2])
        );
        assert_eq!(middle(&[0, 3, 7], 2), (vec![0, 3, 0, 3, 7], vec![0, 3]));
        assert_eq!(middle(&[0, 3, 7], 1), (vec![0, 3, 3, 7], vec![3]));
        assert_eq!(middle(&[4], 3), (vec![4, 4], vec![4]), "as a whole");
    }

    #[test]
    fn the_top_is_copied_on_top() {
        let top = |present: &[usize], add| grown(GrowSource::CopyTop, present, add);
        assert_eq!(top(&[0, 1, 2, 3], 2), (vec![0, 1, 2, 3, 2, 3], vec![2, 3]));
        assert_eq!(top(&[0, 2], 5), (vec![0, 2, 0, 2], vec![0, 2]));
        let layers = grow(GrowSource::CopyTop, &[6, 7], 1, 8);
        assert_eq!(layers, [Grown::Kept(0), Grown::Kept(1), Grown::Copied(1)]);
    }
}
