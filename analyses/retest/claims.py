"""The claims of the compression view as data: what is said, by whom, what would speak for it and what against.

A claim is no more than a reference to pre-stated answers. It names the questions (`sparsity list analyses`) whose
findings decide it and the axes they must be about, and never decides anything of its own: a claim is supported where
every answer supports it, contradicted where one does and none supports it, and undecided otherwise
(:mod:`analyses.retest.judgements`). A question that is not installed leaves its claim not run.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from probes.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        name: by which it is asked for.
        sentence: what is claimed, in plain words.
        source: who says so, with the figure that they give.
        supports: what counts as support.
        contradicts: what counts as contradiction.
        questions: the questions whose pre-stated answers decide.
        axes: which of their answers do, by the axis of the suite; all where there are none.
        metrics: names of what is measured, where the claim is about answers that their question does not state first; a
            secondary answer supports only where it is significant after correction.
        controls: what each answer holds fixed or stands beside.
        trials: what is run for it (:mod:`analyses.retest.trials`); a model is asked those that it can read.
    """

    name: str
    sentence: str
    source: str
    supports: str
    contradicts: str
    questions: tuple[str, ...]
    axes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    controls: tuple[str, ...]
    trials: tuple[str, ...]


CLAIMS: Final = (
    Claim(
        name="modalities",
        sentence="A model of text compresses pictures and sound better than their own codecs.",
        source="arXiv:2309.10668, Table 1: Chinchilla 70B needs 48.0 % of image patches and 21.0 % of speech, "
        "PNG 58.5 % and FLAC 30.3 %",
        supports="fewer bytes than the best codec of each kind, on the same chunks, each stream read again",
        contradicts="more bytes than the best codec of one kind, and of none fewer",
        questions=("rates",),
        controls=("random bytes", "general compressors", "bytes of the weights"),
        trials=("rates",),
    ),
    Claim(
        name="generalisation",
        sentence="Compression is generalisation: models with shorter code answer better.",
        source="arXiv:2404.09937: scores of 31 models on 12 benchmarks are almost linear in bits per character",
        supports="over models or checkpoints, the code of some items is shorter where more of the others are right",
        contradicts="it is longer there",
        questions=("generalisation",),
        controls=("other items than those answered", "seeds of training as clusters"),
        trials=("checkpoints",),
    ),
    Claim(
        name="learning",
        sentence="Optimal learning makes the contributions of examples more equal.",
        source="arXiv:2402.17759: 5.50 times (perceptron) and 2.41 times (transformer) as fast",
        supports="contributions are more alike under the policy that minimises the area under the loss",
        contradicts="they are less alike",
        questions=("contributions",),
        controls=("uniform weights with a tuned step size", "held-out examples", "a shuffled policy"),
        trials=("learning",),
    ),
    Claim(
        name="concepts",
        sentence="Models compress concepts harder than people do.",
        source="arXiv:2505.17117: broad categories kept, graded typicality lost",
        supports="regret: on sentences left out, people's categories lie more than a tenth of the way from the best "
        "partition found of no greater entropy to random clusters of their sizes",
        contradicts="less than a tenth",
        questions=("concepts",),
        metrics=("regret",),
        controls=("random partitions of the same sizes", "word frequency", "number of tokens"),
        trials=("concepts",),
    ),
    Claim(
        name="limits",
        sentence="Text strips what it is about of physics, geometry and causality.",
        source="the compression view; no figure is given",
        supports="questions about the world are answered worse than questions about the words of the same stories",
        contradicts="they are answered better",
        questions=("limits",),
        axes=("geometric", "physical", "causal"),
        controls=("the same story, choices and length", "entropy", "loss of the answer"),
        trials=("stories",),
    ),
    Claim(
        name="exposure",
        sentence="Density is learned by exposure: facts that training presented more often have denser states.",
        source="arXiv:2603.03415, learning dynamics: top-5 % energy .2726 in training, .2744 out of it at step 5,000",
        supports="Hoyer after the final norm falls with the number of presentations",
        contradicts="it rises",
        questions=("familiarity",),
        axes=("exposure",),
        controls=("length and names equal by design", "the Gaussian null", "paired trainings of another optimizer"),
        trials=("facts",),
    ),
    Claim(
        name="shift",
        sentence="Hidden states get sparser under shift.",
        source="arXiv:2603.03415: top-10 % energy .521 at level 1 and .540 at level 5 of MATH-500, r .90 of five means",
        supports="Hoyer after the final norm rises with every kind of shift, also adjusted for length",
        contradicts="it falls with one and rises with none",
        questions=("familiarity", "domains"),
        axes=("typos", "character_noise", "word_order", "said_before", "phrasing"),
        controls=("length", "the same text or fact unshifted", "the Gaussian null", "correction over suites"),
        trials=("noise", "changed_facts"),
    ),
    Claim(
        name="decoder",
        sentence="A retrieval distribution fits into a small decoder.",
        source="arXiv:2508.09874: GPT-2 small on WikiText-103, perplexity 24.89 alone and 13.36 with the decoder",
        supports="the small model that was taught the datastore needs fewer bits than the same one without it",
        contradicts="it needs more bits than the same one without it",
        questions=("decoder",),
        controls=("the same small model trained on the texts alone", "kNN-LM itself", "counts of the corpus"),
        trials=("memory", "memory_small"),
    ),
)


def named(names: Sequence[str]) -> tuple[Claim, ...]:
    """Claims by name, in the order of the table; all of them where none is named.

    >>> [claim.name for claim in named(["shift", "limits"])]
    ['limits', 'shift']

    Raises:
        InputError: if there is none of a name; suggests the nearest.
    """
    known = [claim.name for claim in CLAIMS]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"no claim is called {name!r}; {hint}")
    return tuple(claim for claim in CLAIMS if claim.name in names or not names)
