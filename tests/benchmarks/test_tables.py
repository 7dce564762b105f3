"""The arithmetic and the tables of the benchmarks."""

import pytest

from benchmarks import compare, handwriting, likelihood, sampling
from benchmarks.tables import Table, show, times
from benchmarks.worker import Race

FAILED = "failed: AssertionError: a guard"


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


def test_a_contestant_that_failed_is_a_row():
    results = compare.Results()
    results.failed["reduced", "train", compare.COMPILED] = FAILED
    (row,) = compare.details_table(results).rows
    assert row[:4] == ["reduced", "training step", compare.COMPILED, FAILED]
    assert compare.details_table(results).markdown()


@pytest.mark.parametrize(
    "module, table, failing",
    [
        (sampling, lambda: sampling.sampling_table("python", "", 1), sampling.DIFFUSERS),
        (
            likelihood,
            lambda: likelihood.likelihood_tables(["reduced"], "python", True, "", 1)[0],
            likelihood.COMPILED,
        ),
    ],
    ids=["sampling", "likelihood"],
)
def test_a_table_is_made_whoever_fails(module, table, failing, monkeypatch):
    class Done:
        ms, facts = 12.0, {"runs": 1}

    def race(starts, rounds, repeats):
        failed = {name: FAILED for name in starts if name == failing}
        return Race({name: Done() for name in starts if name not in failed}, failed)

    monkeypatch.setattr(module, "race", race)
    monkeypatch.setattr(likelihood, "evaluations_table", lambda cache: None)
    made = table().markdown()
    assert f"| {FAILED} | - |" in made and "| 12 | 1.00 x |" in made


def test_lines_a_second_are_relative_to_the_better_of_the_published_samplers():
    ours, theirs = [("small", 1), ("small", 8), ("paper", 1)], [("published", 1), ("published", 2)]
    seconds = {"small 1": 0.5, "small 8": 2.0, "published 1": 4.0, "published 2": 3.0}
    table = handwriting.table_of(
        ours, theirs, seconds, {"small 1": 2_000_000}, {"paper 1": "failed: why"}
    )
    assert [list(row[1:]) for row in table.rows] == [
        [2.0, 1, 0.5, 2.0, "6.00 x"],
        [None, 8, 0.25, 4.0, "12.00 x"],
        [None, 1, None, "failed: why", None],
        [None, 1, 4.0, 0.25, "0.75 x"],
        [None, 1, 3.0, 1 / 3, "1.00 x"],
    ]


@pytest.mark.slow
def test_the_benchmark_of_handwriting_writes_lines():
    run, parameters = handwriting.writing("small", 2, dry=True)
    run()  # which asserts that there are two, whole
    assert 0 < parameters < 50_000
