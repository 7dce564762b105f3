"""Pickles from anywhere as data: nothing that a file names is imported, and nothing is executed.

A pickle is a program whose instructions may import and call anything. Here the instructions are
looked through before they run, and what a pickle names is only ever looked up in a table of the
reader's own, whose entries keep what they are given.
"""

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

# Instructions by which a file makes data, and calls what the table has. Others make instances by
# older ways, look up numbers of a registry, or take buffers from elsewhere.
ALLOWED = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 "
    "TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET "
    "GLOBAL STACK_GLOBAL REDUCE BUILD NEWOBJ BINPERSID".split()
)
STORES = {"PUT", "BINPUT", "LONG_BINPUT"}

File = Any  # a binary file that can be sought, on disk or in memory
Known = Callable[[str, str], Any]  # (module, name) -> what stands for it; KeyError for nothing


class Record:
    """An object of a file, as what it was made of: its class's name and its state, if any."""

    class_name = ""
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


def record_of(name: str) -> type[Record]:
    """A class of records for what a file calls `name`."""
    return type("Record", (Record,), {"class_name": name})


class Plain(dict):
    """A dictionary of a file, whatever kind it was; attributes that it had are left out."""

    def __setstate__(self, state: Any) -> None:
        pass


def load(file: File, known: Known, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The object of the pickle that begins where the file stands, which then stands behind it.

    known: what stands for a name. persistent: what stands for an object that is stored apart.

    Raises pickle.UnpicklingError for what is not allowed, and whatever a damaged pickle makes of
    the reader.
    """
    begin = file.tell()
    _look_through(file)
    file.seek(begin)
    return _Reader(file, known, persistent).load()


def _look_through(file: File) -> None:
    """UnpicklingError for an instruction that is not allowed, or that would store at a number that
    is beyond all instructions, for which the reader would make room."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name not in ALLOWED:
            raise pickle.UnpicklingError(f"got the instruction {opcode.name}, expected only data")
        if opcode.name in STORES and not 0 <= int(argument or 0) <= count:
            raise pickle.UnpicklingError(f"it stores at {argument}, beyond its instructions")


class _Reader(pickle.Unpickler):
    def __init__(self, file: File, known: Known, persistent: Any) -> None:
        super().__init__(file)
        self._known, self._persistent = known, persistent

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known(module, name)
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is nothing that such a file has to name"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to what is stored elsewhere")
        return self._persistent(pid)


def table(entries: Mapping[tuple[str, str], Any]) -> Known:
    """`Known` of a table."""
    return lambda module, name: entries[module, name]
