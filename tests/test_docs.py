"""What the documents show runs, and what they name is there."""

import ast
import dataclasses
import importlib
import itertools
import pathlib
import re
import subprocess
import sys
import tomllib
from urllib.parse import unquote

import pytest

import data
import models
import sde_lib
import solvers
from experiment import configuration, kinds
from experiment.doctor import CHECKS
from generation import control_tasks
from options.fields import choices, entries, fields, flat
from options.project import find
from tasks import conditions

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "notebooks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
# What runs and the examples make.
PRODUCTS = {
    "runs", "eval", "checkpoints", "tensorboard", "wandb", "pictures", "samples", "control", "docs",
    "doctor",
}  # fmt: skip
# The configuration of a run that a page speaks of, where it says no other.
OF_A_RUN = "configs/digits/vp.py"
FILE = re.compile(r"(?:^|\f)# (\w+\.py)\n([^\f]*)")  # a block that is one
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# What the examples add a line to.
TABLES = (
    sde_lib.PROCESSES,
    solvers.SOLVERS,
    models.MODELS,
    conditions.CONDITIONS,
    data.SOURCES,
    data.SPACES,
    control_tasks.TASKS,
    kinds.KINDS,
    CHECKS,
)


@pytest.fixture
def _tables_as_they_were():
    kept = [dict(table) for table in TABLES]
    yield
    for table, entries_ in zip(TABLES, kept, strict=True):
        table.clear()
        table.update(entries_)


SETTINGS = [kind.settings for kind in kinds.KINDS.values()]


def sections() -> list[tuple[str, str]]:
    """(page and heading, Python) of every section with Python in it; its blocks are one program."""
    found = []
    for page in PAGES:
        for section in re.split(r"^(?=## )", page.read_text(), flags=re.MULTILINE):
            blocks = [text for kind, text in BLOCK.findall(section) if kind == "python"]
            if blocks:
                heading = section.splitlines()[0].lstrip("# ")
                found.append((f"{page.name}: {heading}", "\f".join(blocks)))
    return found


def commands() -> list[tuple[str, str]]:
    """(page, command) of every command line, with continued lines joined."""
    found = []
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text()):
            if kind == "bash":
                lines = text.replace("\\\n", " ").splitlines()
                found += [(page.name, line) for line in lines if line and line[0] != "#"]
    return found


@pytest.mark.usefixtures("_tables_as_they_were", "forget_own")
@pytest.mark.parametrize(("name", "program"), sections(), ids=[name for name, _ in sections()])
def test_python_runs(name, program, tmp_path, monkeypatch):
    """As it stands, in a folder with the files that it shows, but that ten digits are drawn where
    the first screen draws a hundred."""
    program = program.replace("sample(100, steps=50)", "sample(10, steps=5)")
    monkeypatch.chdir(tmp_path)
    for file, text in FILE.findall(program):
        (tmp_path / file).write_text(text)
    (tmp_path / "data").symlink_to(ROOT / "data")
    exec(compile(program.replace("\f", "\n"), name, "exec"), {"__name__": name})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_names_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:[\w-]+/)+[\w.-]*|[\w.-]+\.(?:py|md|toml))`", text):
        if name.partition("/")[0] not in PRODUCTS:
            assert (ROOT / name).exists() or find(name).exists(), name


def anchors(page: pathlib.Path) -> set[str]:
    """What GitHub and the site call the headings of a page."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(n for n in _numbered(name) if n not in found))
    return found


def _numbered(name: str):
    yield name
    yield from (f"{name}-{i}" for i in itertools.count(1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        to = page.parent / target if target else page
        assert anchor in anchors(to), f"{target}#{anchor}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    """Pages, notebooks and the reference of every module, configurations among them."""
    command = [sys.executable, "-m", "tools.build_site", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
    built = {path: path.read_text() for path in tmp_path.rglob("*.html")}
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in built.items()}
    checked = 0
    for path, text in built.items():
        for link in re.findall(r'<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            place, _, anchor = unquote(link).partition("#")
            # Of another site; of a page that may be shown anywhere; made by a program in the page.
            if re.match(r"[a-z]+:|/", place) or path.name == "404.html" or "${" in place:
                continue
            to = (path.parent / place.partition("?")[0]).resolve() if place else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), f"{path.relative_to(tmp_path)}: {link}"
            assert not anchor or to not in names or anchor in names[to], link
            checked += 1
    assert checked > 5000
    for name in ("sde_lib", "main", "configs/ve/cifar10_ncsnpp", "solvers/heun", "tools/demo"):
        assert tmp_path / "api" / f"{name}.html" in built


def program(name: str) -> pathlib.Path:
    """The file of `python -m name`."""
    path = ROOT / name.replace(".", "/")
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def flags_of(path: pathlib.Path) -> set[str]:
    """The flags that a program defines, or what it shares with others of tools/."""
    text = path.read_text()
    shared = re.findall(r"^from (tools[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
    names = {f"{package}.{name}" for package, taken in shared for name in taken.split(", ")}
    places = [program(name) for name in names | {package for package, _ in shared}]
    texts = [text, *(place.read_text() for place in places if place.is_file())]
    return set(re.findall(r'\(\s*"(?:--)?([\w-]+)"', "".join(texts))) | {"help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_have_the_flags_that_are_shown(page):
    """In blocks and in lines; what follows `main.py` is another test's."""
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(
        r"python -m ((?:tools|metrics|benchmarks)[\w.]*)([^\n`|;&]*)", text
    ):
        assert program(name).is_file(), name
        if name == "tools.install":  # whose options are pip's
            continue
        for flag in re.findall(r"(?<= )--([\w-]+)", rest):
            assert flag in flags_of(program(name)), f"{name} --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fields_in_lines_exist(page):
    """`--config.a.b=c` of a sentence or a table, whatever is chosen by name."""
    if page.name == "extending.md":  # which adds fields
        return
    for name in re.findall(r"--config\.([\w.]+)", page.read_text()):
        path = name.split(".")
        assert any(field_of(cls, path) for cls in SETTINGS), name


def test_every_tool_is_named_where_tools_are_and_among_the_changes():
    for page in (ROOT / "docs" / "running.md", ROOT / "CHANGELOG.md"):
        text = page.read_text()
        for path in (ROOT / "tools").glob("*.py"):
            if "__main__" in path.read_text():
                assert f"tools.{path.stem}" in text or f"tools/{path.name}" in text, path.name


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_name_what_there_is(page, command):
    for target in re.findall(r"\bmake ([a-z]+)", command):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    for module in re.findall(r"python -m ((?:tools|metrics)\.\w+)", command):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    check_flags(command)


def check_flags(command: str) -> None:
    """Of `main.py`: the flags, configurations and fields of a command exist."""
    for option in re.findall(r"--([\w]+)", command.partition("main.py")[2]):
        assert f'"{option}"' in (ROOT / "main.py").read_text() or option == "help", option
    for file in re.findall(r"--config[= ](\S+\.py)", command):
        assert (ROOT / file).is_file(), file
    for name in re.findall(r"--(?:config|weights)[= ](?!runs/)([\w/]+)(?= |$)", command):
        assert find(name).is_file(), name
    overrides = dict(re.findall(r"--config\.([\w.]+)=(\S*)", command))
    if overrides:
        given = re.search(r"--(?:config|weights)[= ](configs/\S+|pretrained/\S+)", command)
        read = configuration.read(ROOT / (given[1] if given else OF_A_RUN))
        known = flat(kinds.complete(read, overrides))
        for name in overrides:
            assert name in known or f"{name}.name" in known, name


def trainings() -> dict[str, str]:
    """The command of each configuration that is trained by one, as its header has it."""
    found = {}
    for path in sorted((ROOT / "configs").rglob("*.py")):
        header = re.sub(r"\\?\n\s*", " ", ast.get_docstring(ast.parse(path.read_text())) or "")
        if command := re.search(r"Command: (python main\.py .*?--mode train)", header):
            found[str(path.relative_to(ROOT))] = " ".join(command[1].split())
    return found


@pytest.mark.parametrize(("config", "command"), trainings().items(), ids=list(trainings()))
def test_every_configuration_is_among_the_results_with_its_command(config, command):
    """That of its header, in a row of a table, once."""
    assert f"--config {config} " in command
    rows = re.findall(r"^\|.*\|$", (ROOT / "docs" / "results.md").read_text(), re.MULTILINE)
    assert sum(f"`{command}`" in row for row in rows) == 1
    check_flags(command)


def test_no_two_published_configurations_are_trained_in_one_workdir():
    found = [re.search(r"--workdir (runs/\S+)", command) for command in trainings().values()]
    folders = [folder[1] for folder in found if folder and folder[1] != "runs/mine"]
    assert len(folders) > 20 and len(set(folders)) == len(folders)


def test_no_result_is_of_a_configuration_that_there_is_not():
    text = (ROOT / "docs" / "results.md").read_text()
    for command in re.findall(r"`(python main\.py [^`]*)`", text):
        check_flags(command)


def field_of(cls: type, path: list[str]) -> bool:
    """Whether a dotted name is a field of the sections of this class, whatever is chosen in it."""
    name, *rest = path
    field = next((field for field in fields(cls) if field.name == name), None)
    if field is None:
        return False
    if table := choices(field):
        return rest in ([], ["name"]) or any(field_of(made, rest) for made in table.values())
    if table := entries(field):
        known = not rest or rest[0] in table
        return known and (len(rest) < 2 or field_of(table[rest[0]], rest[1:]))
    if dataclasses.is_dataclass(field.default) and rest:
        return field_of(type(field.default), rest)
    return not rest


def test_fields_that_are_mentioned_exist():
    """`section.field` is a field of the configurations, or something of the module of that name."""
    known = {field.name for cls in SETTINGS for field in fields(cls)}
    for page in PAGES:
        for name in re.findall(r"`(\w+(?:\.\w+)+)(?:=[^`]*)?`", page.read_text()):
            path = name.split(".")
            if path[0] not in known or path[-1] in ("py", "npz", "txt", "tsv", "csv", "md"):
                continue
            of_settings = any(field_of(cls, path) for cls in SETTINGS)
            assert of_settings or _found(path), f"{page.name}: {name}"


def test_the_pieces_of_the_original_are_where_the_table_says():
    """Every dotted name on the right of "coming from" is a field, or something that exists."""
    table = (ROOT / "docs" / "coming_from.md").read_text()
    own = {path.stem for path in ROOT.glob("*.py")} | {p.parent.name for p in ROOT.glob("*/*.py")}
    names = [
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z_]\w*(?:\.\w+)+)[`(]", row.rpartition(" | ")[2])
        if name.partition(".")[0] in own and not name.endswith(".py")
    ]
    assert len(names) > 60
    for name in names:
        path = name.split(".")
        assert any(field_of(cls, path) for cls in SETTINGS) or _found(path), name


def _found(path: list[str]) -> bool:
    """Whether a dotted name can be imported, up to the methods and fields of its class."""
    for end in range(len(path), 0, -1):
        try:
            found = importlib.import_module(".".join(path[:end]))
        except ImportError:
            continue
        for name in path[end:]:
            annotated = getattr(found, "__annotations__", {})
            if not hasattr(found, name) and name not in annotated:
                return False
            found = getattr(found, name, None)
        return True
    return False


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_module_begins_with_what_it_is():
    for path in [
        *ROOT.glob("*.py"),
        *(ROOT / "tools").glob("*.py"),
        *(ROOT / "solvers").glob("*.py"),
    ]:
        assert ast.get_docstring(ast.parse(path.read_text())), path
