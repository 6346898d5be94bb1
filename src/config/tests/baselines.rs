//! Tests reading, writing and refusing entries of `[[baseline]]`.

use super::*;
use crate::model::Part;

const ARMS: &str = "
[[baseline]]
name = 'random-2x'
start = 'random'
steps = '2x'

[[baseline]]
name = 'attention'
start = { layers = [0, 3], what = ['attention', 'norms'] }
steps = 40

[[baseline]]
name = 'kd'
start = 'inherit'
objective = { distill = { teacher = 'teachers/big', alpha = 0.5, temperature = 2 } }

[[baseline]]
name = 'xl'
start = { half = true, n_head = 12 }
";

#[test]
fn entries_are_read_and_written_back() {
    let source = format!("{GOOD}{ARMS}");
    let mut config = loaded(&text(&source), &[]).unwrap().config;
    let [random, attention, kd, xl] = config.baseline.as_slice() else {
        panic!("{:?}", config.baseline);
    };
    assert_eq!(
        (random.steps, attention.steps),
        (BaselineSteps::Double, BaselineSteps::Exactly(40))
    );
    let what = vec![Part::Attention, Part::Norms];
    let layers = Some(LayerChoice::List(vec![0, 3]));
    assert_eq!(attention.start, BaselineStart::Layers { layers, what });
    let distill = Distill {
        teacher: Teacher::Model("teachers/big".into()),
        alpha: 0.5,
        temperature: 2.0,
    };
    assert_eq!(kd.objective, ObjectiveChoice::Distill(distill));
    assert_eq!(xl.start, BaselineStart::HalfWidth { n_head: Some(12) });
    assert_eq!(random.label(), "preset t:9: baseline \"random-2x\"");
    // A teacher is a path, like the reference.
    resolve_paths(&mut config, Path::new("/base"));
    let again: Config = toml::from_str(&to_toml(&config)).unwrap();
    assert_eq!(again, config);
    let ObjectiveChoice::Distill(kd) = &again.baseline[2].objective else {
        panic!("{:?}", again.baseline[2]);
    };
    assert_eq!(kd.teacher, Teacher::Model("/base/teachers/big".into()));
}

#[test]
fn a_distillation_without_facts_has_the_papers() {
    let source = format!(
        "{GOOD}[[baseline]]\nname = 'kd'\nstart = 'random'\nobjective = {{ distill = {{}} }}\n"
    );
    let config = loaded(&text(&source), &[]).unwrap().config;
    let words = config.baseline[0].objective.to_string();
    assert_eq!(words, "distill(reference, alpha 0.4, T 1)");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let of = |entry: &str| problems(&format!("{GOOD}[[baseline]]\n{entry}\n"), &[]);
    for (entry, line, words) in [
        (
            "name = 'a'",
            8,
            "missing baseline.start; add start = \"random\"",
        ),
        ("start = 'random'", 8, "missing baseline.name"),
        ("name = 'A b'\nstart = 'random'", 9, "a-z, 0-9"),
        (
            "name = 'a'\nstart = 'hybird'",
            10,
            "did you mean \"hybrid\"?",
        ),
        (
            "name = 'a'\nstart = {half = true, n_head = 0}",
            10,
            "baseline.start must be",
        ),
        ("name = 'a'\nstart = {layers = [9]}", 10, "layer 9"),
        (
            "name = 'a'\nstart = {what = ['attn']}",
            10,
            "a list of some of attention",
        ),
        (
            "name = 'a'\nstart = 'random'\nsteps = '3x'",
            11,
            "\"same\", \"2x\" or a number",
        ),
        (
            "name = 'a'\nstart = 'random'\nobjective = 'kd'",
            11,
            "must be \"ce\" or {distill",
        ),
        (
            "name = 'a'\nstart = 'random'\nobjective = {distill = {alpha = 1.5}}",
            11,
            "alpha must be between 0 and 1, is 1.5",
        ),
        (
            "name = 'a'\nstart = 'random'\nobjective = {distill = {temperature = 0}}",
            11,
            "temperature must be above 0",
        ),
        (
            "name = 'a'\nstart = 'random'\nstep = 3",
            9,
            "unknown key baseline.step; did you mean steps?",
        ),
        (
            "name = 'random'\nstart = 'random'",
            9,
            "is reserved for a model",
        ),
        (
            "name = 'a'\nstart = 'random'\nsteps = 10000000000000",
            11,
            "a number from 1 to",
        ),
        (
            "name = 'a'\nstart = 'random'\n[[baseline]]\nname = 'a'\nstart = 'full'",
            12,
            "two baselines are named \"a\"",
        ),
    ] {
        let told = of(entry);
        let place = format!(":{line}: ");
        let fits = |p: &String| p.contains(words) && p.starts_with(&place);
        assert!(told.iter().any(fits), "{entry}: {told:?}");
    }
    let only = problems(&format!("{GOOD}{ARMS}"), &["policy.only_baseline=atention"]);
    assert!(only[0].contains("did you mean \"attention\"?"), "{only:?}");
    let section = problems(&format!("{GOOD}[baseline]\nname = 'a'\n"), &[]);
    assert!(section[0].contains("[[baseline]]"), "{section:?}");
}
