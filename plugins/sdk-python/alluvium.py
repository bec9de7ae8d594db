"""Writes an Alluvium transform in Python: a module with a class `Batches`, a `BatchTransform`, or
`Records`, a `RecordTransform`. See README.md.

Values are plain: bool, int (of int32, int64 and timestamp: microseconds since 1970-01-01 UTC), float,
str, bytes, a list of float for a vector (in a batch: a memoryview); None.

`print` and the module `logging` write to the host's log.
"""

import json
import linecache
import logging
import os
import sys
import traceback
from array import array
from types import SimpleNamespace
from typing import Any, Callable, Iterator, Optional

from componentize_py_types import Err
from wit_world.imports import host, types
from wit_world.imports.types import Field, Kind, Plan

__all__ = ["Batch", "BatchTransform", "Builder", "Column", "Failure", "Field", "Kind", "Output", "Plan",
           "RecordTransform", "asset", "field", "find", "with_defaults"]


class Failure(Exception):
    """Refuses a configuration, or fails a record or a batch. Any other exception does the same, and
    leaves its traceback in the host's log."""


def asset(name: str) -> bytes:
    """The bytes of an asset that was granted; the failure names those that there are."""
    try:
        return host.asset(name)
    except Err as error:
        raise Failure(error.value) from None


def field(name: str, kind: Kind, nullable: bool = True, dim: int = 0) -> Field:
    """A field; `dim` is a vector's length."""
    return Field(name, kind, nullable, dim)


def find(schema: list[Field], name: str, kind: Kind) -> Field:
    """The field of a name, which must be of a kind."""
    for found in schema:
        if (found.name, found.kind) == (name, kind):
            return found
    there = ", ".join(f"`{f.name}` ({f.kind.name.lower()})" for f in schema)
    raise Failure(f"a {kind.name.lower()} column `{name}` is needed; there are: {there or 'none'}")


def with_defaults(config: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """The configuration over the defaults. A key that has none is refused: it may be misspelt."""
    for key in config.keys() - defaults.keys():
        raise Failure(f"option `{key}` is not known; there are: {', '.join(defaults)}")
    return defaults | config


# ---- Transforms ----


class _Transform:
    _plan: Plan
    # componentize-py makes an object for every call; this is the one that was opened.
    _opened: Any = None

    def start(self, config: dict[str, Any], schema: list[Field]) -> Plan:
        """Called once: reads the configuration, looks at the columns that there are, and says what it
        reads and makes."""
        raise NotImplementedError

    def open(self, config: str, schema: list[Field]) -> Plan:
        """The contract's `open`."""
        with _Guard():
            try:
                parsed = json.loads(config or "{}")
            except ValueError as error:
                raise Failure(f"the configuration is refused: {error}") from None
            if not isinstance(parsed, dict):
                raise Failure("the configuration is refused: it is no JSON object")
            self._plan = self.start(parsed, schema)
            type(self)._opened = self
            return self._plan


class BatchTransform(_Transform):
    """A transform of batches of columns: define `start` and `batch`, and name the class `Batches`."""

    def batch(self, batch: "Batch", output: "Output") -> None:
        """Pushes a value for every row into every column of the output, None where a row failed."""
        raise NotImplementedError

    def apply(self, rows: int, columns: list[types.Column]) -> types.Output:
        """The contract's `apply`."""
        with _Guard():
            opened = self._opened
            views = [Column(field, column) for field, column in zip(opened._plan.inputs, columns)]
            output = Output(opened._plan.outputs)
            opened.batch(Batch(rows, views), output)
            return output.finish(rows)


class RecordTransform(_Transform):
    """A transform of one record at a time: define `start` and `record`, and name the class `Records`."""

    def record(self, values: list[Any]) -> list[list[Any]]:
        """Makes none, one or many records, each a list of the values of the plan's outputs, of one, a
        list of the values of its inputs."""
        raise NotImplementedError

    def apply(self, values: list[types.Value]) -> list[list[types.Value]]:
        """The contract's `apply`."""
        with _Guard():
            opened = self._opened
            made = opened.record([getattr(value, "value", None) for value in values])
            makers = [_VALUES[field.kind] for field in opened._plan.outputs]
            return [[_NULL if value is None else make(value) for make, value in zip(makers, record, strict=True)]
                    for record in made]


_NULL = types.Value_Null()
_VALUES = {kind: getattr(types, f"Value_{kind.name.capitalize()}") for kind in Kind}


class _Guard:
    """Turns what is raised into the contract's error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        if isinstance(error, MemoryError):
            # A trap: the host goes on with a fresh instance, and this record is not to blame for it.
            os.abort()
        if isinstance(error, Failure):
            raise Err(_valid(str(error))) from None
        if isinstance(error, Exception):
            host.log(host.Level.ERROR, _valid("".join(traceback.format_exception(error))))
            raise Err(_valid(f"{type(error).__name__}: {error}")) from None


def _valid(text: str) -> str:
    """Without lone surrogates, which UTF-8 has not."""
    return text.encode("utf-8", "replace").decode()


# ---- Columns ----

_FORMATS = {Kind.INT32: "i", Kind.INT64: "q", Kind.FLOAT32: "f", Kind.FLOAT64: "d", Kind.VECTOR: "f", Kind.TIMESTAMP: "q"}


class Column:
    """A column that comes in: `column[row]` is a value, or None. Bytes are copied, numbers are read in
    place: `values` has all of them (of a vector column too), whatever stands where a row is null."""

    def __init__(self, field: Field, column: types.Column) -> None:
        self.field = field
        self._validity = column.validity
        self._data = column.data
        self._offsets = column.offsets
        self.values = memoryview(column.data).cast(_FORMATS[field.kind]) if field.kind in _FORMATS else None
        self._read = self._reader(field)

    def is_null(self, row: int) -> bool:
        """Whether a row is null."""
        return self._validity is not None and not self._validity[row >> 3] >> (row & 7) & 1

    def __getitem__(self, row: int) -> Any:
        return None if self.is_null(row) else self._read(row)

    def _reader(self, field: Field) -> Callable[[int], Any]:
        data, offsets, values, dim = self._data, self._offsets, self.values, field.dim
        if field.kind == Kind.BOOLEAN:
            return lambda row: bool(data[row >> 3] >> (row & 7) & 1)
        if field.kind == Kind.UTF8:
            return lambda row: data[offsets[row]:offsets[row + 1]].decode()
        if field.kind == Kind.BINARY:
            return lambda row: data[offsets[row]:offsets[row + 1]]
        if field.kind == Kind.VECTOR:
            return lambda row: values[row * dim:(row + 1) * dim]
        return values.__getitem__


class Batch:
    """The rows to transform; `columns` in the order of the plan's inputs."""

    def __init__(self, rows: int, columns: list[Column]) -> None:
        self.rows = rows
        self.columns = columns

    def __iter__(self) -> Iterator[list[Any]]:
        """The rows, a list of values each."""
        return ([column[row] for column in self.columns] for row in range(self.rows))


class Builder:
    """A column that goes out."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self._present: list[bool] = []
        self._offsets = [0] if field.kind in (Kind.UTF8, Kind.BINARY) else []
        self._bits: list[bool] = []
        self._data: Any = array(_FORMATS[field.kind]) if field.kind in _FORMATS else bytearray()
        self._zeros = [0] * (field.dim if field.kind == Kind.VECTOR else 1)
        self._push = self._pusher()

    def push(self, value: Any) -> None:
        """Appends a row; None is null."""
        self._push(value)
        self._present.append(value is not None)

    def _pusher(self) -> Callable[[Any], None]:
        kind, data, offsets = self.field.kind, self._data, self._offsets
        if kind == Kind.BOOLEAN:
            return lambda value: self._bits.append(bool(value))
        if kind in _FORMATS:
            return self._push_vector if kind == Kind.VECTOR else lambda value: data.append(0 if value is None else value)

        def push_bytes(value: Any) -> None:
            if value is not None:
                data.extend(value.encode("utf-8", "replace") if kind == Kind.UTF8 else value)
            offsets.append(len(data))
        return push_bytes

    def _push_vector(self, value: Any) -> None:
        if value is not None and len(value) != self.field.dim:
            raise ValueError(f"a vector of {len(value)} numbers in column `{self.field.name}` of {self.field.dim}")
        self._data.extend(self._zeros if value is None else value)

    def finish(self) -> types.Column:
        """The contract's `column`."""
        validity = None if all(self._present) else _bitmap(self._present)
        if self.field.kind == Kind.BOOLEAN:
            return types.Column(validity, [], _bitmap(self._bits))
        data = self._data.tobytes() if isinstance(self._data, array) else bytes(self._data)
        return types.Column(validity, self._offsets, data)


def _bitmap(bits: list[bool]) -> bytes:
    """A bit a row, least significant first."""
    number = int("".join("1" if bit else "0" for bit in reversed(bits)) or "0", 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


class Output:
    """What a batch became; `columns` has a builder for each of the plan's outputs."""

    def __init__(self, outputs: list[Field]) -> None:
        self.columns = [Builder(field) for field in outputs]
        #: The input row of each output row, for a transform that filters or repeats rows: set it to `[]`,
        #: and append a row's number with its values. None: the rows are one to one.
        self.origin: Optional[list[int]] = None
        self._failures: list[types.Failure] = []

    def fail(self, row: int, message: str) -> None:
        """Reports an input row as failed."""
        self._failures.append(types.Failure(row, _valid(message)))

    def finish(self, rows: int) -> types.Output:
        """The contract's `output`."""
        rows = rows if self.origin is None else len(self.origin)
        return types.Output(rows, self.origin, [column.finish() for column in self.columns], self._failures)


# ---- The host's log ----


class _LogHandler(logging.Handler):
    """Writes what goes to the module `logging` to the host's log."""

    _LEVELS = ((logging.ERROR, host.Level.ERROR), (logging.WARNING, host.Level.WARN), (logging.INFO, host.Level.INFO))

    def emit(self, record: logging.LogRecord) -> None:
        level = next((level for least, level in self._LEVELS if record.levelno >= least), host.Level.DEBUG)
        host.log(level, _valid(self.format(record)))


class _LogStream:
    """Writes the lines of a stream to the host's log. There is no standard output to write to."""

    def __init__(self, level: host.Level) -> None:
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            host.log(self._level, _valid(line))
        return len(text)

    def flush(self) -> None:
        pass


if sys.platform == "wasi":
    # What would ask for a clock or a file traps: a transform is given neither.
    logging.time = SimpleNamespace(time_ns=lambda: 0)
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []
    sys.stdout, sys.stderr = _LogStream(host.Level.INFO), _LogStream(host.Level.ERROR)
    logging.basicConfig(level=logging.INFO, handlers=[_LogHandler()], format="%(name)s: %(message)s")
