"""Validation of specs: mappings from YAML into validated types, each fault in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from probes.errors import InputError

_M = TypeVar("_M", bound=BaseModel)


def checked(model: type[_M], fields: object, place: str) -> _M:
    """A mapping with known keys only, as one of the types of a spec."""
    named = mapping(fields, place)
    refuse_unknown(named, model, place)
    return validate(model, named, place)


def validate(model: type[_M], fields: Mapping[str, Any], place: str) -> _M:
    """Fields as one of the types of a spec; the first fault is told with where it stands and what came."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # two keys that do not go together
            raise InputError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
        where = ".".join(str(step) for step in first["loc"])
        raise InputError(f"{place}: {where}: {first['msg'].lower()} (got {first['input']!r})") from None


def refuse_unknown(fields: Mapping[str, Any], model: type[BaseModel], place: str) -> None:
    """Refuse a key that the type does not have, with the nearest that it has."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    for key in fields:
        if key not in known:
            raise InputError(f"{place}: unknown key {key!r}{nearest(key, known)}; known: {', '.join(known)}")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a message that names what may have been meant; empty where nothing is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def mapping(value: object, place: str) -> Mapping[str, Any]:
    """A value that should be a mapping, with its keys as text."""
    if not isinstance(value, Mapping):
        raise InputError(f"{place} should be a mapping with named keys and is {type(value).__name__}")
    return {str(key): entry for key, entry in cast("Mapping[object, Any]", value).items()}


def sequence(value: object, place: str) -> Sequence[Any]:
    """A value that should be a list with something in it."""
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{place} should be a list with at least one entry")
    return cast("Sequence[Any]", value)
