"""What may import what (docs/architecture.md), and whether the lists of packages are true."""

import ast
import functools
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from options.project import NAMED

ROOT = pathlib.Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Each module or package, and all that it may import of the project: only what stands above it.
MAY_IMPORT = {
    "options": "",  # which everything may import
    # Mathematics: no images, no files, no configs.
    "sde_lib": "",
    "parameterization": "sde_lib",
    "variational_bound": "sde_lib parameterization",
    "losses": "sde_lib parameterization variational_bound",
    "sampling": "sde_lib parameterization",
    "solvers": "sde_lib parameterization sampling",
    "likelihood": "sde_lib parameterization solvers",
    "oracles": "sde_lib parameterization",
    "models": "sde_lib parameterization",
    "tasks": "sde_lib parameterization losses models",
    # Images in, batches and metrics out.
    "storage": "",
    "data": "storage",
    "metrics": "sde_lib storage data",
    # Training, of whatever task.
    "training": "storage tasks",
    # Drawing from a model, and judging it.
    "controllable": "sde_lib parameterization sampling solvers metrics tasks",
    "generation": "sde_lib parameterization sampling solvers storage data metrics tasks"
    " controllable",
    "handwriting": "sde_lib parameterization sampling solvers models storage data metrics tasks"
    " generation",
    "evaluation": "sde_lib parameterization variational_bound solvers likelihood storage data"
    " metrics tasks generation handwriting",
    # Configs.
    "configs": "",
    "experiment": "sde_lib parameterization variational_bound losses sampling solvers likelihood"
    " models data training tasks generation handwriting evaluation controllable metrics storage",
    "main": "storage experiment",
}
READ_CONFIGS = {"main", "experiment", "configs", "tools"}
# Needed by a requirement that does not say so.
UNDECLARED = {"array_record", "importlib_resources"}
# Extras that `all` leaves out, and that nothing here is pinned to.
APART = {"wandb", "lsun", "text"}
# Of such an extra; or imported by a tool alone, and installed by its target of the Makefile.
OPTIONAL = {"wandb", "lmdb", "tokenizers", "resvg_py", "mkdocs", "pdoc"}
# Modules that import of an extra what was found before, or do without it.
UNNAMED = {"solver_page.py": {"plots"}, "pictures.py": {"plots"}}
# Files of pins for the project itself; the second is of the extras that `make` does not install.
PINS = ("requirements.txt", "requirements-judges.txt")
# Distributions whose modules have another name.
MODULE_OF = {
    "absl-py": "absl",
    "orbax-checkpoint": "orbax",
    "Pillow": "PIL",
    "pytest-cov": "pytest_cov",
    "pytest-xdist": "xdist",
    "tensorflow-datasets": "tensorflow_datasets",
}


@functools.cache
def files() -> dict[pathlib.Path, str]:
    """Every module of the project, with the module or package of the root that it belongs to."""
    folders = {name.partition(".")[0] for name in packages()}
    found = {path: path.stem for path in ROOT.glob("*.py")}
    return found | {path: name for name in sorted(folders) for path in (ROOT / name).rglob("*.py")}


def packages() -> set[str]:
    """Dotted names of the folders with modules, tests and such left out."""
    apart = {"tests", "docs", "notebooks", "benchmarks", "build"}
    places = {path.parent.relative_to(ROOT).parts for path in ROOT.glob("[!.]*/**/*.py")}
    return {".".join(parts) for parts in places if parts[0] not in apart}


@functools.cache
def tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: pathlib.Path) -> set[str]:
    """Modules of the root, the standard library or other packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            names.add(node.module.partition(".")[0])
    return names


def third_party(paths) -> set[str]:
    own = (
        set(MAY_IMPORT)
        | {"tools", "benchmarks"}
        | {path.stem for path in (ROOT / "tests").rglob("*.py")}
    )
    return {name for path in paths for name in imports(path)} - own - set(sys.stdlib_module_names)


def requirements(name: str) -> set[str]:
    """Module names of the distributions pinned in a requirements file."""
    lines = (ROOT / name).read_text().splitlines()
    pins = [line.split("#")[0].split(";")[0].strip() for line in lines]
    pins = [pin for pin in pins if pin and not pin.startswith("-r")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), pins
    return {module_of(pin.partition("==")[0]) for pin in pins}


def pinned() -> set[str]:
    """Modules of all that is pinned for the project itself."""
    return set().union(*map(requirements, PINS))


def module_of(distribution: str) -> str:
    """The module that a distribution brings."""
    return MODULE_OF.get(distribution, distribution.replace("-", "_"))


def test_the_table_has_no_cycle():
    above: set[str] = set()
    for name, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= above, name
        above.add(name)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    name = files()[path]
    own = imports(path) & (set(MAY_IMPORT) | {"tools"}) - {name, "options"}
    if name == "tools":  # programs, which nothing imports
        return
    assert name in MAY_IMPORT, f"{name}: say in MAY_IMPORT what it may import"
    assert own <= set(MAY_IMPORT[name].split())


def test_configs_stop_at_the_builders():
    readers = {name for path, name in files().items() if "ml_collections" in imports(path)}
    assert readers <= READ_CONFIGS


def test_no_module_asks_for_the_type_of_a_process():
    """Nothing but a table of names distinguishes one process from another."""
    bases = {"Process"}
    classes = [node for node in tree(ROOT / "sde_lib.py").body if isinstance(node, ast.ClassDef)]
    for node in classes:  # in the order of definition, so that one pass closes it
        if {base.id for base in node.bases if isinstance(base, ast.Name)} & bases:
            bases.add(node.name)
    assert {"VESDE", "VPSDE", "SubVPSDE"} <= bases
    for path in files():
        for node in ast.walk(tree(path)):
            asked: list[ast.AST] = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "isinstance",
                "issubclass",
            ):
                asked = list(ast.walk(node.args[1]))
            elif isinstance(node, ast.MatchClass):
                asked = list(ast.walk(node.cls))
            elif isinstance(node, ast.Compare):
                asked = list(ast.walk(node))
            names = {getattr(part, "id", getattr(part, "attr", "")) for part in asked}
            assert not names & bases, f"{path.name}:{node.lineno} asks for {names & bases}"


def test_every_import_is_required_and_every_requirement_imported():
    needed = pinned() - UNDECLARED
    assert third_party(files()) == needed | OPTIONAL


def test_the_tests_import_what_is_required():
    wanted = third_party((ROOT / "tests").rglob("*.py"))
    assert wanted <= pinned() | requirements("requirements-dev.txt")


def test_the_list_of_what_is_installed_is_complete():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    modules = {path.name for path in ROOT.glob("*.py")}
    folders = {name.partition(".")[0] for name in packages()} | set(NAMED)
    assert set(wheel["hooks"]["custom"]["project"]) == modules | folders


def ranges(specifications: list[str]) -> dict[str, tuple[int, ...]]:
    """The oldest version of each distribution, by the module's name."""
    found = {}
    for specification in specifications:
        name, oldest = re.fullmatch(r"([\w.-]+)>=([\d.]+)", specification).groups()
        found[module_of(name)] = numbers(oldest)
    return found


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def extras() -> dict[str, set[str]]:
    """Modules of each extra of pyproject.toml, without the one that is all of them."""
    listed = PYPROJECT["project"]["optional-dependencies"]
    return {name: set(ranges(listed[name])) for name in listed if name != "all"}


def test_what_is_pinned_is_in_the_ranges_of_the_metadata():
    listed = PYPROJECT["project"]["optional-dependencies"]
    (whole,) = listed["all"]
    of_all = set(extras()) - APART
    assert set(re.findall(r"\[(.*)\]", whole)[0].split(",")) == of_all
    oldest = ranges(
        PYPROJECT["project"]["dependencies"] + [s for name in of_all for s in listed[name]]
    )
    assert set(oldest) == pinned()
    for line in "\n".join((ROOT / name).read_text() for name in PINS).splitlines():
        if pin := re.match(r"([\w.-]+)==([\d.]+)", line):
            assert numbers(pin[2]) >= oldest[module_of(pin[1])], line


def guarded(path: pathlib.Path) -> dict[ast.AST, str]:
    """The imports inside `with extra("name"):`, and that name."""
    found = {}
    for node in ast.walk(tree(path)):
        for item in node.items if isinstance(node, ast.With) else ():
            call = item.context_expr
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "extra":
                found |= dict.fromkeys(node.body, call.args[0].value)
    return found


def imported(path: pathlib.Path) -> list[tuple[ast.AST, str]]:
    """Each import of a file, and the top of the name that it imports."""
    nodes = [(node, alias.name) for node in ast.walk(tree(path)) if isinstance(node, ast.Import)
             for alias in node.names]  # fmt: skip
    nodes += [
        (node, node.module) for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)
    ]
    return [(node, name.partition(".")[0]) for node, name in nodes]


def test_what_an_extra_brings_is_imported_where_it_is_needed():
    """Inside `with extra(...)`, whose message names that extra; what follows in a function may be
    without it."""
    optional = {module: name for name, modules in extras().items() for module in modules}
    for path in files():
        named = guarded(path)
        said = set(named.values())
        for node, module in imported(path):
            name = optional.get(module)
            if node in named:
                assert named[node] == name, f"{path}:{node.lineno}: {module} is of {name}"
            elif name is not None:
                of_module = node in tree(path).body
                assert not of_module, f"{path}:{node.lineno} imports {module} at once"
                assert name in said | UNNAMED.get(path.name, set()), f"{path}:{node.lineno}"


def test_tensorflow_is_never_imported():
    modules = [path.stem for path in ROOT.glob("*.py")]
    program = f"import sys, {', '.join(modules)}, tensorflow_datasets\nprint(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = ast.literal_eval(done.stdout)
    assert "tensorflow_datasets" in loaded and "tensorflow" not in loaded
