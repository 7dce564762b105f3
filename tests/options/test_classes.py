"""Classes of a table and a user's own: what is taken, what is refused, and from where."""

import dataclasses
from abc import abstractmethod

import pytest

from models import MODELS
from options.classes import choose_class, folders_of, import_from, name_of, named
from options.errors import InvalidValue
from solvers import SOLVERS


@dataclasses.dataclass(frozen=True)
class Shape:
    @abstractmethod
    def area(self):
        """Of the whole."""


@dataclasses.dataclass(frozen=True)
class Square(Shape):
    side: float = 1.0

    def area(self):
        return self.side**2


@dataclasses.dataclass(frozen=True)
class Point(Shape):
    def area(self):
        return 0.0

    def check(self):
        pass


SHAPES = {"square": Square, "point": Point}
OWN = """
import dataclasses
from {here} import Shape

@dataclasses.dataclass(frozen=True)
class Disc(Shape):
    radius: float = 1.0

    def area(self):
        return 3 * self.radius**2

@dataclasses.dataclass(frozen=True)
class Blob(Shape):
    pass

@dataclasses.dataclass
class Duck:
    def area(self):
        return 1.0

class Bare(Shape):
    side: float = 2.0

    def area(self):
        return self.side

@dataclasses.dataclass(frozen=True)
class Still:
    def begin(self, process, run, x): ...
    def advance(self, process, run, state, i): ...

number = 3
""".replace("{here}", __name__)


@pytest.fixture
def folder(tmp_path, forget_own):
    (tmp_path / "shapes_of_mine.py").write_text(OWN)
    import_from(tmp_path)
    return tmp_path


def refused(table, name):
    with pytest.raises(InvalidValue) as error:
        choose_class(table, name, "shape")
    return str(error.value)


def test_a_class_of_ones_own_stands_beside_those_of_the_table(folder):
    disc = choose_class(SHAPES, "shapes_of_mine:Disc", "shape")
    assert disc(2.0).area() == 12 and named(SHAPES, "shapes_of_mine:Disc", "shape") == disc()
    assert choose_class(SHAPES, "square", "shape") is Square
    assert name_of(SHAPES, disc) == "shapes_of_mine:Disc" and name_of(SHAPES, Square) == "square"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sqare",
            "shape: got 'sqare', expected one of ['point', 'square']; did you mean 'square'?",
        ),
        (["square"], "shape: got ['square'], expected one of"),
        ("shapes_of_mine:", "shape: got 'shapes_of_mine:', expected 'module:Class', or one of"),
        ("../mine:Disc", "shape: got '../mine:Disc', expected 'module:Class', or one of"),
        (
            "shapes_of_mine:Dics",
            "shape: got 'shapes_of_mine:Dics', but shapes_of_mine has no 'Dics'; did you mean "
            "'Disc'?",
        ),
        ("shapes_of_mine:number", "shape: got 'shapes_of_mine:number', which is no class, expect"),
        ("shapes_of_mine:Duck", "expected a subclass of {here}.Shape"),
        ("shapes_of_mine:Blob", "shape: got 'shapes_of_mine:Blob', but it has no area"),
        ("shapes_of_mine:Bare", "expected a class under @dataclasses.dataclass(frozen=True)"),
        ("subprocess:Popen", "there is no module 'subprocess' in "),
        ("gone:Disc", "expected its folder on PYTHONPATH, or --config with a file beside it"),
        ("shapes_of_mine.gone:Disc", "there is no module 'shapes_of_mine.gone' in "),
    ],
)
def test_what_cannot_serve_is_named(folder, name, said):
    assert said.format(here=__name__) in refused(SHAPES, name)


def test_what_the_classes_of_a_table_share_is_asked_for_less_what_is_optional(folder):
    assert refused(SOLVERS, "shapes_of_mine:Still") == (
        "shape: got 'shapes_of_mine:Still', but it has no budget"
    )
    assert "expected a subclass of flax.linen.module.Module" in refused(
        MODELS, "shapes_of_mine:Disc"
    )


def test_an_error_in_the_module_is_left_alone(folder):
    (folder / "broken_of_mine.py").write_text("import there_is_none\n")
    (folder / "wrong_of_mine.py").write_text("1 / 0\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_none"):
        choose_class(SHAPES, "broken_of_mine:Disc", "shape")
    with pytest.raises(ZeroDivisionError):
        choose_class(SHAPES, "wrong_of_mine:Disc", "shape")


def test_a_name_that_is_taken_is_refused_before_anything_is_imported(folder, tmp_path):
    (folder / "sampling.py").write_text("1 / 0\n")
    said = refused(SHAPES, "sampling:Disc")
    assert f"{folder} has a module 'sampling', but that name is taken by " in said
    assert said.endswith("expected a module of another name")
    # Nor is the module of one folder taken for that of another.
    choose_class(SHAPES, "shapes_of_mine:Disc", "shape")
    other = tmp_path / "other"
    other.mkdir()
    (other / "shapes_of_mine.py").write_text("")
    import_from(other)
    assert "that name is taken by" in refused(SHAPES, "shapes_of_mine:Disc")
    import_from(folder)
    choose_class(SHAPES, "shapes_of_mine:Disc", "shape")


def test_only_folders_that_are_pointed_to_are_searched(tmp_path, forget_own):
    (tmp_path / "unseen_of_mine.py").write_text(OWN)
    assert "there is no module 'unseen_of_mine'" in refused(SHAPES, "unseen_of_mine:Disc")
    import_from(tmp_path)
    assert choose_class(SHAPES, "unseen_of_mine:Disc", "shape")
    assert folders_of(["unseen_of_mine:Disc", "gone:Disc", "square", 3]) == [str(tmp_path)]
    assert folders_of(["numpy:ndarray"]) == []
