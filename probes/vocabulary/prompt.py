"""A prompt as a model reads it: token ids, and which of them are the item's text.

Every selector of positions and every reading is about these ids. How a text becomes them is said in
:mod:`probes.capture.prompts`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the model reads it.

    Attributes:
        ids: token ids: the prompt, then the target if there is one.
        n_special: number of special tokens at the beginning (a BOS, say).
        truncated: whether the text was cut for the sake of ``max_tokens``.
        char_starts: where each token begins in the item's text (target included); -1 for special tokens, tokens of a
            chat template, and where the tokenizer cannot say.
        target_start: index of the first target token, None without a target.
        choices: what else could follow, or stand in its place, and which is right.
        span: first token of the item's text and one past its last; None: everything behind the special tokens at the
            beginning. Chat templates and special tokens at the end are not text.
        chars: first character of the item's text that these tokens stand for, and one past the last; None where that
            is not known (token ids, a template that rewrites the text).
        joint: what stands between the item's text and its target.
        n_control: how many special tokens the text itself spells out.
        skip_first: so many tokens at the beginning of the sequence are in no mean over tokens, nor in ``all``.
    """

    ids: tuple[int, ...]
    n_special: int
    truncated: bool
    char_starts: tuple[int, ...]
    target_start: int | None
    choices: Choices | None = None
    span: tuple[int, int] | None = None
    chars: tuple[int, int] | None = None
    joint: str = ""
    n_control: int = 0
    skip_first: int = 0

    @property
    def end(self) -> int:
        """Number of prompt tokens, chat template included, the target not counted."""
        return len(self.ids) if self.target_start is None else self.target_start

    @property
    def text(self) -> range:
        """The tokens of the item's text: what familiarity and code lengths are about."""
        return range(self.n_special, self.end) if self.span is None else range(*self.span)

    @property
    def content(self) -> range:
        """The tokens of the item's text that something precedes: what ``mean`` is about.

        The first token of a sequence is left out whatever it is. Nothing precedes it, so heads that look for nothing
        look at it, and models without a BOS turn whatever word stands there into their attention sink.
        """
        return self._counted(range(max(self.text.start, 1), max(self.text.stop, 1)))

    @property
    def each(self) -> range:
        """The tokens of the item's text that are measured one by one: what ``all`` is about."""
        return self._counted(self.text)

    @property
    def whole(self) -> range:
        """The prompt with its template, its first token and special tokens at its beginning left out."""
        return self._counted(range(min(max(self.n_special, 1), self.end), self.end))

    def _counted(self, tokens: range) -> range:
        """The same without the first tokens of the sequence, as many as ``skip_first`` says."""
        return range(min(max(tokens.start, self.skip_first), tokens.stop), tokens.stop)


@dataclass(frozen=True, slots=True)
class Choices:
    """Answers that are compared by how likely the model finds them. Made by :mod:`probes.capture.choices`.

    Attributes:
        right: index of the right one.
        texts: each answer as the target of the prompt (or from its second token on, where it stands in its place).
        n_bytes: UTF-8 bytes of each answer.
        letters: the letter of each answer as the target; empty where the prompt lists no letters.
    """

    right: int
    texts: tuple[Prompt, ...]
    n_bytes: tuple[int, ...]
    letters: tuple[Prompt, ...]
