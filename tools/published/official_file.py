"""Reads a configuration of the official score-SDE code, as nested dictionaries.

A file of theirs (.py) is looked at, never run: assignments of numbers, texts, lists and fields in
its `get_config`, and in the file of defaults that it imports, looked for in the folders above.
JSON of it will do as well, and an .npz that has one as `config_json`.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from options.choices import choose
from options.errors import StorageError
from options.project import nearest
from storage import npz

FUNCTION = "get_config"
DEEPEST = 8  # files that import one another
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def read(path: str | Path) -> dict[str, Any]:
    """The fields, {"training": {"sde": "vesde", ...}, ...}; StorageError for a file of anything
    else."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise StorageError(
            "official_config", str(path), f"a file{nearest(path)}", but="there is none"
        )
    reader = choose(READERS, path.suffix, "official_config")
    try:
        found = reader(path)
    except (SyntaxError, RecursionError, LookupError, TypeError, *npz.UNREADABLE) as error:
        raise StorageError("official_config", but=f"{path} cannot be read: {error}") from None
    if type(found) is not dict or not {"model", "training", "data"} <= found.keys():
        but = f"{path} has no sections model, training and data"
        raise StorageError("official_config", but=but)
    return found


def _of_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _of_npz(path: Path) -> Any:
    return json.loads(str(npz.read(path, ["config_json"])["config_json"]))


def _of_python(path: Path) -> Any:
    return _Module(path).call(FUNCTION)


READERS = {".json": _of_json, ".npz": _of_npz, ".py": _of_python}


class _Module:
    """The functions of a file and what it imports, as text."""

    def __init__(self, path: Path, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} files import one another")
        self.path, self.depth = path, depth
        body = ast.parse(path.read_text()).body
        self.functions = {node.name: node for node in body if type(node) is ast.FunctionDef}
        self.imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in body
            if type(node) is ast.ImportFrom
            for alias in node.names
        }

    def call(self, name: str) -> Any:
        """What the function of that name returns, given nothing."""
        if name in self.imported:
            module, theirs = self.imported[name]
            return _Module(self._file_of(module), self.depth + 1).call(theirs)
        if name not in self.functions:
            raise ValueError(f"{self.path.name} has no function {name}")
        names: dict[str, Any] = {}
        for statement in self.functions[name].body:
            if type(statement) is ast.Return and statement.value is not None:
                return self.value(statement.value, names)
            self._run(statement, names)
        raise ValueError(f"{name} of {self.path.name} returns nothing")

    def _file_of(self, module: str) -> Path:
        parts = Path(*module.split(".")).with_suffix(".py")
        for folder in self.path.resolve().parents:
            if (folder / parts).is_file():
                return folder / parts
        raise ValueError(f"it imports {module}, which is in no folder above it as {parts}")

    def _run(self, statement: ast.stmt, names: dict[str, Any]) -> None:
        if type(statement) is ast.Assign:
            value = self.value(statement.value, names)
            for target in statement.targets:
                self._assign(target, value, names)
        elif type(statement) is not ast.Expr or type(statement.value) is not ast.Constant:
            raise ValueError(
                f"line {statement.lineno} of {self.path.name} is no assignment: "
                f"{ast.unparse(statement)[:60]}"
            )

    def _assign(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        if type(target) is ast.Name:
            names[target.id] = value
        elif type(target) is ast.Attribute:
            self.value(target.value, names)[target.attr] = value
        else:
            raise ValueError(f"line {target.lineno} of {self.path.name} assigns to no field")

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """What an expression is worth; None for a call of anything but a configuration."""
        match node:
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple():
                return [self.value(item, names) for item in node.elts]
            case ast.Name():
                return names[node.id]
            case ast.Attribute():
                return self.value(node.value, names)[node.attr]
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand, names)
            case ast.BinOp() if type(node.op) in OPERATORS:
                pair = self.value(node.left, names), self.value(node.right, names)
                if not all(type(number) in (int, float) for number in pair):
                    raise ValueError(f"line {node.lineno} of {self.path.name} is no arithmetic")
                return OPERATORS[type(node.op)](*pair)
            case ast.Call():
                return self._called(node)
        raise ValueError(f"line {node.lineno} of {self.path.name}: {ast.unparse(node)[:60]}")

    def _called(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        if name.endswith("ConfigDict"):
            return {}
        known = name in self.functions or name in self.imported
        return self.call(name) if known else None
