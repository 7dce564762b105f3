"""Shared by all tests: run-time shape checks, golden outputs, exact oracles."""

import collections
import gc
import itertools
import os
import pathlib
import signal
import sys
import tempfile

from options.project import version_of

# A run in the background of a shell ignores Ctrl-C, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before the first import of JAX: programs of tests run for moments and should compile fast. An
# XLA_FLAGS of one's own, which may be empty, is left as it is; `make slow` compiles as users do.
FAST_TO_COMPILE = ["--xla_backend_optimization_level=1"]
if version_of("jaxlib") < (0, 11, 2):  # which ends the process at a flag that it does not know
    FAST_TO_COMPILE.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FAST_TO_COMPILE))

# What is kept between runs is kept for this one.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="score-sde-tests-")

from jaxtyping import install_import_hook  # noqa: E402

# Every jaxtyping annotation of these modules is checked at run time.
CHECKED = [
    "data", "evaluation.image_models", "generation.sampler", "handwriting", "likelihood", "losses",
    "metrics", "models", "parameterization", "sampling", "sde_lib", "solvers", "storage.pictures",
    "tasks", "tools", "training.ema", "training.optimizer", "variational_bound",
]  # fmt: skip
install_import_hook(CHECKED, "typechecker.typechecked")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent
CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR")
if CACHE:
    # For the programs that tests start, too: what one compiled the others read, small ones as well,
    # of which there are most.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", CACHE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


# A compiled program holds some ten mappings of memory, of which Linux gives a process 65,530: past
# them the compiler dies of a segmentation fault.
MOST_MAPPINGS = 15_000


def mappings() -> int:
    """How many mappings of memory this process has; 0 where that is not to be known."""
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.is_file() else 0


@pytest.fixture(autouse=True, scope="module")
def _settled_heap():
    """What a module leaves behind, traced programs above all, is not looked through again: late in
    a session a collection takes seconds, and every training run asks for some. Once there are many
    programs they are dropped."""
    yield
    drop_programs(MOST_MAPPINGS)
    gc.collect()
    gc.freeze()


def drop_programs(most: int) -> None:
    """The compiled programs, if they have more mappings than that."""
    if mappings() > most:
        gc.unfreeze()
        jax.clear_caches()


TESTS = itertools.count(1)  # that have run


@pytest.fixture(autouse=True)
def _few_programs():
    """Within a module of very many tests too, though late, since it may use them again."""
    yield
    if next(TESTS) % 50 == 0:
        drop_programs(3 * MOST_MAPPINGS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`one_in(n)`: the first case of every n in their order stays, the others are marked slow."""
    cases: collections.Counter[str] = collections.Counter()
    for item in items:
        mark = item.get_closest_marker("one_in")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            if cases[test] % mark.args[0]:
                item.add_marker(pytest.mark.slow)
            cases[test] += 1


class Golden:
    """Reference outputs of the original implementation: `golden("sde")` is sde.npz."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __call__(self, name: str):
        return np.load(self.path / f"{name}.npz")


@pytest.fixture(scope="session")
def golden() -> Golden:
    path = pathlib.Path(os.environ.get("GOLDEN_DIR", ROOT.parent / "shared" / "golden"))
    if not path.is_dir():
        if os.environ.get("REQUIRE_GOLDEN"):
            pytest.fail(f"REQUIRE_GOLDEN is set, but there is no folder {path}")
        pytest.skip(f"golden outputs are not at {path} (set GOLDEN_DIR)")
    return Golden(path)


@pytest.fixture
def forget_own(monkeypatch):
    """`forget_own()`: as in a new process, no class of a user's is imported, nor is its folder
    known. So it is after the test."""
    from options import classes

    monkeypatch.setattr(classes, "_folders", [])
    path, modules = list(sys.path), set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if any(pathlib.Path(file).is_relative_to(folder) for folder in classes._folders):
                del sys.modules[name]
        classes._folders.clear()
        sys.path[:] = path
        sys.path_importer_cache.clear()

    yield forget
    forget()
