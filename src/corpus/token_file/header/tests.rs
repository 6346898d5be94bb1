use super::*;

fn llm_c(magic: i32, version: i32, n: i32, ids: usize) -> Vec<u8> {
    let mut words = [0; 256];
    words[..3].copy_from_slice(&[magic, version, n]);
    let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    bytes.resize(bytes.len() + ids, 7);
    bytes
}

fn packed(version: u64, dtype: u8, chunk: u64, ids: &[u8]) -> Vec<u8> {
    let mut bytes = b"LITPKDS".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.push(dtype);
    bytes.extend(chunk.to_le_bytes());
    bytes.extend_from_slice(ids);
    bytes
}

fn npy(header: &str, ids: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.resize(bytes.len() + ids, 7);
    bytes
}

const NPY: &str = "{'descr': '<u2', 'fortran_order': False, 'shape': (5,), }    \n";

#[test]
fn every_format_is_told_by_its_content() {
    let is = |bytes: &[u8], format, offset, width, n| {
        let want = Layout {
            format,
            offset,
            width,
            n,
        };
        assert_eq!(layout(bytes, Named::Bin), Ok(want));
    };
    is(&[1, 0, 2, 0], Format::NanoGpt, 0, Width::Two, 2);
    is(&llm_c(LLM_C, 1, 3, 6), Format::LlmC, 1024, Width::Two, 3);
    is(
        &llm_c(LLAMA_3, 7, 3, 12),
        Format::LlmC,
        1024,
        Width::Four,
        3,
    );
    let start = 10 + NPY.len();
    is(&npy(NPY, 10), Format::Npy, start, Width::Two, 5);
    let four = NPY.replace("<u2", "<i4");
    is(&npy(&four, 20), Format::Npy, start, Width::Four, 5);
    // As numpy writes np.array([]).
    let none = NPY.replace("<u2", "<f8").replace("(5,)", "(0,)");
    is(&npy(&none, 0), Format::Npy, start, Width::Two, 0);
    // The last chunk is padded with the separator, of which one stays.
    let ids = [5, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    is(&packed(1, 8, 5, &ids), Format::LitGpt, 24, Width::Two, 3);
    let ids = [5, 0, 0, 0, 6, 0, 0, 0];
    is(&packed(1, 4, 2, &ids), Format::LitGpt, 24, Width::Four, 2);
}

#[test]
fn hostile_headers_are_refused() {
    let refused = |bytes: &[u8], what: &str| {
        let error = layout(bytes, Named::Bin).unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    refused(
        &[1, 0, 2],
        "3 bytes are not a multiple of the size of a u16 token",
    );
    refused(&llm_c(LLM_C, 1, 3, 4), "announces 3 tokens, the file has 2");
    refused(
        &llm_c(LLM_C, 2, 3, 6),
        "version 2; only version 1 is supported",
    );
    refused(
        &llm_c(LLAMA_3, 1, 3, 12),
        "version 1; only version 7 is supported",
    );
    refused(&llm_c(LLM_C, 1, -1, 6), "announces -1 tokens");
    refused(&llm_c(LLM_C, 1, 3, 6)[..1000], "ends within its header");
    refused(&packed(2, 8, 1, &[0, 0]), "version 2");
    refused(&packed(1, 6, 1, &[0; 4]), "of type 6");
    for chunk in [2, u64::MAX, u64::MAX / 2 + 1] {
        refused(&packed(1, 8, chunk, &[0, 0]), "the file has 1");
    }
    refused(b"LITPKDS\x01", "ends within its header");
    for (from, to, what) in [
        ("<u2", "<f8", "of type '<f8'"),
        ("<u2", ">u2", "of type '>u2'"),
        ("<u2", "|O", "of type '|O'"),
        ("False", "True", "Fortran order"),
        ("(5,)", "(5, 1)", "one dimension"),
        ("(5,)", "()", "one dimension"),
        ("(5,)", "(-5,)", "one dimension"),
        ("(5,)", "(6,)", "announces 6 tokens, the file has 5"),
        ("(5,)", "(18446744073709551615,)", "the file has 5"),
        (
            "(5,)",
            "(99999999999999999999,)",
            "not that of a plain array",
        ),
        ("(5,)", "(,)", "not that of a plain array"),
        ("'shape'", "'shade'", "not that of a plain array"),
        ("'shape': (5,), ", "", "not that of a plain array"),
        ("}", "", "not that of a plain array"),
    ] {
        refused(&npy(&NPY.replace(from, to), 10), what);
    }
    refused(b"\x93NUMPY\x01\x00\xff\xff", "ends within its header");
    refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "too long");
    refused(b"\x93NUMPY\x09\x00", "NumPy format 9");
    refused(b"\x93NUMPY", "ends within its header");
    assert!(layout(&[1, 0], Named::Npy).unwrap_err().contains("NumPy"));
}
#[test]
fn the_width_of_ids_without_a_header_shows_in_their_values() {
    let short = |ids: &[u16]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
    let long = |ids: &[u32]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
    let wide = |ids: &[u64]| -> Vec<u8> { ids.iter().flat_map(|i| i.to_le_bytes()).collect() };
    // Ids of a text: of any size, many of them small.
    let id = |i: u32, vocab: u32| (i.wrapping_mul(2_654_435_761) >> 7) % vocab;
    let ids = |n: u32, vocab: u32| -> Vec<u32> { (0..n).map(|i| id(i, vocab)).collect() };
    let narrow =
        |n: u32, vocab: u32| -> Vec<u16> { ids(n, vocab).iter().map(|&i| i as u16).collect() };
    let is = |bytes: &[u8], named| layout(bytes, named).map(|l| (l.width, l.n));
    let bin = |bytes: &[u8]| is(bytes, Named::Bin);
    for (vocab, n) in [
        (256, 8),
        (50_257, 8),
        (65, 100),
        (50_257, 300_000),
        (128_256, 16),
        (128_256, 40),
        (128_256, 100),
        (151_936, 300_000),
    ] {
        let bytes = long(&ids(n, vocab));
        assert_eq!(bin(&bytes), Ok((Width::Four, n as usize)), "{vocab} {n}");
    }
    for (vocab, n) in [
        (257, 8),
        (65, 100),
        (50_257, 301),
        (50_257, 300_000),
        (16, 1000),
        (4, 1000),
        (2, 64),
    ] {
        let bytes = short(&narrow(n, vocab));
        assert_eq!(bin(&bytes), Ok((Width::Two, n as usize)), "{vocab} {n}");
    }
    // Too few for 4 bytes each, all alike, or not a multiple of 4 bytes: as nanoGPT has them.
    for bytes in [
        short(&[5, 6]),
        short(&[104, 101, 108, 108, 111, 10]),
        short(&[31_373, 995, 50_256]),
        short(&[1, 2, 3, 1]),
        vec![0; 4],
        vec![0; 4000],
        short(&[65_535; 40]),
        short(&[7; 2001]),
        Vec::new(),
    ] {
        assert_eq!(bin(&bytes), Ok((Width::Two, bytes.len() / 2)));
    }
    let error = bin(&wide(
        &ids(100, 50_257)
            .into_iter()
            .map(u64::from)
            .collect::<Vec<_>>(),
    ));
    assert!(error.unwrap_err().contains("8 bytes each"));
    // Small files that may be either need the user's decision.
    let labels = |n: u32| {
        let mut labels = vec![-100i32 as u32; 10];
        labels.extend(ids(n, 50_257));
        labels
    };
    for (bytes, what) in [
        (
            long(&ids(7, 50_257)),
            "its 28 bytes may be ids of 2 or of 4",
        ),
        (long(&ids(15, 128_256)), "its 60 bytes may be ids"),
        (
            long(&[128_000]),
            "give the file the ending .u16.bin or .u32.bin",
        ),
        (long(&[5, 6]), "its 8 bytes may be ids"),
        (short(&[300, 5, 400, 7]), "its 8 bytes may be ids"),
        (wide(&[31_373, 995]), "its 16 bytes may be ids"),
        (wide(&[31_373, 995, 50_256, 0]), "8 bytes each (int64)"),
        (wide(&[5, 6, 7, 8, 9, 10, 11]), "8 bytes each (int64)"),
        (wide(&[-100i64 as u64, 6, 7, 8, 9]), "8 bytes each (int64)"),
        (long(&labels(200)), "some of them are negative"),
        (long(&labels(2)), "some of them are negative"),
    ] {
        let error = bin(&bytes).unwrap_err();
        assert!(error.contains(what), "{what}: {error}");
    }
    // The name decides over the values.
    assert_eq!(
        is(&long(&labels(2)), Named::Ids(Width::Two)),
        Ok((Width::Two, 24))
    );
    let named = |name: &str| Named::of(Path::new(name));
    assert_eq!(
        is(&long(&[70_000, 2]), named("a.u32.bin")),
        Ok((Width::Four, 2))
    );
    assert_eq!(
        is(&long(&ids(100, 300)), named("a.uint16.bin")),
        Ok((Width::Two, 200))
    );
    assert!(
        is(&[0; 6], named("a.uint32.bin"))
            .unwrap_err()
            .contains("u32 token")
    );
    assert_eq!(named("d.u32/a.bin"), Named::Bin);
    assert_eq!(named("a.u32.npy"), Named::Npy);
    // The header decides over the name.
    assert_eq!(
        is(&llm_c(LLM_C, 1, 3, 6), named("a.u32.bin")),
        Ok((Width::Two, 3))
    );
}

#[test]
fn other_files_of_llm_c_are_named() {
    for (magic, what) in [
        (20_240_522, "evaluation file (HellaSwag)"),
        (20_240_326, "weights of GPT-2"),
        (20_240_803, "weights of Llama 3"),
        (20_240_328, "an llm.c tokenizer"),
    ] {
        let error = layout(&llm_c(magic, 1, 3, 600), Named::Bin).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}
