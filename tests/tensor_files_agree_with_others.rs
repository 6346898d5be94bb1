//! Tensor files are read and written as by other programs: heirloom reads files of the Python packages safetensors and gguf as they
//! do, and they and candle read heirloom's files.
//!
//! Fixtures are made by `tests/fixtures/make_tensor_fixtures.py`. The ignored tests have Python read heirloom's files:
//!
//!     python -m venv venv && venv/bin/pip install torch safetensors gguf
//!     HEIRLOOM_PYTHON=venv/bin/python HEIRLOOM_GGUF=SmolLM2-135M-Instruct.Q4_1.gguf \
//!         cargo test --test tensor_files_agree_with_others -- --ignored

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use heirloom::tensors::gguf::{self, Array, Metadata, Value};
use heirloom::tensors::{DType, Output, Source, Spec, TensorError, save_safetensors};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensors")
}

fn expected(what: &str) -> serde_json::Value {
    let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let mut all: serde_json::Value = serde_json::from_str(&text).unwrap();
    all[what].take()
}

fn floats(value: &serde_json::Value) -> Vec<f32> {
    let values: Vec<f64> = serde_json::from_value(value.clone()).unwrap();
    values.into_iter().map(|v| v as f32).collect()
}

fn read(source: &Source, name: &str) -> Vec<f32> {
    let mut out = vec![f32::NAN; source.info(name).unwrap().len()];
    source.read_into(name, &mut out).unwrap();
    out
}

/// Checks that every tensor of the fixture is read exactly, or with an error of at most `within` for types whose factors candle and
/// Python multiply in different orders.
fn agrees(source: &Source, wanted: &serde_json::Value, within: impl Fn(&str) -> f32) {
    for (name, wanted) in wanted.as_object().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(wanted["shape"].clone()).unwrap();
        assert_eq!(source.info(name).unwrap().shape, shape, "{name}");
        let (got, wanted) = (read(source, name), floats(&wanted["values"]));
        assert_eq!(got.len(), wanted.len(), "{name}");
        for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            let apart = (got - wanted).abs();
            assert!(apart <= within(name), "{name}[{i}] is {got}, not {wanted}");
        }
    }
}

#[test]
fn safetensors_files_are_read_as_python_reads_them() {
    let path = fixtures().join("single.safetensors");
    let source = Source::open(&path).unwrap();
    agrees(&source, &expected("single.safetensors"), |_| 0.0);
    let names: Vec<&str> = source.names().collect();
    assert_eq!(names.len(), 8, "{names:?}");
    let ids = source.info("ids").unwrap();
    assert_eq!((ids.dtype.name(), &ids.shape[..]), ("I64", &[5][..]));
    let told = source.read_into("ids", &mut [0.0; 5]).unwrap_err();
    assert!(
        told.to_string()
            .contains("tensor ids: its type I64 is not read"),
        "{told}"
    );
    assert!(source.gguf().is_none());
}

#[test]
fn sharded_directories_are_read_as_python_reads_them() {
    let source = Source::open(&fixtures().join("sharded")).unwrap();
    agrees(&source, &expected("sharded"), |_| 0.0);
    assert_eq!(source.data_bytes(), 4 * (4 * 3 + 3) + 2 * 3 * 4);
    assert!(source.info("c.weight").is_none());
}

#[test]
fn every_quantization_is_read_as_python_reads_it() {
    let source = Source::open(&fixtures().join("all.gguf")).unwrap();
    // K-quants compute d * scale * q - m with one rounding more or less.
    agrees(&source, &expected("all.gguf"), |name| {
        if name.ends_with("_K") || name.ends_with("_1") {
            2e-6
        } else {
            0.0
        }
    });
    for name in ["Q4_0", "Q5_1", "Q2_K", "Q6_K", "Q8_K"] {
        assert_eq!(source.info(name).unwrap().dtype.name(), name);
    }
    let told = source.read_into("IQ4_NL", &mut [0.0; 64]).unwrap_err();
    assert!(
        told.to_string().contains("its type IQ4_NL is not read"),
        "{told}"
    );
}

#[test]
fn metadata_are_read_as_python_wrote_them() {
    let source = Source::open(&fixtures().join("all.gguf")).unwrap();
    let metadata = source.gguf().unwrap();
    assert_eq!(metadata.str("general.architecture").unwrap(), "test");
    assert_eq!(metadata.usize("test.layers").unwrap(), 30);
    assert_eq!(metadata.u64("test.large").unwrap(), 1 << 40);
    assert!(metadata.u32("test.large").is_err());
    assert_eq!(metadata.get("test.minus"), Some(&Value::I8(-5)));
    assert_eq!(metadata.f32("test.epsilon").unwrap(), 1e-5);
    assert_eq!(metadata.f32("test.base").unwrap(), 1e4);
    assert!(metadata.bool("test.flag").unwrap());
    assert_eq!(metadata.str("test.name").unwrap(), "größe 数");
    assert_eq!(
        metadata.strs("tokenizer.tokens").unwrap(),
        ["<s>", "Ġthe", "数"]
    );
    assert_eq!(metadata.f32s("tokenizer.scores").unwrap(), [0.5, -1.25]);
    assert_eq!(metadata.i32s("tokenizer.types").unwrap(), [1, 2, -3]);
    assert_eq!(metadata.optional("test.none", Metadata::str).unwrap(), None);
}

#[test]
fn rows_are_the_same_as_the_whole() {
    let whole = Source::open(&fixtures().join("all.gguf")).unwrap();
    for name in ["single", "half", "brain", "cube", "vector", "Q4_1", "Q6_K"] {
        let all = read(&whole, name);
        let info = whole.info(name).unwrap();
        for row in 0..info.shape[0] {
            let mut out = vec![0.0; info.row()];
            whole.read_rows_into(name, row..row + 1, &mut out).unwrap();
            assert_eq!(
                out,
                all[row * info.row()..(row + 1) * info.row()],
                "{name} {row}"
            );
        }
    }
    for (name, rows, room, wanted) in [
        ("single", 2..4, 10, "it has 3 rows, 2 to 4 were asked for"),
        ("single", 0..2, 9, "2 rows have 10 values, 9 were asked for"),
        ("none", 0..1, 1, "tensor none is missing"),
    ] {
        let told = whole
            .read_rows_into(name, rows, &mut vec![0.0; room])
            .unwrap_err();
        assert!(told.to_string().contains(wanted), "{told}");
    }
    let told = whole.read_into("single", &mut [0.0; 3]).unwrap_err();
    assert!(
        told.to_string().contains("has 15 values, 3 were asked for"),
        "{told}"
    );
}

/// Makes a file of version 1 to 3 with one key and two tensors.
fn by_hand(version: u32) -> Vec<u8> {
    let length = |out: &mut Vec<u8>, n: u64| match version {
        1 => out.extend((n as u32).to_le_bytes()),
        _ => out.extend(n.to_le_bytes()),
    };
    let text = |out: &mut Vec<u8>, text: &[u8]| {
        length(out, text.len() as u64);
        out.extend(text);
    };
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    length(&mut out, 2);
    length(&mut out, 2);
    text(&mut out, b"general.name");
    out.extend(8u32.to_le_bytes());
    text(&mut out, b"by hand \xff");
    text(&mut out, b"ids");
    out.extend(9u32.to_le_bytes());
    out.extend(4u32.to_le_bytes());
    length(&mut out, 2);
    out.extend([7u32, 9].map(u32::to_le_bytes).concat());
    for (name, offset) in [(b"a", 32u64), (b"b", 0)] {
        text(&mut out, name);
        out.extend(2u32.to_le_bytes());
        length(&mut out, 3);
        length(&mut out, 1 + offset / 32);
        out.extend(0u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend([1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(
        [4.0f32, 5.0, 6.0, 7.0, 8.0, 9.0]
            .map(f32::to_le_bytes)
            .concat(),
    );
    out
}

#[test]
fn all_versions_of_gguf_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for version in 1..=3 {
        let path = dir.path().join(format!("v{version}"));
        fs::write(&path, by_hand(version)).unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(source.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(source.info("a").unwrap().shape, [2, 3]);
        assert_eq!(read(&source, "a"), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(read(&source, "b"), [1.0, 2.0, 3.0]);
        let metadata = source.gguf().unwrap();
        assert_eq!(metadata.str("general.name").unwrap(), "by hand \u{fffd}");
        assert_eq!(metadata.u32s("ids").unwrap(), [7, 9]);
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name_and_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let mut bytes = by_hand(3);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let source = Source::open(&path).unwrap();
    let whole = source.read_into("a", &mut [0.0; 6]).unwrap_err();
    let row = source.read_rows_into("a", 1..2, &mut [0.0; 3]).unwrap_err();
    for told in [whole, row] {
        let told = told.to_string();
        assert!(
            told.contains("m.gguf: tensor a is NaN at index 5"),
            "{told}"
        );
    }
    source.read_rows_into("a", 0..1, &mut [0.0; 3]).unwrap();
}

#[test]
fn a_model_of_many_gigabytes_opens_at_once() {
    fn resident_kib() -> usize {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let (rows, row) = (2_000_000usize, 4096);
    let bytes = rows * row * 2;
    let header =
        format!(r#"{{"w":{{"dtype":"BF16","shape":[{rows},{row}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header.bytes());
    fs::write(&path, &start).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len((start.len() + bytes) as u64).unwrap();

    let (before, begun) = (resident_kib(), Instant::now());
    let source = Source::open(dir.path()).unwrap();
    let mut out = vec![1.0; row];
    source
        .read_rows_into("w", rows - 1..rows, &mut out)
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // The limit leaves room for other tests, which run in the same process.
    assert!(resident_kib() < before + (32 << 10));
    assert!(out.iter().all(|&v| v == 0.0));
    assert_eq!(source.data_bytes(), 16_384_000_000);
}

/// Returns tensors of the given types, including one with rows that do not fit Q8_0's blocks.
fn specs(dtypes: &[DType]) -> Vec<Spec> {
    let shapes: [&[usize]; 4] = [&[3, 64], &[33], &[2, 2, 32], &[5, 31]];
    let of = |dtype: &DType| {
        let name = dtype.name();
        shapes.map(|shape| Spec {
            name: format!("{name}.{}", shape.len() * shape[shape.len() - 1]),
            shape: shape.into(),
            dtype: *dtype,
        })
    };
    dtypes.iter().flat_map(of).collect()
}

/// Fills in values that f16 and bf16 represent exactly.
fn fill(spec: &Spec, out: &mut [f32]) -> Result<(), TensorError> {
    let first = spec.name.len() as f32;
    for (i, v) in out.iter_mut().enumerate() {
        *v = (first - i as f32 % 100.0) / 8.0;
    }
    Ok(())
}

fn filled(spec: &Spec) -> Vec<f32> {
    let mut out = vec![0.0; spec.shape.iter().product()];
    fill(spec, &mut out).unwrap();
    out
}

fn metadata() -> Vec<(String, Value)> {
    let texts = |t: [&str; 2]| Value::Array(Array::Str(t.map(String::from).into()));
    [
        ("general.architecture", Value::Str("test".into())),
        ("test.u8", Value::U8(200)),
        ("test.i8", Value::I8(-7)),
        ("test.u16", Value::U16(60_000)),
        ("test.i16", Value::I16(-300)),
        ("test.u32", Value::U32(1 << 31)),
        ("test.i32", Value::I32(-70_000)),
        ("test.u64", Value::U64(1 << 60)),
        ("test.i64", Value::I64(-(1 << 60))),
        ("test.f32", Value::F32(0.1)),
        ("test.f64", Value::F64(0.1)),
        ("test.bool", Value::Bool(true)),
        ("test.tokens", texts(["größe", "数"])),
        ("test.scores", Value::Array(Array::F32(vec![0.5, -1.0]))),
        ("test.types", Value::Array(Array::I32(vec![1, -3]))),
        ("test.flags", Value::Array(Array::Bool(vec![true, false]))),
        ("test.none", Value::Array(Array::U64(Vec::new()))),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into()
}

const PLAIN: [DType; 3] = [DType::Bf16, DType::F32, DType::F16];
const GGUF: [DType; 4] = [DType::F32, DType::F16, DType::Bf16, DType::Q8_0];

fn write_directory(dir: &Path, shard_bytes: u64) -> Vec<Spec> {
    let output = Output::directory(dir, false).unwrap();
    let specs = specs(&PLAIN);
    save_safetensors(output.content(), &specs, shard_bytes, fill).unwrap();
    output.commit().unwrap();
    specs
}

fn write_gguf(path: &Path) -> Vec<Spec> {
    let output = Output::file(path, false).unwrap();
    let specs = specs(&GGUF);
    gguf::save(
        output.content(),
        &output.temporary(),
        &metadata(),
        &specs,
        fill,
    )
    .unwrap();
    output.commit().unwrap();
    specs
}

/// Checks the values that a file returns; those of Q8_0 within half a step of its scale.
fn same(spec: &Spec, got: &[f32]) {
    let within = match gguf::stored_as(spec) {
        DType::Quantized(_) => 0.05,
        _ => 0.0,
    };
    let wanted = filled(spec);
    assert_eq!(got.len(), wanted.len(), "{}", spec.name);
    let apart = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    assert!(apart.clone().all(|apart| apart <= within), "{}", spec.name);
}

#[test]
fn directories_are_written_whole_and_in_shards() {
    let tmp = tempfile::tempdir().unwrap();
    for (name, shard_bytes, files) in [("whole", 1 << 30, 1), ("shards", 1000, 7)] {
        let dir = tmp.path().join(name);
        let specs = write_directory(&dir, shard_bytes);
        let source = Source::open(&dir).unwrap();
        assert_eq!(source.count(), specs.len());
        for spec in &specs {
            let info = source.info(&spec.name).unwrap();
            assert_eq!((info.dtype, &info.shape), (spec.dtype, &spec.shape));
            same(spec, &read(&source, &spec.name));
        }
        let there = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path());
        let tensors: Vec<PathBuf> = there
            .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        assert_eq!(tensors.len(), files, "{tensors:?}");
        for path in tensors {
            let bytes = fs::read(path).unwrap();
            let whole = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert!(!whole.is_empty());
        }
    }
    let index = fs::read_to_string(tmp.path().join("shards/model.safetensors.index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let values = specs(&[DType::F32])
        .iter()
        .map(|s| s.shape.iter().product::<usize>())
        .sum::<usize>();
    assert_eq!(index["metadata"]["total_size"], values * (2 + 4 + 2));
    assert_eq!(
        index["weight_map"]["BF16.128"],
        "model-00001-of-00007.safetensors"
    );
}

#[test]
fn gguf_files_are_read_by_heirloom_and_by_candle() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("m.gguf");
    let specs = write_gguf(&path);
    let source = Source::open(&path).unwrap();
    let mut file = File::open(&path).unwrap();
    let content = Content::read(&mut file).unwrap();
    assert_eq!(content.tensor_infos.len(), specs.len());
    for spec in &specs {
        let info = source.info(&spec.name).unwrap();
        assert_eq!(
            (info.dtype, &info.shape),
            (gguf::stored_as(spec), &spec.shape)
        );
        let own = read(&source, &spec.name);
        same(spec, &own);
        let tensor = content.tensor(&mut file, &spec.name, &Device::Cpu).unwrap();
        assert_eq!(tensor.shape().dims(), spec.shape, "{}", spec.name);
        let theirs = tensor
            .dequantize(&Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap();
        assert_eq!(own, theirs.to_vec1::<f32>().unwrap(), "{}", spec.name);
    }
    let stored: Vec<&str> = specs[12..]
        .iter()
        .map(|s| gguf::stored_as(s).name())
        .collect();
    assert_eq!(stored, ["Q8_0", "F32", "Q8_0", "F16"]);
    let read = source.gguf().unwrap();
    for (key, value) in metadata() {
        assert_eq!(read.get(&key), Some(&value), "{key}");
    }
    assert_eq!(read.u32("general.alignment").unwrap(), 32);
    assert_eq!(read.u32("general.quantization_version").unwrap(), 2);
    let tokens = content.metadata["test.tokens"].to_vec().unwrap();
    assert_eq!(tokens[1].to_string().unwrap(), "数");
}

#[test]
fn q8_0_is_quantized_as_ggml_does() {
    let reference = expected("q8_0");
    let values = floats(&reference["values"]);
    let wanted: Vec<u8> = serde_json::from_value(reference["bytes"].clone()).unwrap();
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("m.gguf");
    let spec = Spec {
        name: "w".into(),
        shape: vec![4, 64],
        dtype: DType::Q8_0,
    };
    let fill = |_: &Spec, out: &mut [f32]| -> Result<(), TensorError> {
        out.copy_from_slice(&values);
        Ok(())
    };
    gguf::save(&fs::File::create(&path).unwrap(), &path, &[], &[spec], fill).unwrap();
    let bytes = fs::read(&path).unwrap();
    let padding = wanted.len().next_multiple_of(32) - wanted.len();
    let end = bytes.len() - padding;
    assert_eq!(bytes[end - wanted.len()..end], wanted);
}

#[test]
fn a_writer_that_stops_leaves_nothing() {
    #[derive(Debug)]
    enum Stop {
        Asked,
        Tensor(TensorError),
    }
    impl From<TensorError> for Stop {
        fn from(error: TensorError) -> Self {
            Self::Tensor(error)
        }
    }
    let tmp = tempfile::tempdir().unwrap();
    let specs = specs(&PLAIN);
    let (dir, file) = (tmp.path().join("m"), tmp.path().join("m.gguf"));
    for stop in [true, false] {
        let mut tensors = 0;
        let mut fill = |spec: &Spec, out: &mut [f32]| {
            fill(spec, out)?;
            tensors += 1;
            match tensors % 3 {
                0 if stop => return Err(Stop::Asked),
                0 => out[17] = f32::NAN,
                _ => {}
            }
            Ok(())
        };
        let output = Output::directory(&dir, false).unwrap();
        let first = save_safetensors(output.content(), &specs, 1000, &mut fill).unwrap_err();
        drop(output);
        let output = Output::file(&file, false).unwrap();
        let second = gguf::save(
            output.content(),
            &output.temporary(),
            &metadata(),
            &specs,
            &mut fill,
        )
        .unwrap_err();
        drop(output);
        for error in [first, second] {
            match error {
                Stop::Asked => assert!(stop),
                Stop::Tensor(error) => {
                    assert!(error.to_string().contains("is NaN at index 17"), "{error}");
                }
            }
        }
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}

/// Reads a directory, a directory of shards and a GGUF file, and prints shapes and values by tensor.
const READ_WITH_PYTHON: &str = r#"
import glob, json, sys
import numpy as np
from gguf import GGUFReader, quants
from safetensors import safe_open
whole, shards, path = sys.argv[1:]
told = {"whole": {}, "shards": {}, "gguf": {}}
def put(what, name, shape, values):
    told[what][name] = [[int(n) for n in shape], [float(v) for v in np.asarray(values, dtype=np.float32).ravel()]]
for what, dir in (("whole", whole), ("shards", shards)):
    for file in glob.glob(dir + "/*.safetensors"):
        with safe_open(file, "pt") as tensors:
            assert tensors.metadata() == {"format": "pt"}
            for name in tensors.keys():
                t = tensors.get_tensor(name)
                put(what, name, t.shape, t.float().numpy())
reader = GGUFReader(path)
for t in reader.tensors:
    put("gguf", t.name, reversed(t.shape.tolist()), quants.dequantize(t.data, t.tensor_type))
told["tokens"] = reader.get_field("test.tokens").contents()
told["i64"] = reader.get_field("test.i64").contents()
print(json.dumps(told))
"#;

#[test]
#[ignore = "needs HEIRLOOM_PYTHON, a Python with torch, safetensors and gguf"]
fn python_reads_what_is_written() {
    let python = std::env::var("HEIRLOOM_PYTHON").expect("HEIRLOOM_PYTHON names a Python");
    let tmp = tempfile::tempdir().unwrap();
    let [whole, shards, file] = ["whole", "shards", "m.gguf"].map(|name| tmp.path().join(name));
    let plain = write_directory(&whole, 1 << 30);
    write_directory(&shards, 1000);
    let quantized = write_gguf(&file);
    let output = Command::new(python)
        .args(["-c", READ_WITH_PYTHON])
        .args([&whole, &shards, &file])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (what, specs) in [("whole", &plain), ("shards", &plain), ("gguf", &quantized)] {
        let tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> =
            serde_json::from_value(told[what].clone()).unwrap();
        assert_eq!(tensors.len(), specs.len(), "{what}");
        for spec in specs {
            let (shape, values) = &tensors[&spec.name];
            assert_eq!(*shape, spec.shape, "{what} {}", spec.name);
            same(spec, values);
        }
    }
    assert_eq!(told["tokens"][1], "数");
    assert_eq!(told["i64"], -(1i64 << 60));
}

/// Prints shape, sum of values and sum of magnitudes by tensor of a GGUF file.
const SUM_WITH_PYTHON: &str = r#"
import json, sys
import numpy as np
from gguf import GGUFReader, quants
told = {}
for t in GGUFReader(sys.argv[1]).tensors:
    values = quants.dequantize(t.data, t.tensor_type).astype(np.float64)
    told[t.name] = [t.shape.tolist()[::-1], float(values.sum()), float(np.abs(values).sum())]
print(json.dumps(told))
"#;

#[test]
#[ignore = "needs HEIRLOOM_PYTHON and a published model in HEIRLOOM_GGUF"]
fn a_published_model_is_read_as_python_reads_it() {
    let set = |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set"));
    let path = set("HEIRLOOM_GGUF");
    let output = Command::new(set("HEIRLOOM_PYTHON"))
        .args(["-c", SUM_WITH_PYTHON, &path])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let told: BTreeMap<String, (Vec<usize>, f64, f64)> =
        serde_json::from_slice(&output.stdout).unwrap();
    let begun = Instant::now();
    let source = Source::open(Path::new(&path)).unwrap();
    let opened = begun.elapsed();
    assert_eq!(source.count(), told.len());
    let (mut values, mut spent) = (0, Duration::ZERO);
    for (name, (shape, sum, magnitude)) in &told {
        assert_eq!(source.info(name).unwrap().shape, *shape, "{name}");
        let begun = Instant::now();
        let got = read(&source, name);
        spent += begun.elapsed();
        values += got.len();
        let within = 1e-6 * magnitude;
        let apart = (got.iter().map(|&v| f64::from(v)).sum::<f64>() - sum).abs();
        assert!(apart <= within, "{name}: {apart}");
        let apart = (got.iter().map(|&v| f64::from(v.abs())).sum::<f64>() - magnitude).abs();
        assert!(apart <= within, "{name}: {apart}");
    }
    println!("opened in {opened:?}; {values} values read in {spent:?}");
}
