use super::*;
use crate::run::event::{Evaluation, Gap, Log, RunEvent};
use crate::run::event::{Phase, RunStatus};

fn log(seq: u64) -> Event {
    let message = String::new();
    Event::numbered(seq, Body::Log(Log { message }))
}

fn eval(seq: u64) -> Event {
    let body = Body::Eval(Evaluation {
        val_loss: Some(1.0),
        nonfinite: None,
        stderr: None,
        windows: 1,
        blocks: None,
        gap: None,
        gap_stderr: None,
        matched: false,
        seconds: 0.0,
    });
    Event::numbered(seq, body)
}

fn run(seq: u64) -> Event {
    let body = Body::Run(RunEvent {
        status: RunStatus::Running,
        info: None,
        message: None,
    });
    Event::numbered(seq, body)
}

/// All waiting events by their numbers, and for a gap how many it stands for.
fn drain(receiver: &EventReceiver) -> Vec<Result<u64, u64>> {
    let mut all = Vec::new();
    while let Ok(event) = receiver.poll() {
        all.push(match event.body {
            Body::Gap(Gap { dropped }) => Err(dropped),
            _ => Ok(event.seq),
        });
    }
    all
}

#[test]
fn what_fits_arrives_in_order_and_without_a_gap() {
    let (sender, receiver) = with_capacity(3);
    for round in 0..5 {
        (1..=3).for_each(|i| sender.send(&log(10 * round + i)));
        assert_eq!(
            drain(&receiver),
            [1, 2, 3].map(|i| Ok(10 * round + i)),
            "round {round}"
        );
    }
    assert_eq!(receiver.poll(), Err(Nothing::Empty));
    drop(sender);
    assert_eq!(receiver.poll(), Err(Nothing::Ended));
    assert_eq!(receiver.recv(), None);
}

#[test]
fn a_full_queue_loses_new_metrics_and_counts_them_in_their_place() {
    let (sender, receiver) = with_capacity(3);
    (1..=10).for_each(|seq| sender.send(&log(seq)));
    let Ok(first) = receiver.poll() else {
        panic!("empty");
    };
    assert_eq!(first.seq, 1);
    sender.send(&log(11));
    assert_eq!(drain(&receiver), [Ok(2), Ok(3), Err(7), Ok(11)]);
}

#[test]
fn a_gap_has_the_place_of_the_last_event_lost_in_it() {
    let (sender, receiver) = with_capacity(1);
    (1..=4).for_each(|seq| {
        sender.send(&Event {
            phase: Phase::Round(2),
            ..log(seq)
        });
    });
    receiver.poll().unwrap();
    let Ok(gap) = receiver.poll() else {
        panic!("no gap");
    };
    assert_eq!(gap.body, Body::Gap(Gap { dropped: 3 }));
    assert_eq!((gap.seq, gap.step, gap.phase), (4, 4, Phase::Round(2)));
}

#[test]
fn what_must_not_be_lost_takes_the_place_of_metrics_then_of_measurements() {
    let (sender, receiver) = with_capacity(4);
    for event in [log(1), eval(2), log(3), log(4)] {
        sender.send(&event);
    }
    sender.send(&eval(5));
    sender.send(&run(6));
    assert_eq!(receiver.0.lock().waiting.len(), 4);
    sender.send(&log(7));
    sender.send(&run(8));
    sender.send(&run(9));
    // 4 went for 5, 3 for 6, 7 found no place, 1 went for 8, 5 for 9.
    assert_eq!(
        drain(&receiver),
        [Err(1), Ok(2), Err(3), Ok(6), Err(1), Ok(8), Ok(9)]
    );
}

#[test]
fn only_events_that_are_never_lost_go_beyond_the_capacity() {
    let (sender, receiver) = with_capacity(2);
    (1..=5).for_each(|seq| sender.send(&run(seq)));
    assert_eq!(receiver.0.lock().waiting.len(), 5);
    sender.send(&log(6));
    sender.send(&eval(7));
    sender.send(&run(8));
    assert_eq!(
        drain(&receiver),
        [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5), Err(2), Ok(8)]
    );
    assert_eq!(receiver.0.lock().waiting.count, [0; 3]);
}

#[test]
fn gaps_of_an_earlier_queue_are_kept_and_joined() {
    let (sender, receiver) = with_capacity(1);
    let gap = |seq, dropped| Event::numbered(seq, Body::Gap(Gap { dropped }));
    sender.send(&gap(4, 4));
    sender.send(&gap(6, 2));
    sender.send(&log(7));
    sender.send(&log(8));
    sender.send(&gap(10, 2));
    sender.send(&run(11));
    assert_eq!(drain(&receiver), [Err(10), Ok(11)]);
}

/// Numbers from a fixed generator.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn whatever_is_sent_and_read_nothing_is_lost_uncounted() {
    let mut state = 7;
    for capacity in [1, 2, 3, 8, 100] {
        let (sender, receiver) = with_capacity(capacity);
        let (mut sent, mut read) = (Vec::new(), Vec::new());
        for seq in 1..=5000 {
            let event = match random(&mut state) % 20 {
                0 => run(seq),
                1..4 => eval(seq),
                _ => log(seq),
            };
            sender.send(&event);
            sent.push(event);
            let waiting = receiver.0.lock();
            assert!(waiting.waiting.len() <= capacity.max(waiting.waiting.count[2]));
            drop(waiting);
            // A reader of changing speed, at times slower than the producer.
            if seq / 500 % 2 == random(&mut state) % 2 {
                for _ in 0..random(&mut state) % 4 {
                    if let Ok(event) = receiver.poll() {
                        read.push(event);
                    }
                }
            }
        }
        drop(sender);
        while let Some(event) = receiver.recv() {
            read.push(event);
        }
        is_the_same_but_for_gaps(&sent, &read);
    }
}

/// Whether `read` equals `sent` with gaps in place of lost events, none of which is of a kind that must not be lost.
fn is_the_same_but_for_gaps(sent: &[Event], read: &[Event]) {
    let mut rest = sent.iter();
    let mut gaps = 0;
    for event in read {
        if let Body::Gap(Gap { dropped }) = event.body {
            gaps += 1;
            let lost: Vec<&Event> = rest.by_ref().take(dropped as usize).collect();
            assert_eq!(lost.len() as u64, dropped);
            assert!(lost.iter().all(|e| e.body.dropped() != DropOrder::Never));
            assert_eq!(lost.last().unwrap().seq, event.seq);
        } else {
            assert_eq!(rest.next(), Some(event));
        }
    }
    assert_eq!(rest.next(), None);
    assert!(gaps > 0, "nothing was lost: the test tests nothing");
}

#[test]
fn a_reader_on_a_thread_is_woken() {
    let (sender, receiver) = bounded();
    let reading = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(event) = receiver.recv() {
            seen.push(event.seq);
        }
        seen
    });
    for seq in 1..=3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        sender.send(&log(seq));
    }
    drop(sender);
    assert_eq!(reading.join().unwrap(), [1, 2, 3]);
}

#[test]
fn nothing_is_kept_for_a_reader_that_has_left() {
    let (sender, receiver) = bounded();
    sender.send(&log(1));
    let shared = Arc::clone(&receiver.0);
    drop(receiver);
    sender.send(&run(2));
    assert!(shared.lock().waiting.events.is_empty());
}

#[test]
fn a_text_comes_with_its_event_and_goes_with_it() {
    let (sender, receiver) = with_capacity(2);
    sender.send_with(&log(1), Some("one".into()));
    sender.send_with(&log(2), Some("two".into()));
    sender.send_with(&run(3), Some("three".into()));
    drop(sender);
    let all = std::iter::from_fn(|| receiver.recv_with());
    let texts: Vec<_> = all.map(|(event, text)| (event.seq, text)).collect();
    assert_eq!(
        texts,
        [
            (1, Some("one".into())),
            (2, None),
            (3, Some("three".into()))
        ]
    );
}
