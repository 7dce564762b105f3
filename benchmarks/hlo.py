"""The text of a compiled program: what its instructions compute and where they come from.

    %fused_computation.3 (param_0: f32[8,4]) -> f32[8,4] {
      ROOT %add.1 = f32[8,4]{1,0} add(%param_0, ...), metadata={op_name="jit(f)/jvp(Net)/add"}
    }
    ENTRY %main (...) -> ... {
      %loop_fusion.7 = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%fused_computation.3, ...
      %conv.2 = (f32[8]{0}, u8[0]{0}) custom-call(%x), custom_call_target="__cudnn$convForward", ...
    }

`op_name` is the path of scopes, transformations and primitives that JAX traced the instruction
under. A fusion has that of one of its instructions alone.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<op>[\w\-]+)\("
)
COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) (?:\(.*)?\{\s*$")
ORIGIN = re.compile(r'op_name="([^"]*)"')
TARGET = re.compile(r'custom_call_target="([^"]*)"')
CALLS = re.compile(r"calls=%?([\w.\-]+)")
BODY = re.compile(r"\b(?:body|to_apply)=%?([\w.\-]+)")
SHAPE = re.compile(r"\b(?P<type>[a-z]\w*)\[(?P<sizes>[\d,]*)\]")
OPERAND = re.compile(r"%([\w.\-]+)")
BITS = re.compile(r"\d+")
RUNS = {"while", "call"}


@dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      what: the opcode; of a custom call "custom-call:" and its target.
      origin: its op_name, "" where it has none.
      elements: of the result, or of all results together. bytes: of the same.
      calls: the computation that a fusion consists of, "" for all else.
      operands: the names of what it reads, each once.
      body: the computation that a loop or a call runs, "" for all else.
    """

    name: str
    what: str
    origin: str = ""
    elements: int = 0
    calls: str = ""
    bytes: int = 0
    operands: tuple[str, ...] = ()
    body: str = ""


@dataclass
class Program:
    """The instructions of all computations.

    Attributes:
      named: by name; names are unique in a program.
      computations: the instructions of each computation. entry: where the program begins.
    """

    named: dict[str, Instruction] = field(default_factory=dict)
    computations: dict[str, list[Instruction]] = field(default_factory=dict)
    entry: str = ""
    _kernels: dict[str, Instruction] = field(default_factory=dict)

    def add(self, computation: str, instruction: Instruction) -> None:
        self.named[instruction.name] = instruction
        self._kernels[kernel_name(instruction.name)] = instruction
        self.computations.setdefault(computation, []).append(instruction)

    def find(self, name: str) -> Instruction | None:
        """The instruction of this name, or the one that a GPU kernel of this name computes."""
        return self.named.get(name) or self._kernels.get(kernel_name(name))


def kernel_name(instruction: str) -> str:
    """The name of an instruction as that of a kernel: "loop_add_fusion.3" is loop_add_fusion_3."""
    return re.sub(r"\W", "_", instruction)


def parse(text: str) -> Program:
    """Reads `jax.stages.Compiled.as_text()`."""
    program, computation = Program(), ""
    for line in text.splitlines():
        if found := INSTRUCTION.match(line):
            program.add(computation, _instruction(found, line))
        elif begun := COMPUTATION.match(line):
            computation = begun["name"]
            program.entry = computation if line.startswith("ENTRY") else program.entry
    return program


def _instruction(found: re.Match[str], line: str) -> Instruction:
    what = found["op"]
    if target := TARGET.search(line):
        what = f"{what}:{target[1]}"
    origin, calls = ORIGIN.search(line), CALLS.search(line)
    return Instruction(
        name=found["name"],
        what=what,
        origin=origin[1] if origin else "",
        elements=elements(found["shape"]),
        calls=calls[1] if calls and found["op"] == "fusion" else "",
        bytes=_bytes(found["shape"]),
        operands=tuple(dict.fromkeys(OPERAND.findall(_arguments(line[found.end() :])))),
        body=body[1] if (body := BODY.search(line)) and found["op"] in RUNS else "",
    )


def _arguments(rest: str) -> str:
    """What stands before the bracket that closes."""
    depth = 1
    for i, character in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return rest[:i]
    return rest


def elements(shape: str) -> int:
    """Of "f32[8,4]{1,0}" 32; of a tuple the sum."""
    return sum(count for _, count in _arrays(shape))


def _bytes(shape: str) -> int:
    """Of "f32[8,4]{1,0}" 128; of a tuple the sum. A type without a width, as pred, takes a byte."""
    widths = ((BITS.search(kind), count) for kind, count in _arrays(shape))
    return sum(max(1, int(bits[0]) // 8) * n if bits else n for bits, n in widths)


def _arrays(shape: str) -> Iterator[tuple[str, int]]:
    """Type and number of elements of each."""
    for found in SHAPE.finditer(shape):
        yield found["type"], math.prod(int(d) for d in found["sizes"].split(",") if d)
