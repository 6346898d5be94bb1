"""Runs tasks of EleutherAI's lm-evaluation-harness on local documents: the harness's own definitions, with the data set
replaced by a JSON file. Written for lm_eval 0.4.13."""

import hashlib
import json
import re
from pathlib import Path

import lm_eval
from lm_eval.api.model import CachingLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate as run
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

TASKS = Path(lm_eval.__file__).parent / "tasks"


def definition(name):
    """The task's definition as the harness reads it, its includes resolved."""
    for path in TASKS.rglob("*.yaml"):
        if re.search(rf"^\"?task\"?: \"?{re.escape(name)}\"?$", path.read_text(errors="ignore"), re.MULTILINE):
            return load_yaml(path, resolve_func=True)
    raise SystemExit(f"the harness has no task {name}")


def task(name, rows, directory, split=None, shots=None, examples=None):
    """The harness's task over `rows` (its data set's rows), which are written below `directory`. `examples` are the rows
    that few-shot prompts come from."""
    config = dict(definition(name))
    split = split or config.get("test_split") or config.get("validation_split")
    directory = Path(directory)
    files = {split: directory / f"{name}.{split}.jsonl"}
    few = config.get("fewshot_split")
    if examples is not None and few:
        files[few] = directory / f"{name}.{few}.jsonl"
        files[few].write_text("".join(json.dumps(row) + "\n" for row in examples))
    files[split].write_text("".join(json.dumps(row) + "\n" for row in rows))
    for other in ("training_split", "validation_split", "test_split"):
        if config.get(other) and config[other] not in files:
            config[other] = None
    if few and few not in files:
        config["fewshot_split"] = None
    config["dataset_path"], config["dataset_name"] = "json", None
    config["dataset_kwargs"] = {"data_files": {k: str(v) for k, v in files.items()}, "cache_dir": str(directory / "cache")}
    if shots is not None:
        config["num_fewshot"] = shots
    return ConfigurableTask(config=config)


def requests(of, limit=None):
    """Per document its row, its target and the arguments of its requests, in the order in which the harness builds them."""
    of.build_all_requests(limit=limit, rank=0, world_size=1)
    documents = {}
    for instance in of.instances:
        entry = documents.setdefault(instance.doc_id, {"row": instance.doc, "requests": []})
        entry["requests"].append(list(instance.args))
    return [documents[i] for i in sorted(documents)]


class ByPage(HFLM):
    """The harness's model, scoring pages one at a time, so that a cache stores each as soon as it is done."""

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        return [answer for request in requests for answer in super(ByPage, self).loglikelihood_rolling([request], disable_tqdm)]


# Options that affect the digits of an answer. A sum of exponentials in f32 loses the small terms: the harness computes the
# log-softmax in f64 on request.
OPTIONS = {"dtype": "float32", "softmax_dtype": "float64"}


def model(export, batch, keep=None):
    """Returns the model of a Hugging Face directory. With `keep`, its answers are stored in a file in that directory, one for
    each model, set of options and version of the harness, and are not computed again."""
    lm = ByPage(pretrained=str(export), device="cpu", batch_size=batch, **OPTIONS)
    if not keep:
        return lm
    with open(Path(export) / "model.safetensors", "rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    options = "-".join(f"{key}-{value}" for key, value in OPTIONS.items())
    return CachingLM(lm, str(Path(keep) / f"{digest[:12]}-lm_eval-{lm_eval.__version__}-{options}.sqlite"))


def ids(lm, arguments):
    """Returns the token ids of a request's context and continuation as the model reads them, cut off on the left where its
    context cannot hold them. The context of a page is the token that begins texts."""
    if len(arguments) == 1:
        return [lm.prefix_token_id], lm.tok_encode(*arguments)
    context, continuation = arguments
    if context:
        context, continuation = lm._encode_pair(context, continuation)
    else:
        context, continuation = [lm.prefix_token_id], lm.tok_encode(continuation)
        if continuation[:1] == context:
            continuation = continuation[1:]
    whole = (context + continuation)[-(lm.max_length + 1) :]
    return whole[: -len(continuation)], continuation


def evaluate(lm, tasks, limit=None, errors=False):
    """Results and samples of the harness's evaluator. With `errors` also those standard errors that it has a formula
    for, and few resamples for the others."""
    return run(lm=lm, task_dict=tasks, limit=limit, log_samples=True, bootstrap_iters=100 if errors else 0)


def pages(text):
    """The pages of WikiText's raw text, as the data set of the harness has them: each begins at a line ` = Title = ` and has
    no line break at its end."""
    found = [[]]
    for line in text.split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            found.append([])
        found[-1].append(line)
    return [page for page in map("\n".join, found) if page.strip()]
