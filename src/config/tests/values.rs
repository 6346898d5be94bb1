//! Tests of valid values, and of the message for every invalid one.

use super::*;

/// Each override makes one value wrong; the message must be exactly this one.
#[test]
fn every_wrong_value_is_told_in_its_own_words() {
    for (set, message) in [
        (
            "model.family=mamba",
            "model.family must be one of gpt2, llama, is \"mamba\"",
        ),
        (
            "model.n_kv_head=3",
            "model.n_kv_head has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.n_kv_head=2",
            "model.n_kv_head has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.rope_theta=0.5",
            "model.rope_theta has no meaning for model.family = \"gpt2\"",
        ),
        (
            "model.n_inner=99999999",
            "model.n_inner must be at most 1048576, is 99999999",
        ),
        (
            "train.context_length=129",
            "train.context_length must be at most model.context_length (128), is 129",
        ),
        ("model.n_layer=0", "model.n_layer must be at least 1, is 0"),
        (
            "model.n_layer=5000",
            "model.n_layer must be at most 1000, is 5000",
        ),
        ("model.n_head=0", "model.n_head must be at least 1, is 0"),
        (
            "model.n_head=3",
            "model.n_head must divide model.n_embd: 3 heads, width 128",
        ),
        (
            "model.n_head=128",
            "model.n_embd / model.n_head must be even, is 1",
        ),
        ("model.n_embd=0", "model.n_embd must be at least 1, is 0"),
        (
            "model.context_length=0",
            "model.context_length must be at least 1, is 0",
        ),
        (
            "model.vocab=256",
            "model.vocab must be 0 or at least 257 for the byte tokenizer, is 256",
        ),
        (
            "model.bias=1",
            "model.bias must be true or false, found the number 1",
        ),
        ("data.train=", "data.train is empty"),
        (
            "data.train=builtin:x",
            "data.train: no builtin text \"x\"; there is builtin:tinyshakespeare",
        ),
        (
            "data.val_fraction=0",
            "data.val_fraction must be between 0 and 1 (both excluded), is 0",
        ),
        (
            "data.val_fraction=1.0",
            "data.val_fraction must be between 0 and 1 (both excluded), is 1",
        ),
        (
            "data.tokenizer=gpt-2",
            "data.tokenizer must be byte, gpt2, reference or a path, is \"gpt-2\"; did you mean \"gpt2\"?",
        ),
        (
            "data.train=$NOPE/a",
            "data.train needs the environment variable NOPE, which is not set; export it, or give --set data.train=PATH",
        ),
        (
            "data.train=${EMPTY}/a",
            "data.train needs the environment variable EMPTY, which is not set; export it, or give --set data.train=PATH",
        ),
        (
            "reference.train.steps=0",
            "reference.train.steps must be at least 1, is 0",
        ),
        (
            "reference.train.lr=0",
            "reference.train.lr must be above 0, is 0",
        ),
        (
            "reference.train.min_lr=1",
            "reference.train.min_lr must be between 0 and reference.train.lr (0.001), is 1",
        ),
        (
            "reference.train.warmup=101",
            "reference.train.warmup must be at most reference.train.steps (100), is 101",
        ),
        (
            "reference.train.schedule=cosin",
            "reference.train.schedule must be one of cosine, linear, constant, wsd, is \"cosin\"; did you mean \"cosine\"?",
        ),
        (
            "inherit.layers=all",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\", is \"all\"",
        ),
        (
            "inherit.layers=0",
            "inherit.layers must be at least 1, is 0",
        ),
        (
            "inherit.layers=8",
            "inherit.layers must be fewer than the reference's 8, is 8",
        ),
        (
            "inherit.layers=[]",
            "inherit.layers is an empty list; name at least one layer",
        ),
        (
            "inherit.layers=[0, 0]",
            "inherit.layers names layer 0 twice",
        ),
        (
            "inherit.layers=[0, 8]",
            "inherit.layers: no layer 8 in a reference of 8 (they count from 0)",
        ),
        (
            "inherit.layers=[0, -1]",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\", found a list of 2",
        ),
        (
            "inherit.layers=1.5",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\", found the number 1.5",
        ),
        (
            "inherit.layers=los:6",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\", is \"los:6\"; did you mean \"loss:6\"?",
        ),
        (
            "inherit.layers=influence: 4",
            "inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\", a list of layer indices, or \"influence:n\", \"angular:n\", \"loss:n\" or \"spread:n\", is \"influence: 4\"; did you mean \"influence:4\"?",
        ),
        (
            "inherit.layers=loss:0",
            "inherit.layers must keep at least 1 layer, keeps 0",
        ),
        (
            "inherit.layers=spread:9",
            "inherit.layers must be fewer than the reference's 8, is 9",
        ),
        (
            "inherit.layers=angular:8",
            "inherit.layers must be fewer than the reference's 8, is 8",
        ),
        (
            "inherit.what=[]",
            "inherit.what is empty; name some of attention, mlp, norms, attention_norm, mlp_norm, embeddings, positions, final_norm, head",
        ),
        (
            "inherit.what=['atention']",
            "inherit.what: unknown part \"atention\"; did you mean \"attention\"?",
        ),
        (
            "inherit.what=['mlp', 'mlp']",
            "inherit.what names \"mlp\" twice",
        ),
        (
            "inherit.what=mlp",
            "inherit.what must be a list of texts, found the text \"mlp\"",
        ),
        ("train.steps=0", "train.steps must be at least 1, is 0"),
        (
            "train.steps=-3",
            "train.steps must be a whole number of at least 0, is -3",
        ),
        (
            "train.steps=1e3",
            "train.steps must be a whole number, found the number 1000.0",
        ),
        (
            "train.steps=many",
            "train.steps must be a whole number, found the text \"many\"",
        ),
        (
            "train.steps=2020-01-01",
            "train.steps must be a whole number, found a date",
        ),
        (
            "train.batch_tokens=0",
            "train.batch_tokens must be at least 1, is 0",
        ),
        (
            "train.batch_tokens=1000",
            "train.batch_tokens must be a multiple of model.context_length (128), is 1000",
        ),
        (
            "train.micro_batch=3",
            "train.micro_batch must divide the 8 windows of a batch, is 3",
        ),
        ("train.lr=0", "train.lr must be above 0, is 0"),
        ("train.lr=nan", "train.lr must be a finite number, is NaN"),
        ("train.lr=inf", "train.lr must be a finite number, is inf"),
        (
            "train.lr=fast",
            "train.lr must be a number, found the text \"fast\"",
        ),
        (
            "train.warmup=51",
            "train.warmup must be at most train.steps (50), is 51",
        ),
        (
            "train.schedule=step",
            "train.schedule must be one of cosine, linear, constant, wsd, is \"step\"",
        ),
        (
            "train.optimizer=lion",
            "train.optimizer must be one of adamw, muon, is \"lion\"",
        ),
        (
            "train.shard=weights",
            "train.shard must be one of none, optimizer, is \"weights\"",
        ),
        ("train.muon_lr=0", "train.muon_lr must be above 0, is 0"),
        (
            "train.muon_momentum=1",
            "train.muon_momentum must be at least 0 and below 1, is 1",
        ),
        (
            "train.muon_scale=spectral",
            "train.muon_scale must be one of original, match_rms_adamw, is \"spectral\"",
        ),
        (
            "train.betas=[0.9, 1.0]",
            "train.betas must be at least 0 and below 1, holds 1",
        ),
        (
            "train.betas=[0.9, nan]",
            "train.betas must be finite numbers, holds NaN",
        ),
        (
            "train.betas=[0.9]",
            "train.betas must be a list of two numbers, found a list of 1",
        ),
        (
            "train.betas=0.9",
            "train.betas must be a list of two numbers, found the number 0.9",
        ),
        (
            "train.weight_decay=-1",
            "train.weight_decay must be at least 0, is -1",
        ),
        ("train.clip=-0.5", "train.clip must be at least 0, is -0.5"),
        (
            "train.dtype=fp16",
            "train.dtype must be \"auto\", \"f32\" or \"bf16\", is \"fp16\"",
        ),
        (
            "train.dtype=f8",
            "train.dtype must be \"auto\", \"f32\" or \"bf16\", is \"f8\"",
        ),
        (
            "train.log_every=0",
            "train.log_every must be at least 1, is 0",
        ),
        ("eval.windows=1", "eval.windows must be at least 2, is 1"),
        (
            "probe.budget=1.5",
            "probe.budget must be between 0 and 1, is 1.5",
        ),
        ("probe.windows=0", "probe.windows must be at least 1, is 0"),
        ("probe.length=1", "probe.length must be at least 2, is 1"),
        (
            "probe.length=129",
            "probe.length must be at most model.context_length (128), is 129",
        ),
        (
            "probe.tau=0",
            "probe.tau must be above 0 and at most 1, is 0",
        ),
        (
            "probe.tau=1.1",
            "probe.tau must be above 0 and at most 1, is 1.1",
        ),
        ("grow.step=0", "grow.step must be at least 1, is 0"),
        (
            "grow.source=copy-midle",
            "grow.source must be one of next, copy-middle, copy-top, is \"copy-midle\"; did you mean \"copy-middle\"?",
        ),
        (
            "grow.mode=keeep",
            "grow.mode must be one of restart, keep, is \"keeep\"; did you mean \"keep\"?",
        ),
        (
            "grow.max_layers=3",
            "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 3",
        ),
        (
            "grow.max_layers=9",
            "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 9",
        ),
        (
            "match.tolerance=-inf",
            "match.tolerance must be a finite number, is -inf",
        ),
        (
            "match.patience=0",
            "match.patience must be at least 1, is 0",
        ),
        (
            "notify.command=notify-send",
            "notify.command must be a list of texts, found the text \"notify-send\"",
        ),
        (
            "notify.command=['', 'done']",
            "notify.command must begin with the program to run, its first word is empty; an empty list runs nothing",
        ),
        (
            "notify.command=[\"a\", \"\\u0000\"]",
            "notify.command contains the character U+0000, which a program's argument cannot contain; remove it",
        ),
        (
            "notify.on=['decision', 'finish']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds the text \"finish\"",
        ),
        (
            "notify.on=['don']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds the text \"don\"; did you mean \"done\"?",
        ),
        (
            "notify.on=['nan', 'nan']",
            "notify.on must be a list of any of decision, nan, stall, best, done, holds \"nan\" twice",
        ),
        (
            "notify.on=done",
            "notify.on must be a list of any of decision, nan, stall, best, done, found the text \"done\"",
        ),
        (
            "notify.terminal=beep",
            "notify.terminal must be one of off, bell, osc9, is \"beep\"",
        ),
        (
            "policy.mode=never",
            "policy.mode must be one of ask, pause, auto, is \"never\"",
        ),
        (
            "policy.max_hours=-1",
            "policy.max_hours must be at least 0, is -1",
        ),
        (
            "control.random=yes",
            "control.random must be true or false, found the text \"yes\"",
        ),
        (
            "checkpoint.keep=0",
            "checkpoint.keep must be at least 1, is 0",
        ),
        (
            "train.stpes=5",
            "unknown key train.stpes; did you mean train.steps?",
        ),
        ("train=5", "train is a section; name one of its keys"),
        ("zzz=5", "unknown key zzz"),
    ] {
        let key = set.split('=').next().unwrap();
        assert_eq!(
            problems(GOOD, &[set]),
            [format!("--set {key}=...: {message}")],
            "{set}"
        );
    }
    assert_eq!(
        problems(GOOD, &["lr"]),
        ["--set lr: give it as section.key=value"]
    );
}

#[test]
fn good_values_pass() {
    for set in [
        "inherit.layers=4",
        "inherit.layers=auto",
        "inherit.layers=influence:4",
        "inherit.layers=angular:1",
        "inherit.layers=loss:7",
        "inherit.layers=spread:3",
        "inherit.layers=[0, 2, 5]",
        "inherit.what=[\"mlp\"]",
        "grow.max_layers=8",
        "grow.max_layers=4",
        "train.micro_batch=4",
        "train.lr=3e-4",
        "train.weight_decay=0",
        "model.vocab=320",
        "probe.budget=0",
        "match.tolerance=-0.01",
        "checkpoint.every=0",
        "policy.mode=pause",
        "train.min_lr=0",
        "notify.command=[]",
        "notify.command=[\"notify-send\", \"heirloom\"]",
        "notify.on=[]",
        "notify.on=['done', 'nan']",
        "notify.terminal=osc9",
    ] {
        assert_eq!(problems(GOOD, &[set]), Vec::<String>::new(), "{set}");
    }
    // With a validation text, the share of the training text is not needed.
    assert_eq!(
        problems(GOOD, &["data.val=v.txt", "data.val_fraction=0"]),
        Vec::<String>::new()
    );
    // A loaded reference has its own shape, so the config needs none.
    let loaded = "[data]\ntrain='a'\n[reference]\npath='m'\n[inherit]\nlayers=12\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
    assert_eq!(problems(loaded, &[]), Vec::<String>::new());
}

#[test]
fn numbers_at_the_end_of_what_can_be_written_are_told_as_wrong() {
    let most = i64::MAX;
    for (set, message) in [
        (
            format!("inherit.layers={most}"),
            format!("inherit.layers must be fewer than the reference's 8, is {most}"),
        ),
        (
            format!("checkpoint.keep={most}"),
            format!("checkpoint.keep must be at most 1000000, is {most}"),
        ),
    ] {
        let said = problems(GOOD, &[&set, "grow.max_layers=3"]);
        assert!(said.iter().any(|p| p.ends_with(&message)), "{said:?}");
    }
}
