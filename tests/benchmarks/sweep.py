"""What a sweep costs beside the bare forward pass, and what a hundred thousand prompts cost beside a thousand.

Times are CPU times of one thread unless they say otherwise. Each measured pass stands between two bare ones and is
divided by their mean. The large sweep (100 000 prompts, a tiny model) runs in processes of its own, whose peak resident
memory is compared. The rows about resuming and reading use a finished run of 100 rows per prompt, written by the store
without a model.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from probes.capture.prompts import encode, pad
from probes.capture.reading import Reading
from probes.records import open_run
from probes.records.cells import Done
from probes.records.compaction import compact
from probes.records.rows import measurement_rows
from probes.records.store import Writer
from probes.sweep.execution.workers import Worker
from probes.sweep.inputs import open_model
from probes.sweep.interface import Options
from probes.sweep.items import example_rows
from probes.sweep.planning.surveys import survey
from probes.sweep.run import Pending, run_row, run_sweep, tasks
from probes.sweep.spec import SweepSpec, parse_spec
from sparsity import MetricSpec

TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
MANY_SITES = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_post", "final_norm"]  # of 2 layers
N_WORDS = 500
ITEMS_PER_COMMIT = 2000  # what 8 MB of rows are


def write_model(folder: Path, shape: dict[str, int]) -> str:
    """A random Llama whose tokens are the words w0 w1 ..., as a directory."""
    vocabulary = {"<unk>": 0, **{f"w{index}": index + 1 for index in range(N_WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=N_WORDS + 1, max_position_embeddings=256, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def write_spec(folder: Path, model: str, n_items: int, length: int, sites: list[str]) -> SweepSpec:
    """A sweep over prompts of equally many random words."""
    path = folder / f"items-{n_items}.jsonl"
    with path.open("w") as file:
        for item in range(n_items):
            words = " ".join(f"w{(item * 7919 + place * 104729) % N_WORDS}" for place in range(length))
            file.write(json.dumps({"id": str(item), "text": words}) + "\n")
    suite = {"file": str(path), "name": "words", "id": "id", "axis": "none"}
    content = {"models": [model], "suites": [suite], "sites": sites, "outcomes": [], "controls": "none"}
    return parse_spec(content, folder=folder)


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def throughput(folder: Path, rounds: int) -> str:
    """Forward passes with metrics and store, as a fraction of the speed of the passes alone."""
    spec = write_spec(folder, write_model(folder / "llama", LLAMA), 16, 128, ["resid_post", "final_norm"])
    (plan,), model = survey(spec, folder / "none", Options(batch_size=8))
    assert model is not None
    prompts = [encode(model, item.example.text) for item in plan.items]
    padded = [pad(prompts[start : start + 8], model.pad_id) for start in (0, 8)]

    def bare() -> None:
        for batch in padded:
            model.run(batch)

    def sweep() -> None:
        worker = Worker(spec, "cpu", (spec.models[0], model))
        with tempfile.TemporaryDirectory() as out, Writer.open(Path(out)) as writer:
            pending = Pending(writer)
            for task in tasks(plan):
                pending.add(worker.rows(task))
            pending.flush()

    bare()
    ratios: list[float] = []
    before = cpu_seconds(bare)
    for _ in range(rounds):
        there, after = cpu_seconds(sweep), cpu_seconds(bare)
        ratios.append((before + after) / 2 / there)
        before = after
    return (
        f"{statistics.median(ratios):6.3f}  [{min(ratios):.3f} {max(ratios):.3f}]  speed with metrics and store "
        "over bare, 12 x 768, 8 x 128, last token (>= .95)"
    )


def swept(spec: SweepSpec, out: str) -> float:
    """Peak resident MB of a process that runs a sweep."""
    torch.set_num_threads(1)
    run_sweep(spec, Path(out))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def planned(spec: SweepSpec, out: str) -> float:
    """CPU seconds of a survey, the loading of the model not counted."""
    torch.set_num_threads(1)
    loading = cpu_seconds(lambda: open_model(spec.models[0], "cpu"))
    return cpu_seconds(lambda: survey(spec, Path(out), Options())) - loading


def timed(spec: SweepSpec, out: str, workers: int) -> float:
    """Seconds by the clock between the first and the last batch, workers being up already."""
    torch.set_num_threads(1)
    moments: list[tuple[float, int]] = []
    run_sweep(
        spec,
        Path(out),
        Options(workers=workers, batch_size=8),
        on_progress=lambda progress: moments.append((time.perf_counter(), progress.n_done)),
    )
    start = moments[len(moments) // 4]
    return (moments[-1][0] - start[0]) / (moments[-1][1] - start[1])


def in_own_process(function: Callable[..., float], *arguments: object) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def in_one_that_has_workers(function: Callable[..., float], *arguments: object) -> float:
    """Pool processes may not have children of their own; this one may."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=_answer, args=(answers, function, arguments))
    process.start()
    process.join()
    return answers.get()


def _answer(answers, function: Callable[..., float], arguments: tuple[object, ...]) -> None:
    answers.put(function(*arguments))


def finished(spec: SweepSpec, out: Path) -> int:
    """Write the directory that the sweep would have left, with values of no meaning; how many rows it has."""
    (plan,), model = survey(spec, out, Options())
    assert model is not None
    (whole,) = {batch.block for batch in plan.batches}
    names = [str(MetricSpec.parse(name)) for name in whole.metrics]
    ids = plan.items.example_ids.to_pylist()
    rng = np.random.default_rng(0)
    n_rows = 0
    with Writer.open(out) as writer:
        writer.commit({"examples": example_rows(plan.suite, plan.items)})
        writer.commit({"runs": run_row(spec, plan, "done")})
        for start in range(0, len(ids), ITEMS_PER_COMMIT):
            own = ids[start : start + ITEMS_PER_COMMIT]
            item = np.arange(len(own), dtype=np.int32)
            shape = (len(own), len(names))
            readings = [
                Reading(
                    site=site,
                    position="last",
                    unit=-1,
                    basis="raw",
                    item=item,
                    token=item,
                    values=rng.random(shape, dtype=np.float32),
                    n_undefined=np.zeros(shape, dtype=np.int32),
                )
                for site in plan.run.sites
            ]
            rows = measurement_rows(readings, run_id=plan.run.run_id, example_ids=own, metrics=names)
            writer.commit({"measurements": rows}, [Done(plan.run.run_id, tuple(own), whole)])
            n_rows += rows.num_rows
    return n_rows


def main(rounds: int = 5, n_many: int = 100_000) -> None:
    """Print the rows of the issue."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(throughput(folder, rounds), flush=True)
        # 64 prompts are eight batches, of which a straggler is an eighth: they gave 1.57 where 256 gave 1.96
        spec = write_spec(folder, str(folder / "llama"), 256, 128, ["resid_post"])
        one, two = (in_one_that_has_workers(timed, spec, str(folder / f"w{n}"), n) for n in (1, 2))
        print(f"{one / two:6.3f}  speed of 2 workers over 1, one thread each, by the clock (>= 1.7)", flush=True)
        for line in of_many(folder, n_many):
            print(line, flush=True)


def of_many(folder: Path, n_many: int) -> Iterator[str]:
    """The rows about many prompts and many rows."""
    tiny = write_model(folder / "tiny", TINY)
    few, many = (write_spec(folder, tiny, n, 16, ["resid_post"]) for n in (1000, n_many))
    seconds = in_own_process(planned, many, str(folder / "none"))
    yield f"{seconds:6.2f} s  planning {n_many} items: reading, sizing, cutting into batches (<= 5)"
    low, high = (in_own_process(swept, spec, str(folder / f"swept-{spec is many}")) for spec in (few, many))
    yield f"{high / low:6.3f}  peak memory of {n_many} prompts over 1000 ({high:.0f} / {low:.0f} MB) (<= 1.05)"
    wide, out = write_spec(folder, tiny, n_many, 16, MANY_SITES), folder / "finished"
    n_rows = finished(wide, out)
    scan = in_own_process(planned, wide, str(out))
    yield f"{scan:6.2f} s  resuming a finished run of {n_rows} rows: planning and scan (<= 5)"
    read = {"suite": "words", "site": "resid_post", "metric": "hoyer"}
    before = cpu_seconds(lambda: open_run(out).measurements(**read))
    joining = cpu_seconds(lambda: compact(out))
    after = cpu_seconds(lambda: open_run(out).measurements(**read))
    yield f"{before:6.2f} s  reading suite + site + metric of them; {after:.2f} s once compacted (in {joining:.0f} s)"


if __name__ == "__main__":
    main()
