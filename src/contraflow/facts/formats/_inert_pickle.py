"""Read the contents of a pickled pandas table without executing the pickle.

A pickle is a program: `pickle.load` and pandas execute the code that its author chose. Here

1. the opcodes are checked first. Opcodes that a table does not need are rejected (persistent ids,
   extension codes, buffers, instances), and so are memo indices that would allocate gigabytes;
2. the few pandas and numpy names that a table needs are replaced by inert stand-ins, which only
   store their arguments. A misused reconstruct function has no effect, and pandas is not needed;
3. every other name is rejected before anything has been called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from contraflow.errors import UserError

MAX_BYTES = 64 * 2**20
_REMEDY = "nothing in it was run; if you trust its source, export the table there as CSV or JSONL"

# fmt: off
_OPCODES = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK",
    "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT",
    "BINFLOAT", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD",
))
# fmt: on


class _Frozen(type):
    """Metaclass that forbids setting class attributes, so that a pickle cannot change a class."""

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise TypeError("stand-ins cannot be changed")


class Inert(metaclass=_Frozen):
    """A stand-in for a pandas or numpy object: it stores arguments and state and does nothing."""

    __slots__ = ("args", "state")
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: object) -> Inert:
        made = object.__new__(cls)
        made.args = args
        made.state = None
        return made

    def __setstate__(self, state: object) -> None:
        self.state = state


class Frame(Inert):
    """pandas.DataFrame"""


class Manager(Inert):
    """pandas' BlockManager: args = (blocks, [column index, row index])"""


class Block(Inert):
    """A block of columns of one type: args = (array, placement, number of dimensions)"""


class Index(Inert):
    """Column or row labels: args = (class, {"data": array, "name": …})"""


class Array(Inert):
    """numpy.ndarray: state = (version, shape, dtype, is_fortran, data)"""


class Texts(Inert):
    """pandas' StringArray: state = (dtype, array) or (dtype, array, {})"""


class Missing(Inert):
    """pandas.NA, which is pickled by its name: the class itself is the cell"""


class Buffer(Inert):
    """An array of numbers since protocol 5: args = (bytes, dtype, shape, order)"""


class Dtype(Inert):
    """numpy.dtype: args = (code, align, copy)"""


class Slice(Inert):
    """slice: args = (start, stop, step)"""


class Other(Inert):
    """A class that occurs only as an argument of a reconstruct function."""


_STAND_INS: dict[str, type[Inert]] = {
    "pandas.core.frame.DataFrame": Frame,
    "pandas.core.internals.managers.BlockManager": Manager,
    "pandas.DataFrame": Frame,  # pandas 3 calls its public classes by their public names
    "pandas._libs.internals._unpickle_block": Block,
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": Texts,
    "pandas._libs.missing.NA": Missing,
    "pandas.NA": Missing,
    "pandas.arrays.StringArray": Other,
    "pandas.core.arrays.string_.StringArray": Other,
    "pandas.core.arrays.string_.StringArrayNumpySemantics": Other,
    "pandas.StringDtype": Other,
    "pandas.core.arrays.string_.StringDtype": Other,
    "pandas.core.indexes.base._new_Index": Index,
    "pandas.core.indexes.base.Index": Other,
    "pandas.Index": Other,
    "pandas.core.indexes.range.RangeIndex": Other,
    "pandas.RangeIndex": Other,
    # Row labels of selected rows in pandas 1.
    "pandas.core.indexes.numeric.Int64Index": Other,
    "pandas.core.indexes.numeric.UInt64Index": Other,
    "pandas.core.indexes.numeric.Float64Index": Other,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.numeric._frombuffer": Buffer,
    "numpy.core.numeric._frombuffer": Buffer,
    "numpy.ndarray": Other,
    "numpy.dtype": Dtype,
    "builtins.slice": Slice,
    "__builtin__.slice": Slice,
    # Protocol 2 encodes bytes this way; a table has them only in array headers, which stay unread.
    "_codecs.encode": Other,
}

_TABLE_PACKAGES = ("pandas", "numpy", "pyarrow")
_NOT_READ = (
    "which belongs to a pandas version or to a type of column that is not read (read are columns "
    "of plain text, as pandas 1 to 3 pickle them without pyarrow)"
)


class _RefusedError(Exception):
    """The pickle needs more than a table does; the message names the opcode or the object."""


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type[Inert]:
        name = f"{module_name}.{global_name}"
        if name not in _STAND_INS:
            is_of_table = module_name.split(".", maxsplit=1)[0] in _TABLE_PACKAGES
            reason = _NOT_READ if is_of_table else "which no table of facts needs"
            raise _RefusedError(f"the pickle asks for {name!r}, {reason}")
        return _STAND_INS[name]


def load_inert(path: Path) -> object:
    """Return the object in the pickle: plain values, and `Inert` stand-ins for everything else.

    Raises: UserError if the file is unreadable, too large or not a pickle, or needs an opcode or a
    name that no table needs.
    """
    content = _read_bounded(path)
    try:
        _check_opcodes(content)
        return _InertUnpickler(io.BytesIO(content)).load()
    except _RefusedError as error:
        raise UserError(f"{path}: refused: {error}; {_REMEDY}") from None
    except Exception as error:
        # A hostile pickle can make the unpickler raise anything.
        raise UserError(f"{path}: is not a readable pickle ({error}); {_REMEDY}") from None


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if len(content) > MAX_BYTES:
        limit = MAX_BYTES // 2**20
        raise UserError(
            f"{path}: is larger than {limit} MiB; export it as CSV or JSONL, which are streamed"
        )
    return content


def _check_opcodes(content: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in _OPCODES:
            raise _RefusedError(
                f"the pickle uses the opcode {opcode.name}, which no table of facts needs"
            )
        if opcode.name.endswith("PUT") and int(argument or 0) > len(content):
            raise _RefusedError("the pickle stores to a memo index larger than the file")
