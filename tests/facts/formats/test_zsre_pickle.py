"""The real zsRE pickle is read, and nothing in a hostile pickle is executed."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from contraflow.errors import UserError
from contraflow.facts.formats import Skipped, convert
from contraflow.facts.formats import _inert_pickle as inert

ZSRE = Path(__file__).parents[3] / ".." / "shared" / "data" / "zsre" / "ZSRE_1000.pkl"
needs_zsre = pytest.mark.skipif(not ZSRE.is_file(), reason="the zsRE pickle is not on this machine")


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
    dtype = Call(Global("numpy", "dtype"), "O8", False, True)
    header = (Global("numpy", "ndarray"), (0,), b"b")
    reconstruct = Global("numpy._core.multiarray", "_reconstruct")
    return Call(reconstruct, *header, state=(1, shape, dtype, False, cells))


def block(cells: list[object], start: int, columns: int) -> Call:
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


def save(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "table.pkl"
    path.write_bytes(content)
    return path


@needs_zsre
def test_the_published_table_gives_its_facts() -> None:
    skipped = Skipped()
    facts = list(convert(ZSRE, on_error="skip", skipped=skipped))
    assert len(facts) == 986
    assert skipped.repeated == 6  # edits that another row has with another question
    assert facts[0].subject == "Colt King Cobra"
    assert (
        facts[0].edit_fact
        == "The manufacturer of Colt King Cobra was Colt's Manufacturing Corporation"
    )
    assert facts[0].original_answer == "Colt's Manufacturing Company"
    assert facts[0].question == "The manufacturer of Colt King Cobra was"
    assert sum(fact.subject in fact.edit_fact for fact in facts) > 950
    assert skipped.count == 8
    assert all("'edited_answer' is empty" in message for message in skipped.messages)


@needs_zsre
def test_an_empty_cell_stops_the_conversion_with_its_row() -> None:
    with pytest.raises(UserError, match=r"ZSRE_1000\.pkl:222: column 'edited_answer' is empty"):
        list(convert(ZSRE))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_prompts_become_questions_and_blocks_become_columns(tmp_path: Path, protocol: int) -> None:
    path = save(tmp_path, pickled(frame(ROWS), protocol))
    first, second = convert(path)
    assert (first.question, first.subject, first.original_fact) == (
        "who wrote Hamlet?",
        "Hamlet",
        "S wrote Hamlet",
    )
    assert (second.question, second.edited_answer) == ("The capital of France is", "Rome")


def test_scattered_columns_beside_columns_of_numbers(tmp_path: Path) -> None:
    """pandas keeps numbers in another block and lists the text columns by 64-bit numbers."""
    whole = frame(ROWS)
    frombuffer, i8 = (
        Global("numpy._core.numeric", "_frombuffer"),
        Call(Global("numpy", "dtype"), "i8", False, True),
    )
    unpickle = Global("pandas._libs.internals", "_unpickle_block")
    cells = [cell for column in zip(*ROWS, strict=True) for cell in column]
    scattered = bytearray(struct.pack("<6q", 0, 1, 3, 4, 5, 6))
    text = Call(unpickle, array(cells, 6, 2), Call(frombuffer, scattered, i8, (6,), "C"), 2)
    slice_of_one = Call(Global("builtins", "slice"), 2, 3, 1)
    numbers = Call(unpickle, Call(frombuffer, bytearray(16), i8, (1, 2), "C"), slice_of_one, 2)
    manager = whole.state["_mgr"]  # type: ignore[index]
    labels = [*NAMES[:2], "count", *NAMES[2:]]
    manager.arguments[1][0].arguments[1]["data"] = array(labels, 7)
    manager.arguments = ((text, numbers), manager.arguments[1])
    facts = list(convert(save(tmp_path, pickled(whole, protocol=5))))
    assert [(fact.subject, fact.edited_answer) for fact in facts] == [
        ("Hamlet", "Marlowe"),
        ("France", "Rome"),
    ]


@pytest.mark.parametrize("version", [1, 3])
def test_text_columns_of_pandas_1_and_3_are_read(tmp_path: Path, version: int) -> None:
    facts = list(convert(save(tmp_path, pickled(text_frame(ROWS, version), protocol=5))))
    assert [(fact.subject, fact.edited_answer, fact.question) for fact in facts] == [
        ("Hamlet", "Marlowe", "who wrote Hamlet?"),
        ("France", "Rome", "The capital of France is"),
    ]


def test_selected_rows_of_pandas_1_are_read(tmp_path: Path) -> None:
    table = frame(ROWS)
    manager = table.state["_mgr"]  # type: ignore[index]
    manager.arguments = (manager.arguments[0], [manager.arguments[1][0], row_labels(1)])
    facts = list(convert(save(tmp_path, pickled(table, protocol=5))))
    assert [fact.subject for fact in facts] == ["Hamlet", "France"]


@pytest.mark.parametrize(
    "cell", [float("nan"), None, Global("pandas._libs.missing", "NA"), Global("pandas", "NA")]
)
def test_an_empty_text_cell_is_one_bad_row(tmp_path: Path, cell: object) -> None:
    rows = [ROWS[0], [*ROWS[1][:2], cell, *ROWS[1][3:]]]
    skipped = Skipped()
    path = save(tmp_path, pickled(text_frame(rows, 3), protocol=5))
    [fact] = convert(path, on_error="skip", skipped=skipped)
    assert fact.subject == "Hamlet"
    assert "table.pkl:2: column 'edited_answer' is empty" in skipped.messages[0]


@pytest.mark.parametrize(
    "name", ["pandas.arrays.ArrowStringArray", "pandas.core.arrays.categorical.Categorical"]
)
def test_other_types_of_columns_are_refused_as_such(tmp_path: Path, name: str) -> None:
    column = Call(Global(*name.rsplit(".", maxsplit=1)), 1)
    with pytest.raises(
        UserError, match=f"'{name}', which belongs to a pandas version or to a type"
    ):
        convert(save(tmp_path, pickled(column)))


def test_a_text_column_of_an_unknown_layout_is_no_table(tmp_path: Path) -> None:
    for state in (None, (1,), (1, 2), (1, array(["a", "b"], 2, 1))):
        whole = text_frame(ROWS, 3)
        whole.state["_mgr"].arguments[0][0].arguments[0].state = state  # type: ignore[index]
        with pytest.raises(UserError, match="export the table as CSV or JSONL"):
            convert(save(tmp_path, pickled(whole)))


@pytest.mark.parametrize("bounds", [(0, 10**30, 1), (0, 5, 1), (-4, 0, 1), (0, 4, 0), ("a", 4, 1)])
def test_impossible_column_positions_are_no_table(
    tmp_path: Path, bounds: tuple[object, ...]
) -> None:
    whole = frame(ROWS)
    whole.state["_mgr"].arguments[0][0].arguments[1].arguments = bounds  # type: ignore[index]
    with pytest.raises(UserError, match="export the table as CSV or JSONL"):
        convert(save(tmp_path, pickled(whole)))


def test_other_column_names_can_be_mapped(tmp_path: Path) -> None:
    path = save(tmp_path, pickled(frame(ROWS, [*NAMES[:3], "Subj", *NAMES[4:]])))
    with pytest.raises(UserError, match="column 'subject' is missing; the table has: prompt"):
        convert(path)
    assert [fact.subject for fact in convert(path, columns={"subject": "Subj"})] == [
        "Hamlet",
        "France",
    ]


class RunsACommand:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    """Return pickles that create `marker` when they are executed."""
    command = f"touch {marker}"
    inner = pickle.dumps(RunsACommand(os.system, command))
    code = f"open({str(marker)!r}, 'w')"
    np_reconstruct, new_index = "numpy._core.multiarray", "pandas.core.indexes.base"
    system = Global("posix", "system")
    return {
        "os.system": inner,
        "builtins.eval": pickle.dumps(RunsACommand(eval, code)),
        "builtins.exec": pickle.dumps(RunsACommand(exec, code), protocol=0),
        "nested pickle": pickle.dumps(RunsACommand(pickle.loads, inner)),
        "getattr chain": pickled(Call(Global("builtins", "getattr"), Global("os", "path"), "join")),
        "dotted name": pickled(Call(Global("pandas.core.frame", "DataFrame.eval"), code)),
        "reconstruct of a function": pickled(
            Call(Global(np_reconstruct, "_reconstruct"), system, (command,), b"b")
        ),
        "index of a function": pickled(
            Call(Global(new_index, "_new_Index"), system, {"command": command})
        ),
        "hidden in a cell": pickled(frame([[*ROWS[0][:5], Call(system, command)]])),
    }


@pytest.mark.defect(12)
@pytest.mark.parametrize("name", list(hostile(Path("marker"))))
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    path = save(tmp_path, hostile(marker)[name])
    with pytest.raises(UserError, match="refused: the pickle asks for") as caught:
        list(convert(path))
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_forbidden_name_is_in_the_message(tmp_path: Path) -> None:
    path = save(tmp_path, hostile(tmp_path / "marker")["os.system"])
    with pytest.raises(UserError, match=r"'posix\.system'.*nothing in it was run; .*export"):
        convert(path)


def test_an_allowed_function_that_is_misused_does_nothing(tmp_path: Path) -> None:
    """Every allowed name is called with arguments on which the real one would act."""
    for name in inert._STAND_INS:
        module, _, attribute = name.rpartition(".")
        call = Call(
            Global(module, attribute),
            "x" * 10,
            10**9,
            state={"__class__": "x", "__setstate__": None},
        )
        with pytest.raises(UserError, match="does not hold a pandas table"):
            convert(save(tmp_path, pickled(call)))


def test_a_pickle_cannot_change_our_stand_ins(tmp_path: Path) -> None:
    """BUILD on a class would set attributes that outlive the load."""
    before = inert.Frame.__setstate__
    content = b"\x80\x04cpandas.core.frame\nDataFrame\n" + b"N}\x8c\x0c__setstate__Ns\x86b."
    with pytest.raises(UserError, match="not a readable pickle"):
        convert(save(tmp_path, content))
    with pytest.raises(TypeError):
        inert.Frame.args = ()
    assert inert.Frame.__setstate__ is before


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04Pid\n.",  # a persistent id
        b"\x80\x04\x82\x01.",  # an extension code
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"(ios\nsystem\n.",  # the opcode of old-style instances
        b"\x80\x04Nr"
        + struct.pack("<I", 2**31 - 1)
        + b".",  # a memo slot that would cost gigabytes
    ],
)
def test_opcodes_that_no_table_needs_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="refused: the pickle"):
        convert(save(tmp_path, content))


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", b"\x80\x04", b"\x80\x04\x8e" + b"\xff" * 8 + b"."]
)
def test_what_is_no_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"table\.pkl: is not a readable pickle"):
        convert(save(tmp_path, content))


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"prompt": ["a"]},
        frame([[*ROWS[0][:4], "E", "O"]], [*NAMES[:5]]),  # a column without a label
        Call(Global("pandas.core.frame", "DataFrame"), state={"_mgr": 1}),
        block(["a"], 0, 1),
    ],
)
def test_other_contents_are_no_table(tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match="export the table as CSV or JSONL"):
        convert(save(tmp_path, pickled(value)))


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inert, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="is larger than"):
        convert(save(tmp_path, pickled(frame(ROWS))))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pkl: cannot be read"):
        convert(tmp_path / "none.pkl")


def test_only_opcodes_that_exist_are_allowed() -> None:
    assert {opcode.name for opcode in pickletools.opcodes} >= inert._OPCODES
