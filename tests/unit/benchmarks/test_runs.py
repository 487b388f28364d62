import pytest

from benchmarks.goals import line, told
from benchmarks.runs import Result, Run, table


def _runs(*rates: float, rows: int = 100) -> tuple[Run, ...]:
    return tuple(Run(100, rows, rows / rate, 4.0, 0.5, 300 * 2**20) for rate in rates)


def test_the_table_tells_median_and_spread_and_the_fastest_stands_first() -> None:
    shown = table(
        [
            Result("tiny", "daft", "Parquet", _runs(30.0)),
            Result("tiny", "fakesweep", "PostgreSQL", _runs(100.0, 90.0, 140.0)),
        ],
        cores=2,
    )
    _, ours, theirs, words = shown.splitlines()
    assert ours.split()[:4] == ["fakesweep", "100.0", "90.0", "140.0"]
    assert ours.split()[4:] == ["50.0", "1.00", "4.0", "0.5", "300", "100/100", "PostgreSQL"]
    assert theirs.split()[5] == "0.30"
    assert words == "fakesweep is ahead: 3.33 x daft, the next"


def test_the_table_says_so_where_a_peer_wins() -> None:
    shown = table(
        [
            Result("tiny", "fakesweep", "PostgreSQL", _runs(100.0)),
            Result("tiny", "daft", "Parquet", _runs(250.0)),
            Result("tiny", "ray", "Parquet", _runs(50.0)),
        ],
        cores=2,
    )
    assert shown.splitlines()[-1] == "ahead of fakesweep: daft (2.50 x ours)"


def test_a_peer_that_did_not_run_is_named_with_the_reason() -> None:
    shown = table([Result("tiny", "ray", "", (), "pip could not install it: no space")], cores=2)
    assert "ray: not run: pip could not install it: no space" in shown.splitlines()


def test_images_that_are_not_accounted_for_do_not_count() -> None:
    (run,) = _runs(50.0, rows=60)
    assert run.images_per_second == pytest.approx(50.0)
    assert "60/100" in table([Result("tiny", "celery", "PostgreSQL", (run,))], cores=2)


def test_a_goal_is_also_told_where_the_slow_start_of_a_peer_does_not_count() -> None:
    slow = Run(100, 100, 10.0, 4.0, 5.0, 0)
    (goal,) = told(
        [
            Result("tiny", "fakesweep", "PostgreSQL", _runs(40.0)),
            Result("tiny", "ray", "Parquet", (slow,)),
        ],
        {},
    )
    assert (goal["reached"], goal["without_their_start"]) == (4.0, 2.0)


def test_from_s3_the_slower_of_fetching_and_decoding_limits_each_turn() -> None:
    walls = {("null-s3", "bare decode"): [500.0, 300.0], ("null-s3", "bare fetch"): [400.0, 600.0]}
    (goal,) = told([Result("null-s3", "fakesweep", "PostgreSQL", _runs(200.0, 240.0))], walls)
    assert goal["beside"] == "bare fetch or bare decode"
    assert (goal["least"], goal["most"]) == (0.5, 0.8)


def test_a_goal_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    walls = {("null", "bare decode"): [100.0, 400.0, 1_000.0]}
    (goal,) = told([Result("null", "fakesweep", "PostgreSQL", _runs(90.0, 360.0, 900.0))], walls)
    assert (goal["reached"], goal["pairs"]) == (pytest.approx(0.9), 3)
    assert goal["is_steady"]
    assert "scatter" not in line(goal)


def test_pairs_that_scatter_by_more_than_a_quarter_are_said_to() -> None:
    walls = {("null", "bare decode"): [100.0, 100.0, 100.0]}
    (goal,) = told([Result("null", "fakesweep", "PostgreSQL", _runs(80.0, 90.0, 110.0))], walls)
    assert not goal["is_steady"]
    assert line(goal).endswith("the pairs scatter by more than a quarter")


def test_growth_of_memory_is_told() -> None:
    run = Run(100, 100, 1.0, 4.0, 0.5, 300, tenth_bytes=200)
    shown = table([Result("tiny", "fakesweep", "PostgreSQL", (run,))], cores=2)
    assert "fakesweep: peak memory is 1.50 x what it was after a tenth of them" in shown


def test_goals_stand_beside_peers_and_beside_what_the_machine_allows() -> None:
    rates = {("vit-b", "bf16 matrices"): [10.0]}
    found = told(
        [
            Result("vit-b", "fakesweep", "PostgreSQL", _runs(9.5)),
            Result("vit-b", "pipeline-8", "CSV", _runs(4.0)),
        ],
        rates,
    )
    assert [(goal["beside"], goal["is_met"]) for goal in found] == [
        ("bf16 matrices", True),
        ("pipeline-8", False),
    ]
    assert found[0]["reached"] == pytest.approx(0.95)
