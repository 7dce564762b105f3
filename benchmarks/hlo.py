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
from dataclasses import dataclass, field

INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<op>[\w\-]+)\("
)
COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) (?:\(.*)?\{\s*$")
ORIGIN = re.compile(r'op_name="([^"]*)"')
TARGET = re.compile(r'custom_call_target="([^"]*)"')
CALLS = re.compile(r"calls=%?([\w.\-]+)")
SHAPE = re.compile(r"\b[a-z]\w*\[([\d,]*)\]")


@dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      what: the opcode; of a custom call "custom-call:" and its target.
      origin: its op_name, "" where it has none.
      elements: of the result, or of all results together.
      calls: the computation that a fusion consists of, "" for all else.
    """

    name: str
    what: str
    origin: str = ""
    elements: int = 0
    calls: str = ""


@dataclass
class Program:
    """The instructions of all computations.

    Attributes:
      named: by name; names are unique in a program.
      computations: the instructions of each computation.
    """

    named: dict[str, Instruction] = field(default_factory=dict)
    computations: dict[str, list[Instruction]] = field(default_factory=dict)
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
    )


def elements(shape: str) -> int:
    """Of "f32[8,4]{1,0}" 32; of a tuple the sum."""
    sizes = [[int(d) for d in dims.split(",") if d] for dims in SHAPE.findall(shape)]
    return sum(math.prod(size) for size in sizes)
