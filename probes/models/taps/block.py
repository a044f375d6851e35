"""The sites inside one block, derived from one traced pass and proved by arithmetic.

A module called ``mlp`` may or may not return what is added to the residual stream, so names decide nothing that numbers
can. A block with input ``x`` and output ``y`` is read as one of

* ``mid = x + a`` and ``y = mid + m``: attention, then the MLP;
* ``y = x + a + m``: both side by side;
* ``y = x + c``: one of the two alone;

where ``a``, ``m`` and ``c`` are what some module returns, times a number that the block holds (Granite's
``residual_multiplier``), and ``mid`` is what some module receives. The sum must hold in every coordinate of every token
up to the rounding of the additions themselves, or the contribution is not offered. The MLP's neurons must multiply to
what the down projection reads, and router logits must be what the router's matrix gives.

Names are asked only which of two proved contributions is attention's, and which of the modules is a router.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from probes.models.taps.table import Config, Side, Tap
from probes.models.taps.trace import Call
from probes.vocabulary.sites import SiteKind as S

# x + s * a + t * m takes two multiplications and two additions, each off by at most half an eps of the sizes summed
ROUNDINGS: Final = 2.0
EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
DECAY: Final = "A_log"  # the parameter that makes a mixer a recurrence
PAIRED: Final = "lambda_q1"  # differential attention: one head is the difference of two


class Term(NamedTuple):
    """Something added: a call whose output, times a factor, is part of a sum."""

    call: Call
    scale: float


@dataclass(slots=True, eq=False, kw_only=True)
class Traced:
    """One block of a traced pass.

    Attributes:
        module: the block.
        path: where it is.
        x: what entered it, ``(tokens, width)``.
        y: what left it.
        calls: what ran inside it, in the order of beginning; modules that run several times a pass left out.
        config: configuration of the model.
    """

    module: nn.Module
    path: str
    x: Tensor
    y: Tensor
    calls: Sequence[Call]
    config: Config

    @property
    def is_finite(self) -> bool:
        """True if the input and output of at least one token are finite, so that sums can be checked on it."""
        return bool((torch.isfinite(self.x).all(-1) & torch.isfinite(self.y).all(-1)).any())

    def below(self, path: str) -> list[Call]:
        """The calls of a module and of everything in it."""
        return [call for call in self.calls if call.path == path or call.path.startswith(f"{path}.")]

    def region(self, call: Call) -> str:
        """Path of the child of the block that a call belongs to."""
        return f"{self.path}.{self._short(call).partition('.')[0]}"

    def tap(self, call: Call, side: Side = "out") -> Tap:
        """A tap on one side of the module of a call."""
        return Tap((self._short(call),), side)

    def source(self, call: Call) -> Call:
        """The call that made a contribution, behind any norm that it went through."""
        while call.is_plain:
            made = [c for c in self.calls if c.end < call.start and same(c.gave, call.given)]
            if not made:
                return call
            call = min(made, key=_outermost)
        return call

    def is_recurrent(self, call: Call) -> bool:
        """True if a call is part of a mixer with a decaying state."""
        names = (name for c in self.below(self.region(call)) for name, _ in c.module.named_parameters())
        return any(name.endswith(DECAY) for name in names)

    def is_attention(self, call: Call) -> bool:
        """True if a call is part of attention that looks back at tokens."""
        region = self.region(call)
        return any(_is_named_attention(c) for c in self.calls if c.path == region) and not self.is_recurrent(call)

    def scales(self) -> tuple[float, ...]:
        """1, and every other number that the block holds: a contribution may be multiplied by one of them."""
        own = (value for value in vars(self.module).values() if isinstance(value, float) and isfinite(value))
        return tuple(dict.fromkeys((1.0, *(value for value in own if value))))

    def _short(self, call: Call) -> str:
        return call.path.removeprefix(f"{self.path}.")


def sites_of(block: Traced) -> dict[S, Tap]:
    """Every site inside a block that can be proved, and where it is."""
    found: dict[S, Tap] = {}
    mlp: Call | None = None
    middle, terms = contributions(block)
    if middle is not None:
        found[S.RESID_MID] = block.tap(middle, "in")
    for place, term in enumerate(terms):
        source = block.source(term.call)
        if block.is_attention(source):
            found[S.ATTN_OUT] = replace(block.tap(term.call), scale=term.scale)
        elif not block.is_recurrent(source) and place == len(terms) - 1:
            found[S.MLP_OUT], mlp = replace(block.tap(term.call), scale=term.scale), source
    found |= _read_outs(block)
    if mlp is not None:
        found |= _neurons(block, mlp, middle) | _router(block, mlp, middle)
    return found


def contributions(block: Traced) -> tuple[Call | None, tuple[Term, ...]]:
    """Find the calls of a block whose outputs, added to its input, give its output.

    Returns:
        The first call that receives the stream between the two additions, None if there is none; and what is proved to
        be added, in the order of a pass (attention before the MLP).
    """
    outputs = sorted((c for c in block.calls if _fits(c.gave, block.x)), key=_outermost)
    middles = [c for c in block.calls if _fits(c.given, block.x) and not same(c.given, block.x)]
    for middle in middles:
        late = _term(block, block.y, [middle.given], [c for c in outputs if c.start >= middle.start])
        if late is not None:
            early = _term(block, middle.given, [block.x], [c for c in outputs if -1 < c.end < middle.start])
            return middle, (late,) if early is None else (early, late)
    alone = _term(block, block.y, [block.x], outputs)
    if alone is not None:
        return None, (alone,)
    for first in outputs:
        if block.is_attention(first):
            others = [c for c in outputs if block.region(c) != block.region(first)]
            for scale in block.scales():
                other = _term(block, block.y, [block.x, first.gave * scale], others)
                if other is not None:
                    return None, (Term(first, scale), other)
    return None, ()


def _term(block: Traced, whole: Tensor, parts: Sequence[Tensor], candidates: Iterable[Call]) -> Term | None:
    """The outermost call whose output, times a number that the block holds, is the rest of a sum."""
    for call in candidates:
        for scale in block.scales():
            if adds_up(whole, [*parts, call.gave.double() * scale]):
                return Term(call, scale)
    return None


def adds_up(whole: Tensor, parts: Sequence[Tensor]) -> bool:
    """True if a tensor is the sum of some others, in every coordinate, up to the rounding of the sum.

    Coordinates that are not finite say nothing; if none is finite the answer is no.
    """
    limits = torch.finfo(whole.dtype)
    wide = [part.double() for part in parts]
    gap = (whole.double() - sum(wide)).abs()
    size = torch.stack([part.abs() for part in wide]).sum(0)
    finite = torch.isfinite(gap)
    within = gap <= ROUNDINGS * limits.eps * (size + limits.tiny)
    return bool(finite.any()) and bool(within[finite].all())


def same(one: Tensor, other: Tensor) -> bool:
    """True if two tensors hold the same numbers, NaN at the same coordinates, and are not empty."""
    if not one.numel() or one.shape != other.shape:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _read_outs(block: Traced) -> dict[S, Tap]:
    """Inputs of the output projections of attention and of a recurrence."""
    found: dict[S, Tap] = {}
    heads = getattr(block.config, "num_attention_heads", None)
    named = [c for c in block.calls if not c.is_plain and not c.is_linear and _is_named_attention(c)]
    innermost = [c for c in named if not any(other.path.startswith(f"{c.path}.") for other in named)]
    for call in innermost:
        projection = _last_matrix(block.below(call.path))
        paired = any(hasattr(c.module, PAIRED) for c in block.below(call.path))
        if projection is None or paired or block.is_recurrent(call) or not isinstance(heads, int):
            continue
        if _fits(projection.gave, block.x) and not projection.given.shape[-1] % heads:
            found[S.ATTN_Z] = replace(block.tap(projection, "in"), heads=heads)
    for call in (
        c for c in block.calls if any(name.endswith(DECAY) for name, _ in c.module.named_parameters(recurse=False))
    ):
        projection = _last_matrix(block.below(call.path))
        if projection is not None and _fits(projection.gave, block.x):
            found[S.SSM_STATE] = block.tap(projection, "in")
    return found


def _neurons(block: Traced, mlp: Call, middle: Call | None) -> dict[S, Tap]:
    """The MLP's neurons before and after its activation function, where they multiply to what the last matrix reads."""
    inside = _inside(block, mlp, middle)
    down = next((c for c in reversed(inside) if c.is_linear and same(c.gave, mlp.gave)), None)
    if down is None:
        return {}
    found = {S.MLP_POST: block.tap(down, "in")}
    post, matrices = down.given, [c for c in inside if c.is_linear and c.end < down.start]
    for act in (c for c in inside if c.is_plain and _fits(c.gave, post) and c.end < down.start):
        before = [c for c in matrices if same(c.gave, act.given)]
        if before and adds_up(post, [act.gave]):
            return found | {S.MLP_PRE: block.tap(before[0])}
        for other in matrices:
            if before and _fits(other.gave, post) and other is not before[0] and _multiply(post, act.gave, other.gave):
                return found | {S.MLP_GATE: block.tap(before[0]), S.MLP_PRE: block.tap(other)}
            halves = other.gave.chunk(2, dim=-1)
            for gate in (0, 1) if other.gave.shape[-1] == 2 * post.shape[-1] else ():
                if same(halves[gate], act.given) and _multiply(post, act.gave, halves[1 - gate]):
                    return found | {
                        S.MLP_GATE: replace(block.tap(other), part=gate, parts=2),
                        S.MLP_PRE: replace(block.tap(other), part=1 - gate, parts=2),
                    }
    return found


def _router(block: Traced, mlp: Call, middle: Call | None) -> dict[S, Tap]:
    """Router logits: what a matrix with one row per expert gives of what it receives, before any softmax."""
    experts = next((int(n) for name in EXPERTS if (n := getattr(block.config, name, None))), None)
    for call in _inside(block, mlp, middle):
        weight = getattr(call.module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 2 or weight.shape[0] != experts:
            continue
        if call.gave.shape[-1] != experts:
            continue
        given, rows = call.given.double(), weight.detach().cpu().double()
        bias = getattr(call.module, "bias", None)
        logits = given @ rows.T + (bias.detach().cpu().double() if isinstance(bias, Tensor) else 0.0)
        size = given.abs() @ rows.abs().T
        eps = torch.finfo(weight.dtype).eps  # a sum of n products is off by at most n halves of it
        if bool(((call.gave.double() - logits).abs() <= eps * (given.shape[-1] + 2) * (size + logits.abs())).all()):
            return {S.ROUTER_LOGITS: block.tap(call)}
    return {}


def _inside(block: Traced, mlp: Call, middle: Call | None) -> list[Call]:
    """Calls inside the MLP: in its module, or between the two additions where its matrices are the block's own."""
    if not mlp.is_linear or block.region(mlp) != mlp.path:
        return block.below(block.region(mlp))
    first = 0 if middle is None else middle.start
    return [c for c in block.calls if first <= c.start <= mlp.start and not block.is_attention(c)]


def _is_named_attention(call: Call) -> bool:
    """True if a module, or its class, is called attention."""
    return "att" in f"{call.path.rpartition('.')[2]} {type(call.module).__name__}".lower()


def _last_matrix(calls: Sequence[Call]) -> Call | None:
    """The last matrix that ran."""
    return next((c for c in reversed(calls) if c.is_linear), None)


def _multiply(whole: Tensor, one: Tensor, other: Tensor) -> bool:
    """True if a tensor is the product of two others, coordinate by coordinate."""
    return adds_up(whole, [one.double() * other.double()])


def _fits(tensor: Tensor, like: Tensor) -> bool:
    return tensor.shape == like.shape


def _outermost(call: Call) -> tuple[int, int]:
    return call.depth, call.end
