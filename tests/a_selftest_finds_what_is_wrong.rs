//! `heirloom selftest` checks every unit of a CPU, and fails on a wrong number.

mod common;

use common::{Place, texts};

#[test]
fn every_unit_of_a_cpu_is_checked() {
    let place = Place::new();
    let args = [
        "selftest", "--device", "cpu", "--only", "bf16", "--seed", "3",
    ];
    let out = place.run(&args);
    let (said, err) = texts(&out);
    let failed: Vec<&str> = said.lines().filter(|l| l.starts_with("FAILED")).collect();
    assert_eq!(out.status.code(), Some(0), "{failed:?} {err}");
    let first = said.lines().next().unwrap();
    assert!(
        first.starts_with("checking the CPU: ") && first.contains("products in bf16 by "),
        "{first}"
    );
    for unit in heirloom::ops::units() {
        let own = format!("bf16 by {unit}");
        let checks = said
            .lines()
            .filter(|l| l.starts_with("ok ") && l.contains(&own));
        let checks = checks.count();
        assert!(checks > 30, "{checks} checks of {unit}");
    }
    let ok = said.lines().filter(|l| l.starts_with("ok ")).count();
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("{ok} passed, 0 failed")),
        "{last}"
    );
}

/// Without `--only`, f32 and a miniature recipe are also checked.
#[test]
#[ignore = "a minute; in a release build half of it"]
fn the_whole_selftest_passes() {
    let place = Place::new();
    let out = place.run(&["selftest"]);
    let (said, err) = texts(&out);
    assert_eq!(out.status.code(), Some(0), "{said}{err}");
    let recipe = said.lines().find(|l| l.contains("a miniature recipe"));
    assert!(
        recipe.is_some_and(|l| l.ends_with("identical in both runs")),
        "{recipe:?}"
    );
}

/// In the first, a middle and a late comparison, one element is changed by twice the tolerance.
#[test]
fn one_wrong_element_fails_the_test() {
    let place = Place::new();
    for comparison in [1, 100, 300] {
        let out = place
            .heirloom(&["selftest", "--device", "cpu", "--only", "f32", "--quiet"])
            .env("HEIRLOOM_FAULT", format!("selftest:{comparison}"))
            .output()
            .unwrap();
        let (said, err) = texts(&out);
        assert_eq!(out.status.code(), Some(1), "{comparison}: {said}{err}");
        let failed: Vec<&str> = said.lines().filter(|l| l.starts_with("FAILED")).collect();
        assert_eq!(failed.len(), 1, "{said}");
        assert!(failed[0].contains("expected"), "{said}");
        assert!(said.contains(" passed, 1 failed in "), "{said}");
    }
}

#[test]
fn a_unit_that_fails_fails_the_test() {
    let place = Place::new();
    let units = heirloom::ops::units();
    let lesser = units[units.len() - 1];
    let out = place
        .heirloom(&["selftest", "--device", "cpu", "--only", "bf16", "--quiet"])
        .env("HEIRLOOM_UNIT", lesser)
        .env("HEIRLOOM_FAULT", "selftest:2")
        .output()
        .unwrap();
    let (said, _) = texts(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("bf16 by {lesser}")), "{said}");
}
