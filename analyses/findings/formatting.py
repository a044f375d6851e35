"""Numbers and names as every sentence, table and figure prints them: signs, digits, intervals, p-values, cut names."""

from __future__ import annotations

import math
from pathlib import PurePath

from probes.vocabulary.naming import PATHS


def shown(name: str, most: int = 40) -> str:
    r"""A name from a stranger's file, fit for one line: no control characters, not too long.

    >>> shown("a" * 50, 8) == "aaa\N{HORIZONTAL ELLIPSIS}aaaa", shown("a\tb")
    (True, 'a b')
    """
    line = "".join(character if character.isprintable() else " " for character in name)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}\N{HORIZONTAL ELLIPSIS}{line[-(most - 1 - half) :]}"


def level_name(label: str, axis: str) -> str:
    """A level or domain as sentences name it: a bare number says of which axis it is.

    >>> level_name("7", "objects"), level_name("wikitext", "domain"), level_name("0.5", "")
    ('objects 7', 'wikitext', '0.5')
    """
    bare = label.replace(".", "", 1).isdecimal()
    return shown(f"{axis} {label}" if bare and axis else label)


def short_model(name: str) -> str:
    """A model's name without the folders it lies in.

    >>> short_model("/data/models/stories260K"), short_model("EleutherAI/pythia-70m")
    ('stories260K', 'EleutherAI/pythia-70m')
    """
    return PurePath(name).name if name.startswith(PATHS) else name


def number(value: float) -> str:
    r"""Three decimals below ten, else three digits; a dash for what is not there.

    >>> number(0.2201), number(123.4), number(float("nan")) == "\N{EN DASH}"
    ('0.220', '123', True)
    """
    if not math.isfinite(value):
        return "\N{EN DASH}"
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    r"""An effect with its sign, two decimals; a third or a fourth where fewer would show nothing.

    >>> signed(0.6213), signed(0.0041), signed(0.0002), signed(-0.5) == "\N{MINUS SIGN}0.50"
    ('+0.62', '+0.004', '+0.0002', True)
    """
    if not math.isfinite(value):
        return "\N{EN DASH}"
    digits = 2 if value == 0 else next((digits for digits in (2, 3, 4) if round(value, digits)), None)
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if digits else "0.000"


def with_interval(value: float, interval: tuple[float, float]) -> str:
    """An effect and its 95 % interval, where it has one.

    >>> with_interval(0.62, (0.55, 0.68)), with_interval(0.62, (float("nan"), float("nan")))
    ('+0.62 [+0.55, +0.68]', '+0.62')
    """
    low, high = interval
    if math.isnan(low) and math.isnan(high):
        return signed(value)
    return f"{signed(value)} [{signed(low)}, {signed(high)}]"


def whole_numbers(value: float, interval: tuple[float, float]) -> str:
    """A count with its interval, which is left out where it holds nothing else.

    >>> whole_numbers(3.0, (1.0, 6.0)), whole_numbers(1.0, (1.0, 1.0))
    ('3 [1, 6]', '1')
    """
    if math.isnan(value):
        return "\N{EN DASH}"
    count = f"{value:,.0f}"
    if math.isnan(interval[0]) or (f"{interval[0]:,.0f}", f"{interval[1]:,.0f}") == (count, count):
        return count
    return f"{count} [{interval[0]:,.0f}, {interval[1]:,.0f}]"


def percent(value: float, interval: tuple[float, float]) -> str:
    """A share with its interval.

    >>> percent(0.81, (0.78, 0.84))
    '81 % [78, 84]'
    """
    if not math.isfinite(interval[0]):
        return f"{100 * value:.0f} %"
    low, high = interval
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]".replace("-", "\N{MINUS SIGN}")


def excess(value: float) -> str:
    """A difference from the Gaussian null with its sign, in the unit of the measure.

    >>> excess(0.0213)
    '+0.021'
    """
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "\N{EN DASH}"


def p_value(p: float) -> str:
    """A p-value with two digits, never zero.

    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '< 0.0001')
    """
    if not math.isfinite(p):
        return "\N{EN DASH}"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"
