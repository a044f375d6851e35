"""Members of categories as a model read them: a row per item and category, the mean over the sentences it stood in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses.data.panels import lineage, model_labels
from analyses.data.runs import KeepsStates, Run, facts
from probes.errors import InputError
from probes.records.stored_states import StoredPlace
from probes.suites.concepts import MEMBER
from probes.vocabulary.names import RAW

AXIS: Final = "typicality"
POSITIONS: Final = ("answer", "mean", "last")
FEWEST: Final = 12  # members, below which nothing is asked
ATTRS: Final = ("norms", "category", "item", "role", "frequency", "template")
MEASURED: Final = ("n_item_tokens", "bits_per_byte")


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Members of the categories of one set of norms, as one model read them.

    Attributes:
        model: as the report calls it.
        suite: of the items.
        norms: the set of norms.
        step: of the checkpoint; NaN where there is none.
        training: the training that the checkpoint is of.
        run_id: the run.
        items: one row per item and category, in the order of the norms: item, category (a name), typicality, frequency,
            n_item_tokens, item_bytes and bits_per_byte; NaN where a number is not known.
        sentence: row of ``items`` by example, one entry per sentence.
        template: number of its sentence by example.
        n_missing: members that could not be read, or have no rating.
        n_alike: members that the tokenizer writes as it writes another one (as unknown words, say); they are left out.
    """

    model: str
    suite: str
    norms: str
    step: float
    training: str
    run_id: str
    items: pd.DataFrame
    sentence: pd.Series
    template: pd.Series
    n_missing: int
    n_alike: int

    @property
    def categories(self) -> Int[np.ndarray, " items"]:
        """Category of every item, as a number."""
        return pd.factorize(self.items["category"])[0].astype(np.int64)

    @property
    def typicality(self) -> Float[np.ndarray, " items"]:
        """Larger is more typical; NaN where people did not rate it."""
        return self.items["typicality"].to_numpy(np.float64)

    def mean(self, examples: pd.Index, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "items k"]:
        """Mean over sentences of numbers by example; NaN for an item that has none."""
        return over_sentences(self.by_sentence(examples, values))

    def by_sentence(
        self, examples: pd.Index, values: Float[np.ndarray, "n k"]
    ) -> Float[np.ndarray, "sentences items k"]:
        """The same numbers of each sentence apart; NaN where an item lacks one."""
        row = self.sentence.reindex(examples).to_numpy(np.float64)
        template = self.template.reindex(examples).to_numpy(np.float64)
        known = np.isfinite(row)
        found = np.full((int(self.template.max()) + 1, len(self.items), values.shape[1]), np.nan)
        found[template[known].astype(np.int64), row[known].astype(np.int64)] = values[known]
        return found


def over_sentences(values: Float[np.ndarray, "sentences items k"]) -> Float[np.ndarray, "items k"]:
    """Mean over the sentences in which an item was read; NaN where there is none."""
    known = np.isfinite(values).all(axis=-1, keepdims=True)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def read_members(run: Run) -> list[Members]:
    """Members of every set of norms that a sweep asked a model about, checkpoints of a training in their order."""
    runs, examples = run.runs(), run.examples()
    own = examples[examples["axis"].astype(str) == AXIS].drop_duplicates("example_id")
    if own.empty or "attrs" not in own:
        return []
    told = pd.DataFrame([facts(str(attrs)) for attrs in own["attrs"]], index=own.index)
    if "role" not in told or "norms" not in told:
        return []
    own = own.assign(**{name: told.get(name) for name in ATTRS})
    own = own[own["role"] == MEMBER]
    labels = model_labels(runs)
    found: list[Members] = []
    wanted = runs[runs["suite"].isin(list(own["suite"].astype(str).unique()))]
    for label, (_, of_run) in zip(labels[wanted.index], wanted.iterrows(), strict=True):
        read = _numbers(run, str(of_run["run_id"]))
        asked = own["example_id"].astype(str).isin(read.index.union(_failed(run, str(of_run["run_id"]))))
        of_suite = own[asked & (own["suite"].astype(str) == str(of_run["suite"]))]
        for norms, rows in of_suite.groupby("norms", sort=False):
            found.append(_members(of_run, str(label), str(norms), rows, read))
    return sorted(found, key=lambda one: (one.training, one.suite, one.step if math.isfinite(one.step) else -1.0))


def last_ones(several: Sequence[Members]) -> list[Members]:
    """Of the checkpoints of one training only the last; what has no step stands alone."""
    last: dict[tuple[str, str, str], float] = {}
    for own in several:
        key = own.training, own.suite, own.norms
        last[key] = max(last.get(key, -math.inf), own.step if math.isfinite(own.step) else -math.inf)
    return [
        own for own in several if not math.isfinite(own.step) or own.step == last[own.training, own.suite, own.norms]
    ]


def _members(of_run: pd.Series, model: str, norms: str, rows: pd.DataFrame, read: pd.DataFrame) -> Members:
    table = rows.set_index("example_id").join(read, how="inner")
    keys = ["category", "item"]
    table = table.assign(
        frequency=pd.to_numeric(table["frequency"], errors="coerce"),
        item_bytes=[float(len(str(item).encode())) for item in table["item"]],
    )
    table = table.assign(bits_per_byte=table["bits"] / table["item_bytes"])
    spelled = [str(spelling) for spelling in table["spelling"]]
    alike = table["item"].str.lower().groupby(spelled).transform("nunique") > 1
    n_alike = len(table[alike].drop_duplicates(["category", "item"]))
    table = table[~alike]
    items = table.groupby(keys, sort=False)[["level", "frequency", "n_item_tokens", "item_bytes", "bits_per_byte"]]
    first = items.mean().reset_index().rename(columns={"level": "typicality"})
    at = pd.MultiIndex.from_frame(first[keys]).get_indexer(pd.MultiIndex.from_frame(table[keys]))
    asked = len(rows.drop_duplicates(keys))
    return Members(
        model=model,
        suite=str(of_run["suite"]),
        norms=norms,
        step=float(of_run["step"]) if pd.notna(of_run["step"]) else math.nan,
        training=lineage(str(of_run["model"])),
        run_id=str(of_run["run_id"]),
        items=first,
        sentence=pd.Series(at, index=table.index, dtype=np.float64),
        template=pd.Series(pd.factorize(table["template"])[0], index=table.index, dtype=np.float64),
        n_missing=asked - n_alike - int(np.isfinite(first["typicality"].to_numpy(np.float64)).sum()),
        n_alike=n_alike,
    )


def _numbers(run: Run, run_id: str) -> pd.DataFrame:
    """Tokens of the item itself, how many, and its code length in bits, by example."""
    inputs = run.inputs()
    own = inputs[inputs["run_id"].astype(str) == run_id].drop_duplicates("example_id").set_index("example_id")
    whole: list[Sequence[int]] = [() if ids is None else list(ids) for ids in own["token_ids"]]
    ends = own["n_tokens"].astype(int).tolist()
    spelling = [tuple(ids[end:]) for ids, end in zip(whole, ends, strict=True)]
    tokens = pd.Series([float(len(ids)) for ids in spelling], index=own.index, dtype=np.float64)
    told = run.outcomes()
    rows = told[(told["run_id"].astype(str) == run_id) & (told["name"].astype(str) == "nll")]
    nats = rows.drop_duplicates("example_id").set_index("example_id")["value"].astype(np.float64).reindex(own.index)
    return pd.DataFrame({"n_item_tokens": tokens, "bits": nats * tokens / math.log(2), "spelling": spelling})


def _failed(run: Run, run_id: str) -> pd.Index:
    """Examples that the run could not read; what a sweep holds for other models is nothing that it was asked."""
    failures = run.failures()
    return pd.Index(failures.loc[failures["run_id"].astype(str) == run_id, "example_id"].astype(str))


def places_of(keeper: KeepsStates) -> list[StoredPlace]:
    """Places whose vectors are kept at one position, that of the items' own tokens first, by depth."""
    kept = keeper.stored_states()
    position = next((name for name in POSITIONS if any(own.position == name for own in kept)), None)
    return sorted((own for own in kept if own.position == position), key=lambda own: (own.layer, own.site))


def vectors_at(
    keeper: KeepsStates, run: Run, where: StoredPlace, several: Sequence[Members]
) -> Iterator[tuple[Members, Float[np.ndarray, "sentences items width"]]]:
    """The vectors of some members at one place, a matrix per sentence, read once for all of one run.

    Nothing is given of a run that keeps none there.
    """
    names = run.runs().astype({"run_id": str}).set_index("run_id")["model"].astype(str)
    for run_id in dict.fromkeys(own.run_id for own in several):
        mine = [own for own in several if own.run_id == run_id]
        suite, model = [mine[0].suite], [str(names[run_id])]
        try:
            keys, vectors = keeper.states(
                where.site, layer=where.layer, position=where.position, suite=suite, model=model
            )
        except InputError:  # of models beside each other, one has layers that another has not
            continue
        rows = (keys["run_id"].astype(str) == run_id).to_numpy()
        examples = pd.Index(keys.loc[rows, "example_id"].astype(str))
        for own in mine:
            yield own, own.by_sentence(examples, vectors[rows])


def sparsity_of(run: Run, members: Members, metric: str, where: StoredPlace) -> Float[np.ndarray, " items"]:
    """A measure of every member at one place, the mean over its sentences; NaN where it was not measured."""
    rows = run.measurements(suite=[members.suite])
    own = rows[
        (rows["run_id"].astype(str) == members.run_id)
        & (rows["site"].astype(str) == where.site)
        & (rows["layer"] == where.layer)
        & (rows["position"].astype(str) == where.position)
        & (rows["metric"].astype(str) == metric)
        & (rows["unit"] == -1)
        & (rows["basis"].astype(str) == RAW)
    ]
    return members.mean(pd.Index(own["example_id"].astype(str)), own[["value"]].to_numpy(np.float64))[:, 0]
