"""What the documents show runs, and what they name is there."""

import ast
import importlib.util
import pathlib
import re
import tomllib

import pytest

from configs.default import get_default_config

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# What runs and the examples make.
PRODUCTS = {"runs", "eval", "checkpoints", "tensorboard", "pictures", "samples", "docs"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> list[tuple[str, str]]:
    """(page and heading, Python) of every section with Python in it; its blocks are one program."""
    found = []
    for page in PAGES:
        for section in re.split(r"^(?=## )", page.read_text(), flags=re.MULTILINE):
            blocks = [text for kind, text in BLOCK.findall(section) if kind == "python"]
            if blocks:
                heading = section.splitlines()[0].lstrip("# ")
                found.append((f"{page.name}: {heading}", "\n".join(blocks)))
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


@pytest.mark.parametrize(("name", "program"), sections(), ids=[name for name, _ in sections()])
def test_python_runs(name, program, tmp_path, monkeypatch):
    """As it stands, but that ten digits are drawn where the first screen draws a hundred."""
    program = program.replace("shape=(100,", "shape=(10,").replace("arange(100)", "arange(10)")
    monkeypatch.chdir(tmp_path)
    for folder in ("pretrained", "data", "configs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    exec(compile(program, name, "exec"), {"__name__": name})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_names_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:[\w-]+/)+[\w.-]*|[\w.-]+\.(?:py|md|toml))`", text):
        if name.partition("/")[0] not in PRODUCTS:
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_name_what_there_is(page, command):
    for target in re.findall(r"\bmake ([a-z]+)", command):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    for module in re.findall(r"python -m ((?:tools|metrics)\.\w+)", command):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for option in re.findall(r"--([\w]+)", command.partition("main.py")[2]):
        assert f'"{option}"' in (ROOT / "main.py").read_text() or option == "help", option
    for file in re.findall(r"--config[= ](\S+\.py)", command):
        assert (ROOT / file).is_file(), file
    default = get_default_config().to_dict()
    for section, field in re.findall(r"--config\.(\w+)\.(\w+)", command):
        assert section == "model" or field in default[section], f"{section}.{field}"


def test_fields_that_are_mentioned_exist():
    """`section.field` is a field of the configs, or something of the module of that name."""
    default = get_default_config().to_dict()
    for page in PAGES:
        for section, field in re.findall(r"`(\w+)\.(\w+)(?:=[^`]*)?`", page.read_text()):
            if section == "model" or not isinstance(default.get(section), dict) or field == "py":
                continue
            module = importlib.import_module(section) if importlib.util.find_spec(section) else None
            assert field in default[section] or hasattr(module, field), f"{page.name}: {field}"


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
