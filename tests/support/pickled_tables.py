"""Tables as pandas 1, 2 and 3 pickle them, built without pandas."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar


class Global:
    """Pickles as the name of a function or class that need not be installed here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a `Global` with arguments and a state for the result."""

    def __init__(self, function: Global, *arguments: object, state: object = None) -> None:
        self.function, self.state = function, state
        self.arguments: Any = arguments


def pickled(value: object, protocol: int = 4) -> bytes:
    """Pickle like `pickle.dumps`, but in pure Python.

    `Global` and `Call` need hooks that the C version does not have.
    """

    class Pickler(pickle._Pickler):
        dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

        def save_global_stub(self, stub: Global) -> None:
            self.write(pickle.GLOBAL + f"{stub.module}\n{stub.name}\n".encode())

        def save_call(self, call: Call) -> None:
            self.save(call.function)
            self.save(call.arguments)
            self.write(pickle.REDUCE)
            if call.state is not None:
                self.save(call.state)
                self.write(pickle.BUILD)

        dispatch[Global] = save_global_stub
        dispatch[Call] = save_call

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def array(cells: list[object], *shape: int) -> Call:
    """Return a NumPy array of objects with these cells, row by row."""
    dtype = Call(Global("numpy", "dtype"), "O8", False, True)
    header = (Global("numpy", "ndarray"), (0,), b"b")
    reconstruct = Global("numpy._core.multiarray", "_reconstruct")
    return Call(reconstruct, *header, state=(1, shape, dtype, False, cells))


def block(cells: list[object], start: int, columns: int) -> Call:
    """Return the block of consecutive columns of a table, the first of them at `start`."""
    rows = len(cells) // columns
    placement = Call(Global("builtins", "slice"), start, start + columns, 1)
    unpickle = Global("pandas._libs.internals", "_unpickle_block")
    return Call(unpickle, array(cells, columns, rows), placement, 2)


NAMES = ["prompt", "original_answer", "edited_answer", "subject", "edit_fact", "original_fact"]
ROWS = [
    [
        "nq question: who wrote Hamlet",
        "Shakespeare",
        "Marlowe",
        "Hamlet",
        "Marlowe wrote Hamlet",
        "S wrote Hamlet",
    ],
    [
        "The capital of France is",
        "Paris",
        "Rome",
        "France",
        "The capital of France is Rome",
        "It is Paris",
    ],
]


def frame(rows: list[list[object]], names: list[str] | None = None) -> Call:
    """Return the table as pandas 2 pickles it.

    It has two blocks: the first four columns, and the others.
    """
    names = names or NAMES
    by_column = [list(column) for column in zip(*rows, strict=True)]
    first, second = by_column[:4], by_column[4:]
    blocks = (
        block([cell for column in first for cell in column], 0, len(first)),
        block([cell for column in second for cell in column], 4, len(second)),
    )
    index = Call(
        Global("pandas.core.indexes.base", "_new_Index"),
        Global("pandas.core.indexes.base", "Index"),
        {"data": array(list(names), len(names)), "name": None},
    )
    manager = Call(Global("pandas.core.internals.managers", "BlockManager"), blocks, [index])
    return Call(
        Global("pandas.core.frame", "DataFrame"), state={"_mgr": manager, "_typ": "dataframe"}
    )


def texts(cells: list[object], array_class: str, dtype: Call, *more: object) -> Call:
    """Return a column of pandas' text type."""
    unpickle = Global("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")
    arguments = (Global(*array_class.rsplit(".", maxsplit=1)), 82904607, None)
    return Call(unpickle, *arguments, state=(dtype, array(cells, len(cells)), *more))


def text_frame(rows: list[list[object]], version: int) -> Call:
    """Return the table as pandas 3 pickles it, or pandas 1 with columns of its text type."""
    if version == 3:
        dtype = Call(Global("pandas", "StringDtype"), "python", float("nan"))
        frame_name = Global("pandas", "DataFrame")
        index_name = Global("pandas", "Index")
        array_class, more = "pandas.arrays.StringArray", ()
        labels = texts(list(NAMES), array_class, dtype)
    else:
        dtype = Call(Global("pandas.core.arrays.string_", "StringDtype"), state={"storage": "p"})
        frame_name = Global("pandas.core.frame", "DataFrame")
        index_name = Global("pandas.core.indexes.base", "Index")
        array_class, more = "pandas.core.arrays.string_.StringArray", ({},)
        labels = array(list(NAMES), len(NAMES))
    unpickle = Global("pandas._libs.internals", "_unpickle_block")
    blocks = []
    for position, column in enumerate(zip(*rows, strict=True)):
        placement = Call(Global("builtins", "slice"), position, position + 1, 1)
        cells = texts(list(column), array_class, dtype, *more)
        blocks.append(Call(unpickle, cells, placement, 2))
    new_index = Global("pandas.core.indexes.base", "_new_Index")
    index = Call(new_index, index_name, {"data": labels, "name": None})
    manager_name = Global("pandas.core.internals.managers", "BlockManager")
    manager = Call(manager_name, tuple(blocks), [index, row_labels(version)])
    return Call(frame_name, state={"_mgr": manager, "_typ": "dataframe"})


def row_labels(version: int) -> Call:
    """Return the row labels of a whole table of pandas 3, and of selected rows of pandas 1."""
    new_index = Global("pandas.core.indexes.base", "_new_Index")
    if version == 3:
        bounds = {"name": None, "start": 0, "stop": 2, "step": 1}
        return Call(new_index, Global("pandas", "RangeIndex"), bounds)
    frombuffer = Global("numpy.core.numeric", "_frombuffer")
    i8 = Call(Global("numpy", "dtype"), "i8", False, True)
    data = Call(frombuffer, bytearray(struct.pack("<2q", 3, 8)), i8, (2,), "C")
    int_index = Global("pandas.core.indexes.numeric", "Int64Index")
    return Call(new_index, int_index, {"data": data, "name": None})


def save_table(tmp_path: Path, content: bytes) -> Path:
    """Write a pickle into the folder and return its path."""
    path = tmp_path / "table.pkl"
    path.write_bytes(content)
    return path
