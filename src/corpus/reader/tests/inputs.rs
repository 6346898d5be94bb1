//! Tests which files a directory or a pattern refers to.

use super::*;

#[test]
fn hidden_files_and_descriptions_are_left_out_of_directories_and_patterns() {
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    let names = |input: &str| -> Vec<String> {
        let found = find(input).unwrap().files;
        found
            .iter()
            .map(|f| f.rsplit('/').next().unwrap().to_string())
            .collect()
    };
    for name in [
        "a.txt",
        "._a.txt",
        ".b.txt",
        "_c.txt",
        "e.txt~",
        "_SUCCESS",
        "x.json",
        "README.md",
        "d.txt.bz2",
        ".h.zip",
    ] {
        place.put(name, b"text");
    }
    std::fs::create_dir(place.0.path().join(".dir")).unwrap();
    place.put(".dir/z.txt", b"text");
    // As `datasets` and the shell have it.
    assert_eq!(names(&dir), ["_c.txt", "a.txt"]);
    assert_eq!(names(&format!("{dir}/*.txt")), ["_c.txt", "a.txt"]);
    assert_eq!(names(&format!("{dir}/?.txt")), ["a.txt"]);
    assert_eq!(names(&format!("{dir}/.*.txt")), ["._a.txt", ".b.txt"]);
    assert_eq!(names(&format!("{dir}/.b.txt")), [".b.txt"]);
    assert_eq!(names(&format!("{dir}/.d*/*.txt")), ["z.txt"]);
    assert_eq!(names(&format!("{dir}/./[ab].txt")), ["a.txt"]);
    assert!(find(&format!("{dir}/*/*.txt")).is_err());
    assert_eq!(names(&format!("{dir}/**/*.txt")), ["_c.txt", "a.txt"]);
    let found = find(&dir).unwrap();
    assert_eq!((found.hidden, found.packed.len()), (2, 1));
    let left_out = [
        format!("{dir}/d.txt.bz2: not read, it is packed in a way that heirloom does not unpack"),
        format!("{dir}: 2 hidden files are not read"),
        format!(
            "{dir}: 1 .json file is not read, as files of another kind lie there; if they hold texts, name them: x.json"
        ),
    ];
    assert_eq!(found.left_out(&dir), left_out);

    // Rows in .json files are meant where there is nothing else.
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    for name in ["b.json", "a.json", "dataset_infos.json", "config.json"] {
        place.put(name, b"[]");
    }
    assert_eq!(names(&dir), ["a.json", "b.json"]);
    // Sidecars of token files are neither.
    let place = Place::new();
    let dir = place.0.path().display().to_string();
    for name in ["a.bin", "a.bin.json", "b.npy", "b.npy.json"] {
        place.put(name, b"[]");
    }
    assert_eq!(names(&dir), ["a.bin", "b.npy"]);
    assert!(find(&dir).unwrap().left_out(&dir).is_empty());
    for name in [
        "config.json",
        "d.json.gz",
        "c.json",
        "c.bin.json",
        ".e.json",
    ] {
        place.put(name, b"[]");
    }
    let left_out = find(&dir).unwrap().left_out(&dir).concat();
    assert!(
        left_out.contains("3 .json files are not read")
            && left_out.ends_with(": c.bin.json, c.json, d.json.gz"),
        "{left_out}"
    );
    assert_eq!(names(&format!("{dir}/a*")), ["a.bin"]);
    // Packed files alone are named with what unpacks them.
    let place = Place::new();
    place.put("a.jsonl.xz", b"");
    let error = find(&place.0.path().display().to_string())
        .unwrap_err()
        .to_string();
    assert!(error.contains("unpack it first: xz -dk"), "{error}");
}
