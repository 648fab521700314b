"""Nothing in a hostile pickle is run: what no table needs is refused by name."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.facts.formats import _inert_pickle as inert
from contraflow.facts.formats import convert
from support.pickled_tables import ROWS, Call, Global, frame, pickled, save_table


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
    path = save_table(tmp_path, hostile(marker)[name])
    with pytest.raises(UserError, match="refused: the pickle asks for") as caught:
        list(convert(path))
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_forbidden_name_is_in_the_message(tmp_path: Path) -> None:
    path = save_table(tmp_path, hostile(tmp_path / "marker")["os.system"])
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
            convert(save_table(tmp_path, pickled(call)))


def test_a_pickle_cannot_change_our_stand_ins(tmp_path: Path) -> None:
    """BUILD on a class would set attributes that outlive the load."""
    before = inert.Frame.__setstate__
    content = b"\x80\x04cpandas.core.frame\nDataFrame\n" + b"N}\x8c\x0c__setstate__Ns\x86b."
    with pytest.raises(UserError, match="not a readable pickle"):
        convert(save_table(tmp_path, content))
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
        convert(save_table(tmp_path, content))


def test_only_opcodes_that_exist_are_allowed() -> None:
    assert {opcode.name for opcode in pickletools.opcodes} >= inert._OPCODES
