//! `heirloom demo collapse` shows that softmax and training reduce the rank of attention to one.

mod common;

use common::Place;
use common::pty::Pty;
use serde_json::Value;

#[test]
fn softmax_and_training_collapse_the_rank() {
    let place = Place::new();
    let out = place.expect(0, &["demo", "collapse", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    let heads = found["softmax"].as_array().unwrap();
    assert_eq!(heads.len(), 8);
    for head in heads {
        let of = |key: &str| head[key].as_u64().unwrap();
        assert!(of("scores") > 50, "{head}");
        assert_eq!(of("attention"), 1, "{head}");
        assert!(of("sharper") > 50, "it is the small scores: {head}");
    }
    let probes = found["network"].as_array().unwrap();
    let mean = |probe: &Value| -> f64 {
        let ranks = probe["ranks"].as_array().unwrap();
        assert_eq!(ranks.len(), 4);
        ranks.iter().map(|r| r.as_f64().unwrap()).sum::<f64>() / 4.0
    };
    let means: Vec<f64> = probes.iter().map(mean).collect();
    let (first, last) = (means[0], means[means.len() - 1]);
    assert!(first > 15.0 && last < 2.0, "{means:?}");
    // The mean rank falls and does not rise again.
    assert!(
        means.windows(2).all(|two| two[1] <= two[0] + 1.0),
        "{means:?}"
    );
    let loss = probes[probes.len() - 1]["loss"].as_f64().unwrap();
    assert!(
        (0.95..1.05).contains(&loss),
        "all that noise can teach: {loss}"
    );
}

#[test]
fn it_is_live_and_can_be_left() {
    for (columns, rows) in [(80, 24), (200, 60)] {
        let place = Place::new();
        let mut pty = Pty::start(&place, &["demo", "collapse"], columns, rows);
        pty.see("h7 ");
        let screen = pty.see("trained on noise: step");
        assert!(
            screen.contains("k* of scores → of attention (T=256"),
            "{screen}"
        );
        assert!(screen.contains("q quit"), "{screen}");
        pty.press("q");
        assert_eq!(pty.exit_code(), 0);
        let after = pty.text();
        assert!(after.contains("softmax   mean k* of 8 heads"), "{after}");
        assert!(after.contains("left before the end"), "{after}");
        assert!(!pty.is_full_screen());
    }
}
