"""The arithmetic and the tables of the benchmarks; the measurements themselves are not tests."""

import sys

import pytest

from benchmarks import breakdown, compare, scaling
from benchmarks.tables import Table, show, times
from benchmarks.worker import Worker, take_turns

CHILD = """
from benchmarks.worker import serve
kept = []
serve(lambda: kept.append(bytearray(20_000_000)), {"parameters": 3, "first_run_s": 0.5})
"""


@pytest.mark.parametrize(
    "cell, text",
    [
        (None, "-"),
        ("ours", "ours"),
        (0, "0"),
        (0.01234, "0.0123"),
        (54.26, "54.3"),
        (1310.4, "1310"),
    ],
)
def test_cells_have_three_digits(cell, text):
    assert show(cell) == text


def test_a_table_in_markdown():
    table = Table("Speed", ["what", "ms"], [["forward", 55.04], ["train", None]], "Medians.")
    assert table.markdown() == (
        "## Speed\n\n| what | ms |\n| --- | --- |\n| forward | 55 |\n| train | - |\n\nMedians.\n"
    )


def test_a_cell_stays_a_cell_whatever_it_holds():
    rows = [["a|b", "<script>x\ny</script>"]]
    last = Table("Names", ["|", "what"], rows).markdown().splitlines()[-1]
    assert last == r"| a\|b | &lt;script>x y&lt;/script> |"


def test_better_by_is_a_ratio_of_two_known_numbers():
    assert times(270, 180) == "1.50 x"
    assert times(None, 180) is None and times(270, None) is None


def test_what_a_ring_sends():
    """All-reduce is a reduce-scatter and an all-gather: both ways of sharding send the same."""
    size = 4_000
    for n in (2, 4):
        reduced = scaling.ring_bytes({"all-reduce": size}, n)
        sharded = scaling.ring_bytes({"all-gather": size, "reduce-scatter": size // n}, n)
        assert reduced == sharded == 2 * (n - 1) / n * size


def test_time_is_counted_by_origin():
    program = """
      %conv.1 = f32[2] convolution(%a, %b), metadata={op_name="jit(f)/jvp(Net)/down_0/conv_0/conv"}
      ROOT %conv.2 = f32[2] convolution(%a), metadata={op_name="jit(f)/transpose(jvp(Net))/conv"}
      %while.3 = f32[2] while(%a), metadata={op_name="jit(f)/jvp(Net)/_bernoulli/while"}
      %add.4 = f32[2] add(%a, %a), metadata={op_name="jit(f)/jvp(Net)/_bernoulli/while/add"}
      %multiply.5 = f32[2] multiply(%a, %a), metadata={op_name="jit(f)/mul"}
    """
    origin = breakdown.origins(program)
    assert set(origin) == {"conv.1", "conv.2", "while.3", "add.4", "multiply.5"}
    names = [*origin, "add.4", "unknown"]
    events = [{"args": {"hlo_op": name}, "dur": 2.0} for name in names] + [{"name": "python"}]
    assert breakdown.busy_time(events, origin) == {
        "random numbers (noise, dropout)": 4.0,  # two additions, and not the loop that holds them
        "Adam, clipping, average": 4.0,
        "convolutions, forward": 2.0,
        "convolutions, gradient": 2.0,
    }


def test_workers_take_turns_and_report_their_memory():
    workers = [Worker([sys.executable, "-c", CHILD]) for _ in range(2)]
    assert workers[0].facts == {"parameters": 3, "first_run_s": 0.5}
    take_turns(workers, rounds=2, repeats=1)
    for worker in workers:
        assert len(worker.seconds) == 2 and worker.ms > 0
        assert 60 <= worker.peak < 200  # three blocks of 20 MB beside the interpreter


def test_a_worker_that_fails_says_so():
    with pytest.raises(RuntimeError, match="ended with status 3"):
        Worker([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_one_table(tmp_path):
    """Ratios are of medians, the port's numbers apart from those of the same run."""
    results = compare.Results()
    for quantity in ("forward", "train", "pc"):
        for name, ms, peak in ((compare.OURS, 100, 500), (compare.SCAN, 125, 400)):
            results.ms["reduced", quantity, name] = ms
            results.peak["reduced", quantity, name] = peak
        for name, ms in zip(compare.EAGER, (300, 500), strict=True):
            results.ms["reduced", quantity, name] = ms
            results.peak["reduced", quantity, name] = 600
    for name in (compare.OURS, compare.COLD):
        results.facts["reduced", "train", name] = {"trace_s": 1.0, "compile_s": 2.0}
    options = compare.Options(("reduced",), "python", tmp_path)
    table = compare.compare_table(results, options)
    rows = {row[1]: row[2:] for row in table.rows}
    assert rows["training step, ms"] == [
        100, 125, 300, "3.00 x", 270, "2.70 x", 324, "3.24 x", "1.5 x"
    ]  # fmt: skip
    assert rows["peak memory of training, MB"][:6] == [500, 400, 600, "1.50 x", 630, "1.57 x"]
    assert rows["trace and compile the training step, s"][:2] == [3.0, None]
    assert table.markdown().count("\n| reduced |") == len(rows)
