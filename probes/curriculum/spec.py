"""A comparison of ways to choose solved examples, as its YAML says it: models, data, scores and arms.

Keys that a sweep has too mean the same there. An arm is a retrieval (which examples come first for a question), a rule
(:mod:`probes.curriculum.policies`) and, for most rules, a score. All arms ask the same questions in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from probes.curriculum.policies import POLICIES, Policy
from probes.curriculum.retrieval import Retrieval
from probes.errors import InputError
from probes.familiarity.entry import FamiliarityEntry
from probes.models.templates import Template, chat_of
from probes.suites.shifts.shift_suite import Shift
from probes.sweep.spec import ModelEntry, Names, SweepSpec, parse_spec
from probes.sweep.specification import yaml12
from probes.sweep.specification.suite_entries import SuiteEntry
from probes.sweep.specification.validation import checked, mapping, nearest, refuse_unknown, validate
from probes.vocabulary.outcomes import CHOICE_OUTCOMES
from probes.vocabulary.sites import Site
from sparsity.registry import UnknownNameError
from sparsity.specs import MetricSpec

SPARSITY, FAMILIARITY, DIFFICULTY, ORACLE = "sparsity", "familiarity", "difficulty", "answer_loss"
SCORES: Final = {
    SPARSITY: "sparsity of the state at the first place under `sparsity`; sparser counts as harder",
    "loss": "mean nats per token of the question's text",
    "entropy": "entropy of the prediction after the question, nats",
    FAMILIARITY: "the first measure under `familiarity`; less familiar counts as harder",
    DIFFICULTY: "the level that the data state",
    "length": "tokens of the question",
    "random": "drawn: a score without meaning",
    ORACLE: "mean nats per token of the right answer, which no rule could know of a test question",
}
MEASURED: Final = ("sparsity", "loss", "entropy", "length")
GRADES: Final = (*(name for name in CHOICE_OUTCOMES if name.startswith("choice_correct")), "correct")
Grade = Literal["auto", "choice_correct", "choice_correct_per_byte", "choice_correct_by_letter", "correct"]
AT: Final = " at "


class Measured(NamedTuple):
    """A measure of sparsity at a site of one layer, written ``hoyer at final_norm``.

    >>> str(Measured.parse("top_k_energy(.1) at resid_post.3"))
    'top_k_energy(0.1) at resid_post.3'
    """

    metric: MetricSpec
    site: str

    @classmethod
    def parse(cls, text: str) -> Measured:
        """Read what ``str`` writes.

        Raises:
            InputError: if there is no such measure or site, the site names no layer, or the measure is one of size.
        """
        metric, at, site = text.partition(AT)
        if not at:
            raise InputError(f"a place of sparsity is written like 'hoyer at final_norm' and is {text!r}")
        try:
            found = cls(MetricSpec.parse(metric), str(Site.parse(site, n_layers=0)))
        except (UnknownNameError, ValueError) as error:
            raise InputError(f"sparsity {text!r}: {error}") from None
        if found.metric.record.sparser is None:
            raise InputError(f"sparsity {text!r}: {metric} measures size, not sparsity; name another measure")
        return found

    def __str__(self) -> str:
        return f"{self.metric}{AT}{self.site}"


class Arm(BaseModel):
    """One way to choose and order solved examples.

    Attributes:
        name: as tables call it.
        policy: the rule: ``nearest``, ``nearest_first``, ``matched``, ``easy_to_hard``, ``hard_to_easy``, ``paper`` or
            ``paper_as_run``.
        score: what levels are made of: ``sparsity``, a place such as ``gini at resid_post.3``, ``loss``, ``entropy``,
            ``familiarity``, ``difficulty``, ``length``, ``random`` or ``answer_loss``.
        retrieval: ``none``, ``fixed``, ``bm25`` or ``states``; by default that of the spec.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[^/]+$", max_length=60)]
    policy: str = "matched"
    score: str | None = None
    retrieval: Retrieval | None = None

    @property
    def rule(self) -> Policy:
        """The rule itself."""
        return POLICIES[self.policy]


ARMS: Final[Mapping[str, Arm]] = {
    arm.name: arm
    for arm in (
        Arm(name="random", policy="nearest", retrieval="none"),
        Arm(name="fixed", policy="nearest", retrieval="fixed"),
        Arm(name="similarity", policy="nearest"),
        Arm(name="similarity_reversed", policy="nearest_first"),
        *(Arm(name=name, score=name) for name in (*MEASURED, FAMILIARITY, DIFFICULTY)),
        Arm(name="shuffled", score="random"),
        *(
            Arm(name=f"{score}_{policy}", policy=policy, score=score)
            for score in (SPARSITY, DIFFICULTY)
            for policy in ("easy_to_hard", "hard_to_easy", "paper", "paper_as_run")
        ),
        Arm(name="oracle", score=ORACLE),
    )
}
USUAL: Final = (
    *("random", "similarity", "similarity_reversed", *MEASURED, "shuffled"),
    *(f"sparsity_{policy}" for policy in ("easy_to_hard", "hard_to_easy", "paper", "paper_as_run")),
    "oracle",
)


def _ascending(counts: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(counts)) != len(counts):
        raise ValueError("a number of examples is named twice; name it once")
    return counts


def _counts(value: object) -> object:
    return [value] if isinstance(value, int) else value


class CurriculumSpec(BaseModel):
    """Models, data, scores and arms of a comparison.

    Attributes:
        models: models as in a sweep; ``{name: ..., template: chat}`` asks one of them in its chat template.
        pool: the data that solved examples are drawn from; an entry as under ``suites`` of a sweep.
        questions: the data that is asked; by default other items of the pool's data.
        n_pool: items of the pool.
        n_questions: test items, the same for every arm and pool; by default up to 1,000, and so many that every pool
            can have items of its own.
        seeds: how many pools are drawn.
        pools_per_question: with how many of them each question is asked, in turn; by default with all. For the same
            number of prompts more questions with one pool each say more than fewer with every pool.
        k: numbers of solved examples; the first is the one that answers are about, the others draw a curve.
        sparsity: measures at a site of one layer, such as ``hoyer at final_norm``. The first is pre-stated; each of the
            others is an arm of matched levels.
        position: the token whose state is scored: ``last`` or ``mean``.
        familiarity: measures of familiarity as in a sweep; the first is the score ``familiarity``.
        arms: arms by name, or with keys of their own; by default all usual ones that the data allow.
        retrieval: of arms that name none: ``bm25`` (shared words) or ``states`` (nearest states).
        retrieval_site: where states are compared.
        near: so many of the nearest examples are candidates of a rule.
        levels: how many levels a score is cut into at most.
        grade: the outcome that says whether an answer is right; ``auto``: the right letter where letters are listed,
            the likeliest choice where there are choices, else the exact answer by greedy decoding.
        gap: text between solved examples; in a chat template they are turns instead.
        template: see the spec of a sweep; the same for ``bos``, ``answer_prefix`` and ``special_tokens``.
        bos: see there.
        answer_prefix: see there.
        special_tokens: see there.
        seed: of which items are asked and which pools are drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    pool: SuiteEntry
    questions: SuiteEntry | None = None
    n_pool: int = Field(default=200, ge=1)
    n_questions: int | None = Field(default=None, ge=1)
    seeds: int = Field(default=3, ge=1)
    pools_per_question: int | None = Field(default=None, ge=1)
    k: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        BeforeValidator(_counts),
        Field(min_length=1),
        AfterValidator(_ascending),
    ] = (2,)
    sparsity: Names = ("hoyer at final_norm",)
    position: Literal["last", "mean"] = "last"
    familiarity: FamiliarityEntry | None = None
    arms: tuple[Arm, ...] | None = None
    retrieval: Literal["bm25", "states"] = "bm25"
    retrieval_site: str = "final_norm"
    near: int = Field(default=20, ge=1)
    levels: int = Field(default=5, ge=2)
    grade: Grade = "auto"
    gap: str = "\n\n"
    template: Template = "none"
    bos: Literal["auto", "add", "none"] = "auto"
    answer_prefix: str = "auto"
    special_tokens: Literal["control", "text"] = "control"
    seed: int = Field(default=0, ge=0)

    def places(self) -> tuple[Measured, ...]:
        """The places of sparsity, the pre-stated one first."""
        return tuple(map(Measured.parse, self.sparsity))

    def chats(self, entry: ModelEntry) -> bool:
        """True where a model is asked in its chat template."""
        return chat_of(entry.template if entry.template is not None else self.template) is not None

    def model_names(self) -> tuple[str, ...]:
        """A short name for each model, as a sweep gives it."""
        return self.sweep([{"name": "none"}], self.models).model_names()

    def asked_arms(self, *, levels_differ: bool) -> tuple[Arm, ...]:
        """The arms that are asked for, each with its retrieval.

        Args:
            levels_differ: whether the data state more than one level.
        """
        if self.arms is not None:
            found = list(self.arms)
        else:
            usual = [*USUAL, *([DIFFICULTY] if levels_differ else []), *([FAMILIARITY] if self.familiarity else [])]
            found = [ARMS[name] for name in usual]
            found += [Arm(name=place, score=place) for place in self.sparsity[1:]]
        return tuple(
            arm if arm.retrieval is not None else arm.model_copy(update={"retrieval": self.retrieval}) for arm in found
        )

    def sweep(self, suites: list[Any], models: tuple[ModelEntry, ...], **more: object) -> SweepSpec:
        """A sweep that reads texts as this comparison does."""
        return validate(
            SweepSpec,
            {
                "models": models,
                "suites": suites,
                "controls": "none",
                "template": self.template,
                "bos": self.bos,
                "answer_prefix": self.answer_prefix,
                "special_tokens": self.special_tokens,
                "seed": self.seed,
                **more,
            },
            "curriculum",
        )

    def to_yaml(self) -> str:
        """The spec as a file that gives the same comparison."""
        return yaml12.dump(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def load_curriculum(path: Path, changes: Mapping[str, Any] | None = None) -> CurriculumSpec:
    """Read and resolve the file of a comparison.

    Raises:
        InputError: if it cannot be read, has an unknown key, or a value of the wrong kind.
    """
    content = {**yaml12.read(path), **(changes or {})}
    return parse_curriculum(content, folder=path.resolve().parent, origin=str(path))


def parse_curriculum(raw: object, *, folder: Path, origin: str = "curriculum") -> CurriculumSpec:
    """Validate the spec of a comparison and resolve its paths.

    Raises:
        InputError: on the first thing wrong with it.
    """
    fields = mapping(raw, origin)
    refuse_unknown(fields, CurriculumSpec, origin)
    if "pool" not in fields:
        raise InputError(f"{origin}: pool should say where solved examples are drawn from, an entry as under `suites`")
    sources = [fields[key] for key in ("pool", "questions") if fields.get(key) is not None]
    shared = {key: fields[key] for key in ("models", "familiarity", "template") if key in fields}
    suites = [{**mapping(source, origin)} if not isinstance(source, str) else source for source in sources]
    resolved = parse_spec({**shared, "suites": suites}, folder=folder, origin=origin)
    if any(isinstance(entry, Shift) for entry in resolved.suites):
        raise InputError(f"{origin}: pool and questions should be data as they are, not a shift of them")
    entries = {
        **fields,
        "models": resolved.models,
        "familiarity": resolved.familiarity,
        **dict(zip(("pool", "questions"), resolved.suites, strict=False)),
    }
    if fields.get("arms") is not None:
        entries["arms"] = [_arm(entry, origin) for entry in fields["arms"]]
    spec = validate(CurriculumSpec, entries, origin)
    spec = spec.model_copy(update={"sparsity": tuple(map(str, spec.places()))})
    _refuse_contradictions(spec, origin)
    return spec


def _arm(entry: object, origin: str) -> Arm:
    """An arm by name or by its keys."""
    if not isinstance(entry, str):
        return checked(Arm, entry, f"{origin}: arms")
    if AT in entry:
        return Arm(name=entry, score=str(Measured.parse(entry)))
    if entry not in ARMS:
        raise InputError(f"{origin}: unknown arm {entry!r}{nearest(entry, tuple(ARMS))}; known: {', '.join(ARMS)}")
    return ARMS[entry]


def _refuse_contradictions(spec: CurriculumSpec, origin: str) -> None:
    """Refuse what no pool could satisfy."""
    most = max(spec.k)
    if spec.n_pool < most:
        raise InputError(f"{origin}: k is {most} and n_pool {spec.n_pool}; a pool holds at least k items")
    if (spec.pools_per_question or 1) > spec.seeds:
        raise InputError(f"{origin}: pools_per_question is {spec.pools_per_question} and seeds {spec.seeds}, all pools")
    if spec.near < most:
        raise InputError(f"{origin}: k is {most} and near {spec.near}; a rule needs at least k candidates")
    arms = spec.asked_arms(levels_differ=True)
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{origin}: two arms are called {twice!r}; give each a name of its own")
    places = tuple(map(str, spec.sparsity))
    for arm in arms:
        if arm.policy not in POLICIES:
            raise InputError(f"{origin}: arm {arm.name!r}: unknown policy {arm.policy!r}; known: {', '.join(POLICIES)}")
        if arm.rule.scored != (arm.score is not None):
            lacks = "needs a score" if arm.rule.scored else "knows no score"
            raise InputError(f"{origin}: arm {arm.name!r}: policy {arm.policy} {lacks}")
        if arm.score == FAMILIARITY and spec.familiarity is None:
            raise InputError(f"{origin}: arm {arm.name!r} needs measures of familiarity; add the key `familiarity`")
        if arm.score is not None and arm.score not in (*SCORES, *places):
            raise InputError(
                f"{origin}: arm {arm.name!r}: unknown score {arm.score!r}{nearest(arm.score, (*SCORES, *places))}; "
                f"known: {', '.join((*SCORES, *places))}"
            )
