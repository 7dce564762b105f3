"""What fields mean, as the docstrings of their classes say it."""

import dataclasses

from options.fields import meanings, summary


@dataclasses.dataclass(frozen=True)
class Shape:
    """A shape: of lines
    and circles.

    More of it.

    Attributes:
      colour: of the line. width, height: of the box,
        in pixels.
      kind: "round": a circle; width: no field here, 0 for none.
      other: no field.
    """

    colour: str = "red"
    width: int = 1
    height: int = 1
    kind: str = ""
    silent: int = 0


@dataclasses.dataclass(frozen=True)
class Box(Shape):
    """A box.

    Attributes: those of `Shape`, and
      colour: of the inside.
      depth: unset for none.

    Raises:
      height: never.
    """

    depth: int | None = None


@dataclasses.dataclass(frozen=True)
class Plain(Box):
    extra: int = 0


def test_the_meaning_of_each_field_is_found():
    assert meanings(Shape) == {
        "colour": "of the line.",
        "width": "width, height: of the box, in pixels.",
        "height": "width, height: of the box, in pixels.",
        "kind": '"round": a circle; width: no field here, 0 for none.',
    }


def test_a_class_adds_to_the_meanings_of_its_base():
    found = meanings(Box)
    assert found["colour"] == "of the inside." and found["depth"] == "unset for none."
    assert found["kind"] == meanings(Shape)["kind"] and found == meanings(Plain)


def test_a_summary_is_the_first_paragraph():
    assert summary(Shape) == "A shape: of lines and circles."
    assert summary(Box) == "A box."
