"""Reads typed values out of JSON text. Knows nothing of the host, so that it is tested by itself."""

import json
from datetime import datetime, timezone
from typing import Any, Callable

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Mismatch(ValueError):
    """A value that does not fit its field."""


class Reader:
    """One output column: where its value is in the JSON, and how it is read.

    `options` is a kind, or an object of `kind`, `path` (default: the name), `unit` and `dim`."""

    def __init__(self, name: str, options: Any) -> None:
        if isinstance(options, str):
            options = {"kind": options}
        if not isinstance(options, dict):
            raise ValueError(f"field `{name}` is neither a kind nor an object")
        for key in options.keys() - {"kind", "path", "unit", "dim"}:
            raise ValueError(f"field `{name}`: option `{key}` is not known; there are: kind, path, unit, dim")
        self.name = name
        self.kind = options.get("kind")
        self.dim = options.get("dim", 0)
        self.unit = options.get("unit", "s")
        self.path = options.get("path", name).split(".")
        if self.kind not in READERS:
            raise ValueError(f"field `{name}`: kind `{self.kind}` is not one of {', '.join(READERS)}")
        if self.unit not in UNITS:
            raise ValueError(f"field `{name}`: unit `{self.unit}` is not one of {', '.join(UNITS)}")
        if (self.kind == "vector") != (isinstance(self.dim, int) and self.dim > 0):
            raise ValueError(f"field `{name}`: a vector, and nothing else, needs a `dim`")

    def read(self, document: Any) -> Any:
        """The value in a document; None where it is missing or null."""
        value = document
        for step in self.path:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal():
                value = value[int(step)] if int(step) < len(value) else None
            else:
                value = None
        if value is None:
            return None
        try:
            return READERS[self.kind](value, self)
        except (TypeError, ValueError, OverflowError):
            raise Mismatch(f"`{'.'.join(self.path)}` is {_show(value)}, no {self.kind}") from None


def parse(text: str) -> Any:
    """The document of a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Mismatch(f"it is not JSON: {error}") from None


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"


def _boolean(value: Any, _: Reader) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _integer(bits: int) -> Callable[[Any, Reader], int]:
    def read(value: Any, _: Reader) -> int:
        # 12.0 is an integer, 12.5 and "12" and true are none.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise ValueError
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError
        return int(value)
    return read


def _float(value: Any, _: Reader) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    return float(value)


def _text(value: Any, _: Reader) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _vector(value: Any, reader: Reader) -> list[float]:
    if not isinstance(value, list) or len(value) != reader.dim:
        raise ValueError
    return [_float(number, reader) for number in value]


def _timestamp(value: Any, reader: Reader) -> int:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        elapsed = moment - EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return _integer(64)(round(_float(value, reader) * UNITS[reader.unit]), reader)


READERS: dict[str, Callable[[Any, Reader], Any]] = {
    "boolean": _boolean,
    "int32": _integer(32),
    "int64": _integer(64),
    "float32": _float,
    "float64": _float,
    "utf8": _text,
    "vector": _vector,
    "timestamp": _timestamp,
}
