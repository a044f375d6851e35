"""Knowledge conflict: a context that says what the model would say anyway, against one that says something else.

Only the word for the answer differs between the two contexts, in one statement before the same question. What the model
says without it decides which is which, so the suite is handed a callable that answers; its items belong to that model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from pydantic import Field, field_validator

from probes.errors import InputError
from probes.suites.question import CHOICES, LETTERS, Question, same, slots_of
from probes.suites.shifts.shift_suite import Need, Rung, Shift, Stock, scattered, shift, subject_of
from probes.vocabulary.axes import AXES, Axis

AGREES: Final = "agrees"
CONTRADICTS: Final = "contradicts"
STATED: Final = "stated answer"


@shift("knowledge_conflict")
class KnowledgeConflict(Shift):
    """The same question after a statement of the model's own answer (``agrees``) or of another one (``contradicts``).

    The other answer is drawn from the choices of the item or the answers of its subject, and is neither the model's nor
    the right one. The target is what the statement says; the attributes ``own``, ``stated`` and ``right`` keep all
    three apart.

    Attributes:
        statement: what goes before the prompt; ``{answer}`` is what it states.
    """

    shift: Literal["knowledge_conflict"]
    statement: str = Field(default="The answer to the question below is {answer}.\n\n")

    @field_validator("statement")
    @classmethod
    def _states_something(cls, statement: str) -> str:
        if slots_of(statement) != ("answer",):
            raise ValueError("should name {answer} once and no other field")
        return statement

    @property
    def needs(self) -> frozenset[Need]:
        """Requirements: the model's own answers, and a token count if matched."""
        return super().needs | frozenset[Need]({"answer"})

    def ruler(self) -> Axis:
        """Two kinds of context."""
        return AXES["knowledge_conflict"]

    def rungs(self) -> tuple[Rung, ...]:
        """Agreement is home."""
        return Rung(AGREES, float("nan")), Rung(CONTRADICTS, float("nan"))

    def turn(self, question: Question, rung: Rung, draw: np.random.Generator, stock: Stock) -> Question:
        """The question after a statement."""
        own = _own_answer(question, stock)
        stated = own if rung.label == AGREES else _other(question, own, draw, stock)
        attrs = (("own", own), ("stated", stated), ("right", question.answer or ""))
        letters = {same(choice): letter for letter, choice in zip(LETTERS, question.choices, strict=False)}
        return replace(
            question,
            wording=self.statement.replace("{answer}", f"{{{STATED}}}") + question.wording,
            slots={**question.slots, STATED: stated, CHOICES: question.lettered()},
            # a model may answer what is no choice; then the words are expected, not a letter
            target=letters.get(same(stated), stated) if question.shows_choices else stated,
            choices=(),
            right=None,
            attrs=question.attrs + attrs,
        )


def _own_answer(question: Question, stock: Stock) -> str:
    answer = "" if stock.tools is None or stock.tools.answer is None else stock.tools.answer(question.text()).strip()
    if question.shows_choices and len(answer) == 1 and answer in LETTERS[: len(question.choices)]:
        return question.choices[LETTERS.index(answer)]
    if not answer:
        raise InputError(f"{question.place}: the model gives no answer, so no statement can contradict it")
    return answer


def _other(question: Question, own: str, draw: np.random.Generator, stock: Stock) -> str:
    pool = question.choices or stock.answers.get(subject_of(question), ())
    taken = {same(own), same(question.answer or "")}
    other = next((each for each in scattered(pool, draw) if same(each) not in taken), None)
    if other is None:
        raise InputError(f"{question.place}: no other answer to state; the pool of its subject has {len(pool)}")
    return other
