//! Names of tasks.

use crate::eval::tasks::{TASKS, parse};

#[test]
fn an_unknown_task_is_named_with_its_neighbour() {
    let error = |names: &str| parse(names).unwrap_err().to_string();
    assert_eq!(
        error("piqa,arc_esy"),
        "unknown task \"arc_esy\"; did you mean \"arc_easy\"?"
    );
    assert!(error("truthfulqa_mc3").contains("did you mean \"truthfulqa_mc"));
    assert!(error("zzz").contains("the tasks are arc_easy, piqa"));
    assert!(error(&"x".repeat(100_000)).len() < 1000);
    assert!(error(" , ").contains("no task is named"));
    let tasks = parse("piqa, sciq,piqa").unwrap();
    let names: Vec<&str> = tasks.iter().map(|task| task.name).collect();
    assert_eq!(names, ["piqa", "sciq"]);
}

#[test]
fn every_task_is_found_by_its_name() {
    for task in TASKS {
        assert_eq!(parse(task.name).unwrap()[0].name, task.name);
    }
    let mut names: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 17);
}
