//! Model files that are truncated, damaged, hostile or of another kind are refused with a message that describes the error and a
//! solution, in bounded time and memory, and never with a panic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use heirloom::file::Dir;
use heirloom::tensors::gguf::{self, Array, Value};
use heirloom::tensors::{DType, Source, Spec, TensorError, save_safetensors};

/// Opens a file and reads all of it. Returns the message of an error.
fn read_all(path: &Path) -> Result<(), String> {
    let said = |e: TensorError| {
        let told = e.to_string();
        assert!(!told.contains(char::is_control), "{told:?}");
        told
    };
    let source = Source::open(path).map_err(said)?;
    let mut first_error = Ok(());
    let names: Vec<&str> = source.names().collect();
    for name in names {
        let info = source.info(name).expect("a name that was listed");
        assert!(info.len() <= 4096, "{name}: {:?}", info.shape);
        let mut out = vec![0.0; info.len()];
        if let Err(error) = source.read_into(name, &mut out) {
            first_error = Err(said(error));
        }
    }
    first_error
}

fn specs() -> Vec<Spec> {
    let spec = |name: &str, shape: &[usize], dtype| Spec {
        name: name.into(),
        shape: shape.into(),
        dtype,
    };
    vec![
        spec("wte.weight", &[2, 32], DType::F16),
        spec("norm", &[3], DType::F32),
    ]
}

fn fill(_: &Spec, out: &mut [f32]) -> Result<(), TensorError> {
    out.fill(0.5);
    Ok(())
}

/// Makes a small file of each format. Returns each with the offset of its data.
fn small_files(dir: &Path) -> [(PathBuf, usize); 2] {
    save_safetensors(&Dir::open(dir).unwrap(), &specs(), 1 << 30, fill).unwrap();
    let safetensors = dir.join("model.safetensors");
    let bytes = fs::read(&safetensors).unwrap();
    let data = bytes.len() - 3 * 4 - 64 * 2;
    let gguf = dir.join("model.gguf");
    let metadata = [
        ("general.architecture".into(), Value::Str("test".into())),
        (
            "t.tokens".into(),
            Value::Array(Array::Str(vec!["a".into(), "b".into()])),
        ),
        ("t.scores".into(), Value::Array(Array::F32(vec![1.0; 3]))),
    ];
    gguf::save(
        &File::create(&gguf).unwrap(),
        &gguf,
        &metadata,
        &specs(),
        fill,
    )
    .unwrap();
    let length = fs::metadata(&gguf).unwrap().len() as usize;
    [(safetensors, data), (gguf, length - 128 - 32)]
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_and_the_tensor_named() {
    let tmp = tempfile::tempdir().unwrap();
    for (path, data) in small_files(tmp.path()) {
        let whole = fs::read(&path).unwrap();
        assert_eq!(read_all(&path), Ok(()));
        // The padding after the last tensor is not read, so a file may end within it.
        let needed = if path.extension().unwrap() == "gguf" {
            whole.len() - 20
        } else {
            whole.len()
        };
        for length in 0..needed {
            fs::write(&path, &whole[..length]).unwrap();
            let told = read_all(&path).expect_err("a file that is cut");
            let names = ["tensor wte.weight", "tensor norm"]
                .iter()
                .any(|n| told.contains(n));
            assert!(
                length < data || told.contains("cut off") && names,
                "{length}: {told}"
            );
        }
    }
}

#[test]
fn damaged_headers_are_refused_or_read_as_something_small() {
    let tmp = tempfile::tempdir().unwrap();
    for (path, data) in small_files(tmp.path()) {
        let whole = fs::read(&path).unwrap();
        let mut refused = 0;
        for at in 0..data {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, bytes).unwrap();
                refused += usize::from(read_all(&path).is_err());
            }
        }
        // Changes of names and metadata may go unnoticed; changes of the description of the data must not.
        assert!(refused > 2 * data, "{refused} of {}", 8 * data);
    }
}

#[test]
fn counts_are_not_believed() {
    let tmp = tempfile::tempdir().unwrap();
    let [_, (path, data)] = small_files(tmp.path());
    let whole = fs::read(&path).unwrap();
    // Replaces every eight bytes of the header in turn by an enormous count, length, dimension or offset.
    for at in 4..data - 8 {
        for n in [u64::MAX, 1 << 62, 1 << 40, u64::from(u32::MAX)] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&n.to_le_bytes());
            fs::write(&path, bytes).unwrap();
            let _ = read_all(&path);
        }
    }
    for (at, what) in [(8, "tensors"), (16, "metadata keys")] {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&(1u64 << 50).to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let told = read_all(&path).unwrap_err();
        let wanted = format!("announces 1125899906842624 {what}, for which it is too short");
        assert!(told.contains(&wanted), "{told}");
    }
}

/// Makes a GGUF file without metadata, with tensors given by name, dimensions, type and offset, and a number of bytes of data.
fn gguf_of(tensors: &[(&[u8], &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(0u64.to_le_bytes());
    for (name, shape, dtype, offset) in tensors {
        out.extend((name.len() as u64).to_le_bytes());
        out.extend(*name);
        out.extend((shape.len() as u32).to_le_bytes());
        for n in *shape {
            out.extend(n.to_le_bytes());
        }
        out.extend(dtype.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("m.gguf");
    type Tensors<'t> = &'t [(&'t [u8], &'t [u64], u32, u64)];
    let cases: [(Tensors<'_>, &str); 13] = [
        (
            &[(b"a", &[8], 0, 0), (b"a", &[8], 0, 32)],
            "tensor a stands there twice",
        ),
        (
            &[(b"a", &[9], 0, 0), (b"b", &[8], 0, 32)],
            "tensors a and b overlap",
        ),
        (
            &[(b"a", &[8], 0, 16)],
            "tensor a begins at 16, no multiple of 32",
        ),
        (
            &[(b"a", &[17], 0, 0)],
            "cut off: of tensor a 64 of 68 bytes are there",
        ),
        (
            &[(b"a", &[8], 0, 1 << 40)],
            "cut off: of tensor a 0 of 32 bytes are there",
        ),
        (
            &[(b"a", &[8], 0, u64::MAX - 31)],
            "tensor a begins far behind the end",
        ),
        (
            &[(b"a", &[1 << 32, 1 << 32], 0, 0)],
            "tensor a is too large",
        ),
        (&[(b"a", &[u64::MAX, 2, 0], 0, 0)], "tensor a is too large"),
        (&[(b"a", &[1; 5], 0, 0)], "tensor a has 5 dimensions"),
        (
            &[(b"a", &[33], 8, 0)],
            "rows of tensor a have 33 values, which is not a multiple of Q8_0's block size 32",
        ),
        (
            &[(b"a", &[8], 99, 0)],
            "tensor a is of type 99, which is not known",
        ),
        (
            &[(b"a", &[8], 4, 0)],
            "tensor a is of type 4, which is not known",
        ),
        (&[(b"\xff\x1b[2J", &[8], 0, 0)], "is not UTF-8"),
    ];
    for (tensors, wanted) in cases {
        fs::write(&path, gguf_of(tensors, 64)).unwrap();
        let told = read_all(&path).unwrap_err();
        assert!(told.contains(wanted), "{told}");
    }
    fs::write(
        &path,
        gguf_of(&[(b"a", &[8], 0, 32), (b"b", &[0, 4], 8, 0)], 64),
    )
    .unwrap();
    assert_eq!(read_all(&path), Ok(()));
}

#[test]
fn other_files_are_refused_with_a_way_out() {
    let tmp = tempfile::tempdir().unwrap();
    let mut swapped = b"GGUF".to_vec();
    swapped.extend(3u32.to_be_bytes());
    let mut newer = b"GGUF".to_vec();
    newer.extend(4u32.to_le_bytes());
    for (name, bytes, wanted) in [
        (
            "model.pt",
            &b"PK\x03\x04rest"[..],
            "save_pretrained('OUT', safe_serialization=True)",
        ),
        (
            "renamed.safetensors",
            b"\x80\x02}q",
            "is a Python pickle, which may run any code",
        ),
        ("pytorch_model.bin", b"", "is a Python pickle"),
        ("old.ggml", b"tjgg\x01\0\0\0", "convert the model again"),
        ("swapped.gguf", &swapped, "gguf-convert-endian"),
        ("newer.gguf", &newer, "GGUF version 4 is not known"),
        ("cut.gguf", b"GGUF", "cut off within its header"),
        ("empty.safetensors", b"", "0 bytes are too few"),
        (
            "text.txt",
            b"Once upon a time there was",
            "it is not a safetensors file",
        ),
    ] {
        let path = tmp.path().join(name);
        fs::write(&path, bytes).unwrap();
        let told = read_all(&path).unwrap_err();
        assert!(told.contains(wanted), "{name}: {told}");
    }
    let told = read_all(&tmp.path().join("absent")).unwrap_err();
    assert!(told.contains("absent: No such file"), "{told}");

    let dir = tmp.path().join("dir");
    fs::create_dir(&dir).unwrap();
    assert!(
        read_all(&dir)
            .unwrap_err()
            .contains("neither model.safetensors nor")
    );
    fs::write(dir.join("m.Q8_0.gguf"), "").unwrap();
    assert!(read_all(&dir).unwrap_err().contains("name one: "));
    fs::write(dir.join("pytorch_model.bin"), "").unwrap();
    assert!(read_all(&dir).unwrap_err().contains("is a Python pickle"));
    nix::unistd::mkfifo(
        &dir.join("model.safetensors"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    assert!(read_all(&dir).unwrap_err().contains("not a regular file"));
}

#[test]
fn shards_stay_in_their_directory_and_hold_what_the_index_says() {
    let tmp = tempfile::tempdir().unwrap();
    let [(path, _), _] = small_files(tmp.path());
    let dir = tmp.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::rename(path, dir.join("part.safetensors")).unwrap();
    let index = dir.join("model.safetensors.index.json");
    for (text, wanted) in [
        (r#"{"weight_map":{"norm":"part.safetensors"}}"#, ""),
        (
            r#"{"weight_map":{"norm":"../dir/part.safetensors"}}"#,
            "which is elsewhere",
        ),
        (
            r#"{"weight_map":{"norm":"/etc/passwd"}}"#,
            "which is elsewhere",
        ),
        (
            r#"{"weight_map":{"other":"part.safetensors"}}"#,
            "tensor other is missing",
        ),
        (
            r#"{"weight_map":{"norm":"none.safetensors"}}"#,
            "none.safetensors: No such file",
        ),
        (r#"{"weight_map":7}"#, "cannot be read"),
        ("", "cannot be read"),
    ] {
        fs::write(&index, text).unwrap();
        let told = read_all(&dir).err().unwrap_or_default();
        assert!(
            told.contains(wanted) && told.is_empty() == wanted.is_empty(),
            "{told}"
        );
    }
}

#[test]
fn a_part_of_a_split_model_is_not_taken_for_the_whole() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("m-00001-of-00003.gguf");
    let metadata = [("split.count".into(), Value::U16(3))];
    gguf::save(
        &File::create(&path).unwrap(),
        &path,
        &metadata,
        &specs(),
        fill,
    )
    .unwrap();
    let told = read_all(&path).unwrap_err();
    assert!(told.contains("it is one of 3 parts of a model"), "{told}");
}
