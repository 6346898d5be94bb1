//! Compares sharded optimizers with complete ones.

use super::*;
use crate::dist::local;

/// Updates after which states are compared.
const STEPS: usize = 10;

/// Weights, both moments and step counts of all tensors.
type Whole = (Vec<u32>, [Vec<u32>; 2], Vec<u32>);

/// Their bits.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// A model of 4 layers whose arena is not divisible by blocks, let alone by ranks.
fn uneven() -> Decoder {
    let model = model();
    let n = model.weights.elements();
    assert!(!n.is_multiple_of(64) && n > 4 * 64, "{n}");
    model
}

/// Other gradients for each step, of a norm that is sometimes clipped.
fn write_gradients(model: &Decoder, step: usize) {
    let n = model.grads.flat.elem_count();
    let size = if step.is_multiple_of(2) { 0.5 } else { 1e-3 };
    let values: Vec<f32> = (0..n)
        .map(|i| size * ((i * (step + 3)) as f32 * 0.37).sin())
        .collect();
    ops::write(&model.grads.flat, &values).unwrap();
}

/// Other layers are frozen in each step; the first and the last step freeze none.
fn frozen(step: usize) -> &'static [usize] {
    [&[][..], &[1], &[0, 2], &[3], &[0, 1, 2, 3]][step % 5]
}

fn step(model: &Decoder, optimizer: &mut Optimizer, number: usize, muon: bool) {
    write_gradients(model, number);
    let values = match muon {
        true => with_muon(frozen(number)),
        false => values(frozen(number)),
    };
    let norm = Optimizer::grad_norm(model, values.frozen).unwrap();
    assert_eq!(norm > 1.0, number.is_multiple_of(2), "{norm}");
    optimizer.step(model, norm, &values).unwrap();
    optimizer.complete(model).unwrap();
}

/// The state of all ranks on the one that leads; other ranks have their weights alone.
fn whole(model: &Decoder, optimizer: &Optimizer) -> Whole {
    let gather = |moment| optimizer.gather(moment, 0..optimizer.elements()).unwrap();
    (
        bits(&model.weights.read_all().unwrap()),
        Moment::BOTH.map(|moment| bits(&gather(moment))),
        optimizer.steps.clone(),
    )
}

/// Returns the state of `world` ranks after ten updates.
fn trained(world: usize, sharded: bool, muon: bool) -> Vec<(Whole, Norms)> {
    local::run(world, |ranks| {
        let model = uneven();
        let place = (ranks.rank(), ranks.world());
        let share = Share::of(&model.params, place, sharded, muon);
        let made = Optimizer::of_share(&model, share, Arc::clone(&ranks), &Device::Cpu);
        let mut optimizer = made.unwrap();
        (0..STEPS).for_each(|number| step(&model, &mut optimizer, number, muon));
        let norms = optimizer.norms(&model, &[2]).unwrap();
        (whole(&model, &optimizer), norms)
    })
}

/// Returns the state of one process after the same updates.
fn alone(muon: bool) -> (Whole, Norms) {
    let model = uneven();
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    (0..STEPS).for_each(|number| step(&model, &mut optimizer, number, muon));
    let norms = optimizer.norms(&model, &[2]).unwrap();
    (whole(&model, &optimizer), norms)
}

fn assert_same_updates(muon: bool) {
    let (wanted, norms) = alone(muon);
    let blocks = uneven().weights.elements().div_ceil(64);
    for world in [1, 2, 3, 4, blocks + 2] {
        let sharded = trained(world, true, muon);
        for (rank, (found, _)) in sharded.iter().enumerate() {
            assert!(found.0 == wanted.0, "weights of rank {rank} of {world}");
            assert_eq!(found.2, wanted.2, "step counts of rank {rank} of {world}");
        }
        assert!(sharded[0].0.1 == wanted.1, "moments of {world} ranks");
        for (_, found) in &sharded {
            assert!((found.params - norms.params).abs() <= 1e-12 * norms.params);
            assert!((found.momentum - norms.momentum).abs() <= 1e-12 * norms.momentum);
        }
        if world <= 4 {
            let not_sharded = trained(world, false, muon);
            assert!(not_sharded[0] == sharded[0], "{world} ranks");
            assert_eq!(not_sharded[world - 1].1, sharded[0].1, "{world} ranks");
        }
    }
}

#[test]
fn any_number_of_shards_gives_the_bits_of_one_process() {
    assert_same_updates(false);
}

#[test]
fn shards_of_whole_matrices_give_the_bits_of_one_process_with_muon() {
    assert_same_updates(true);
}

#[test]
fn a_rank_has_memory_for_its_own_moments_alone() {
    let model = uneven();
    let n = model.weights.elements();
    for world in [1, 2, 3, 4] {
        let rooms: Vec<usize> = (0..world)
            .map(|rank| Share::of(&model.params, (rank, world), true, false).room())
            .collect();
        assert_eq!(rooms.iter().sum::<usize>(), n, "{rooms:?}");
        assert!(
            rooms.iter().all(|room| *room < n / world + 128),
            "{rooms:?}"
        );
        let share = Share::of(&model.params, (world - 1, world), true, false);
        let made = Optimizer::of_share(&model, share, Arc::new(Solo), &Device::Cpu).unwrap();
        assert_eq!(made.moments[0].elem_count(), rooms[world - 1]);
    }
}

/// Writes numbers that identify their places.
fn numbered(at: usize, rows: Range<usize>, row: usize, out: &mut [f32]) {
    assert_eq!(out.len(), rows.len() * row);
    for (i, x) in out.iter_mut().enumerate() {
        *x = (at + rows.start * row + i) as f32;
    }
}

#[test]
fn moments_are_sent_to_the_ranks_that_hold_them() {
    for (world, sharded) in [(1, true), (2, true), (3, true), (3, false)] {
        let all = local::run(world, |ranks| {
            let model = uneven();
            let place = (ranks.rank(), ranks.world());
            let share = Share::of(&model.params, place, sharded, false);
            let made = Optimizer::of_share(&model, share, Arc::clone(&ranks), &Device::Cpu);
            let mut optimizer = made.unwrap();
            if ranks.leads() {
                // The last tensor stays at zero, as after a growth.
                for (i, p) in model.params.iter().enumerate().rev().skip(1) {
                    let (at, row) = (optimizer.tensor(i).start, p.len() / p.shape[0]);
                    for moment in Moment::BOTH {
                        let shift = at + 10_000 * moment as usize;
                        let filled = optimizer.fill(moment, i, p.shape[0], |rows, out| {
                            numbered(shift, rows, row, out);
                            Ok::<_, DistError>(())
                        });
                        filled.unwrap();
                    }
                    optimizer.steps[i] = i as u32 + 1;
                }
                optimizer.end_filling().unwrap();
            } else {
                optimizer.receive().unwrap();
            }
            let held = optimizer.share.held();
            for moment in Moment::BOTH {
                let own = ops::read(&optimizer.moment(moment, &held).unwrap()).unwrap();
                let last = optimizer.tensor(model.params.len() - 1);
                let wanted = held.clone().map(|i| match last.contains(&i) {
                    true => 0.0,
                    false => (i + 10_000 * moment as usize) as f32,
                });
                assert!(own.into_iter().eq(wanted), "rank {place:?}");
            }
            optimizer.steps.clone()
        });
        assert!(all.iter().all(|steps| *steps == all[0]));
        assert_eq!(all[0][..2], [1, 2]);
        assert_eq!(all[0].last(), Some(&0));
    }
}

#[test]
fn a_rank_refuses_the_state_of_another_model() {
    let errors = local::run(2, |ranks| {
        let model = uneven();
        let made = Share::of(&model.params, (ranks.rank(), 2), true, false);
        let mut optimizer =
            Optimizer::of_share(&model, made, Arc::clone(&ranks), &Device::Cpu).unwrap();
        if ranks.leads() {
            optimizer.steps.push(1);
            optimizer.end_filling().unwrap();
            return None;
        }
        Some(optimizer.receive().unwrap_err().to_string())
    });
    let error = errors[1].as_deref().unwrap();
    assert!(error.starts_with("rank 1 differs from rank 0: "), "{error}");
    assert!(error.contains("step counts"), "{error}");
}
