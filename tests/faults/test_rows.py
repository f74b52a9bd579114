"""Every row of the table of faults holds, each by its number: what the caller sees, metrics, permit, model runs."""

import ast
from pathlib import Path

import pytest

from tests.faults.row import Row
from tests.faults.table import ELSEWHERE, FULL, LAST, ROWS, rows

TESTS = Path(__file__).parents[1]


def cases(number: int) -> pytest.MarkDecorator:
    """Each case of a row; one with a defect is expected to fail."""
    marked = [
        pytest.param(
            row, id=row.scenario, marks=[pytest.mark.xfail(strict=True, reason=row.defect)] if row.defect else []
        )
        for row in rows(number)
    ]
    return pytest.mark.parametrize("row", marked)


def test_every_number_has_its_place() -> None:
    """A row is played here, or it is said where it is shown; none is in both places, or in none."""
    here = {row.number for row in ROWS}

    assert here | ELSEWHERE.keys() == set(range(1, LAST + 1))
    assert here & ELSEWHERE.keys() == set()
    assert FULL.keys() <= here


@pytest.mark.parametrize(
    ("number", "module"), [(number, module) for number, modules in ELSEWHERE.items() for module in modules]
)
def test_a_row_that_is_shown_elsewhere_is_named_there(number: int, module: str) -> None:
    """By a test that says so in its first words."""
    tree = ast.parse((TESTS / module).read_text(encoding="utf-8"))
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [test.name for test in tests if (ast.get_docstring(test) or "").startswith(f"Row {number}: ")]

    assert any(name.startswith("test_") for name in named)


@cases(1)
async def test_row_01_unreachable(row: Row) -> None:
    """Row 1: SageMaker refuses the connection, DNS or TLS fails: once more on a fresh connection, then 503."""
    assert await row.play() == row.expected


@cases(2)
async def test_row_02_lost_before_an_answer(row: Row) -> None:
    """Row 2: reset or close after the request was sent, before a byte of answer: 424, and exactly one model run."""
    assert await row.play() == row.expected


@cases(3)
async def test_row_03_a_dead_connection(row: Row) -> None:
    """Row 3: a kept-alive connection found dead is replaced, unseen by the caller; one that dies later is row 2."""
    assert await row.play() == row.expected


@cases(4)
async def test_row_04_the_model_runs_too_long(row: Row) -> None:
    """Row 4: the model runs over 60 s: SageMaker's own 424 as it came, and the permit cools."""
    assert await row.play() == row.expected


@cases(5)
async def test_row_05_silence(row: Row) -> None:
    """Row 5: SageMaker silent past `timeout_seconds`: 424 after one attempt, and the permit cools."""
    assert await row.play() == row.expected


@cases(6)
async def test_row_06_a_drip(row: Row) -> None:
    """Row 6: the answer drips for ever: 424 at `timeout_seconds`, and a stream is cut off."""
    assert await row.play() == row.expected


@cases(7)
async def test_row_07_half_a_body(row: Row) -> None:
    """Row 7: reset or end in mid-body: 424, never a short 200."""
    assert await row.play() == row.expected


@cases(8)
async def test_row_08_half_a_stream(row: Row) -> None:
    """Row 8: reset or end in mid-stream: the connection is aborted without a last chunk, never a silent success."""
    assert await row.play() == row.expected


@cases(9)
async def test_row_09_nonsense(row: Row) -> None:
    """Row 9: garbage, headers that are not UTF-8, an answer over `max_response_bytes`: 424."""
    assert await row.play() == row.expected


@cases(10)
async def test_row_10_throttled(row: Row) -> None:
    """Row 10: throttled by SageMaker (400 with a null message): as it came."""
    assert await row.play() == row.expected


@cases(11)
async def test_row_11_errors_of_sagemaker(row: Row) -> None:
    """Row 11: 500, 503 and 530 of SageMaker, ModelError, ModelNotReady: as they came, members included."""
    assert await row.play() == row.expected


@cases(12)
async def test_row_12_an_expired_token(row: Row) -> None:
    """Row 12: one forced refresh and one more try, then 503; nothing of AWS's text leaks, and `/readyz` says so."""
    assert await row.play() == row.expected


@cases(13)
async def test_row_13_keys_expire_under_a_crowd(row: Row) -> None:
    """Row 13: 200 callers and an expired token: one refresh, and nobody is cancelled by another's hang-up."""
    assert await row.play() == row.expected


@cases(14)
async def test_row_14_gone_while_waiting(row: Row) -> None:
    """Row 14: the waiter leaves, the order is kept, and its call is never sent."""
    assert await row.play() == row.expected


@cases(15)
async def test_row_15_gone_in_the_turn_of_the_grant(row: Row) -> None:
    """Row 15: the permit goes to the next, none is lost, over many schedules."""
    assert await row.play() == row.expected


@cases(16)
async def test_row_16_gone_while_running(row: Row) -> None:
    """Row 16: 8 hang-ups on capacity 1: the peak at the endpoint stays 1, and the gauge says `orphaned`."""
    assert await row.play() == row.expected


@cases(17)
async def test_row_17_gone_in_mid_stream(row: Row) -> None:
    """Row 17: the stream is read to its end and thrown away, and the permit is held till then."""
    assert await row.play() == row.expected


@cases(18)
async def test_row_18_who_stops_reading(row: Row) -> None:
    """Row 18: buffered: the permit is long back; a stream: a bounded buffer, then the caller is dropped, as 17."""
    assert await row.play() == row.expected


@cases(30)
async def test_row_30_what_callers_make_up(row: Row) -> None:
    """Row 30: random paths, methods and hosts: the number of series does not move. `make faults FULL=1` has all."""
    assert await row.play() == row.expected


@cases(31)
async def test_row_31_overload(row: Row) -> None:
    """Row 31: 10 times overload: goodput at least 95 %, the queue within its bound, refusals fast, memory flat."""
    assert await row.play() == row.expected


@cases(32)
async def test_row_32_too_many(row: Row) -> None:
    """Row 32: queue full, or waited too long: 429 and Retry-After; a waiter is dropped when its time is up."""
    assert await row.play() == row.expected


@cases(35)
async def test_row_35_a_fleet_that_changes(row: Row) -> None:
    """Row 35: capacity 4, 1, 2 with 4 running: none killed, nobody admitted until it fits."""
    assert await row.play() == row.expected


@cases(36)
async def test_row_36_sigterm(row: Row) -> None:
    """Row 36: `/readyz` says 503 at once, everybody is answered, exit 0; a second signal forces the end."""
    assert await row.play() == row.expected


@cases(37)
async def test_row_37_scraped_in_a_flood(row: Row) -> None:
    """Row 37: `/metrics` and `/readyz` answer within 200 ms."""
    assert await row.play() == row.expected
