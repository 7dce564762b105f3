"""Sections are read off dataclasses: defaults are theirs, and what nothing reads is refused."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from experiment import sections
from options.errors import InvalidValue, UserError, within
from options.fields import chosen, hidden, several


@dataclasses.dataclass(frozen=True)
class Circle:
    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise InvalidValue("radius", self.radius, "a positive number")


@dataclasses.dataclass(frozen=True)
class Box:
    sides: tuple[int, ...] = (1, 2)
    depth: float | None = None
    secret: int = hidden(7)


@dataclasses.dataclass(frozen=True)
class Polygon:
    corners: int
    turned: float = 0.0


SHAPES = {"circle": Circle, "box": Box, "polygon": Polygon}


@dataclasses.dataclass(frozen=True)
class Framed:
    inner: object = chosen(SHAPES, Circle(radius=2.0))
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    count: int = 3
    shape: object = chosen(lambda: {**SHAPES, "framed": Framed}, Box())
    stamps: tuple = several(SHAPES)
    frame: Framed = Framed(label="outer")
    size: str | int = "auto"
    names: tuple[str, ...] = ()


def complete(given: dict) -> ConfigDict:
    return sections.complete(Page(), given)


def made(given: dict) -> Page:
    return sections.make(Page, complete(given))


def refused(given: dict) -> str:
    with pytest.raises(InvalidValue) as error:
        made(given)
    return str(error.value)


def test_what_is_not_given_is_the_default_of_the_class():
    assert made({}) == Page()
    section = complete({}).to_dict()
    assert section["shape"] == {"name": "box", "sides": (1, 2), "depth": None}
    assert section["frame"] == {"inner": {"name": "circle", "radius": 2.0}, "label": "outer"}
    assert section["stamps"] == {}


def test_a_choice_has_the_fields_of_its_class_and_no_others():
    assert made({"shape": "circle"}).shape == Circle()
    assert made({"shape": {"name": "circle", "radius": 5}}).shape == Circle(5.0)
    assert "sides" not in complete({"shape": "circle"}).shape
    # The default instance of a field is kept where its own class is named, not for another's.
    assert made({"frame": {"inner": "circle"}}).frame.inner == Circle(2.0)
    assert made({"shape": {"name": "framed", "inner": "box"}}).shape == Framed(Box())


def test_several_choices_are_those_that_are_there_in_the_order_of_the_table():
    page = made({"stamps": {"box": {"sides": [4]}, "circle": {}}})
    assert page.stamps == (Circle(), Box((4,)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cuont": 4}, "cuont: Page has no such field; did you mean 'count'?"),
        ({"shape": {"radius": 3.0}}, "shape.radius: Box has no such field"),
        ({"shape": {"secret": 3}}, "shape.secret: Box has no such field"),
        ({"frame": {"name": "box"}}, "frame.name: Framed has no such field"),
        ({"shape": "bix"}, "shape: got 'bix', expected one of ['box', 'circle', 'framed', 'pol"),
        ({"shape": {"name": "circle", "radius": -1.0}}, "shape.radius: got -1.0, expected a posit"),
        ({"frame": {"inner": {"radius": -1.0}}}, "frame.inner.radius: got -1.0"),
        ({"stamps": {"oval": {}}}, "stamps: got 'oval', expected one of"),
        ({"stamps": {"circle": {"radius": 0.0}}}, "stamps.circle.radius: got 0.0"),
        ({"shape": "polygon"}, "shape.corners: expected a whole number"),
        ({"stamps": {"polygon": {}}}, "stamps.polygon.corners: expected a whole number"),
        ({"count": "four"}, "count: got 'four', expected a whole number"),
        ({"count": 4.5}, "count: got 4.5, expected a whole number"),
        ({"count": True}, "count: got True, expected a whole number"),
        ({"shape": {"depth": "deep"}}, "shape.depth: got 'deep', expected a number"),
        ({"frame": 3}, "frame: got 3, expected a section with fields"),
        ({"shape": {"name": []}}, "shape: got [], expected one of"),
        ({"shape": {"name": {}}}, "shape: got {}, expected one of"),
        (
            {"shape": {"sides": [[1]]}},
            "shape.sides: got ([1],), expected a whole number or a number",
        ),
        (
            {"shape": {"sides": ["1"]}},
            "shape.sides: got ('1',), expected a whole number or a number",
        ),
        ({"names": [1]}, "names: got (1,), expected text each"),
    ],
)
def test_a_slip_is_named(given, said):
    assert refused(given).startswith(said)


def test_values_are_brought_to_the_type_of_their_field():
    page = made({"shape": {"sides": [3, 4], "depth": 2}, "size": 8})
    assert page.shape == Box((3, 4), 2.0) and page.size == "8"
    assert made({"shape": {"sides": 5}}).shape == Box((5,))
    section = complete({})
    section.shape.depth = 1.5  # unset, but of a known type
    with pytest.raises(TypeError):
        section.shape.depth = "deep"


def test_a_complete_section_is_complete_again_and_survives_json():
    section = complete({"shape": "framed", "stamps": {"circle": {"radius": 3.0}}})
    again = sections.complete(Page(), section.to_dict())
    assert again.to_dict() == section.to_dict()
    assert sections.make(Page, section) == sections.make(Page, again)


def test_an_error_of_a_section_has_its_field_value_and_expectation():
    with pytest.raises(UserError) as error, within("a", radius="size"):
        Circle(-2.0)
    assert (error.value.field, error.value.got) == ("a.size", -2.0)
    assert error.value.expected == "a positive number"
