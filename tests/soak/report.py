"""What was found, for people: tables, and a verdict for each promise."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .facts import HUNG_UP, Facts
from .faults import NOTHING
from .plan import OVERLOAD, mean_hold_seconds, rate
from .stand import TRAFFIC
from .verdicts import Verdict

MOMENTS = 12
"""How often memory is shown."""


def show_plan(console: Console, seed: int, seconds: float) -> None:
    """Say what is about to happen."""
    total = sum(rate(traffic) for traffic in TRAFFIC)
    console.print(
        f"seed {seed}: about {total * seconds:,.0f} calls in {seconds:,.0f} s, {total:.0f}/s, {OVERLOAD:g} times "
        f"what {sum(traffic.permits for traffic in TRAFFIC):g} permits have room for at {mean_hold_seconds():.3f} s a "
        "call. Repeat it with --seed."
    )


def show(console: Console, facts: Facts, found: Sequence[Verdict]) -> None:
    """Print all of it."""
    for part, note in ((_outcomes, _left), (_faults, _came_again), (_rooms, _connections)):
        console.print(part(facts))
        console.print(note(facts), end="\n\n")
    console.print(_memory(facts), end="\n\n")
    table = _table("Promises", "promise", "measured", "")
    for verdict in found:
        table.add_row(verdict.promise, verdict.measured, "kept" if verdict.kept else "[bold red]broken[/]")
    console.print(table)
    for line in chain.from_iterable(verdict.examples for verdict in found):
        console.print(f"  {line}", style="red", markup=False)


def _outcomes(facts: Facts) -> Table:
    names = [traffic.name for traffic in TRAFFIC]
    table = _table("What callers got", "", *names, "together")
    by_name = Counter((outcome.kind, call.traffic.name) for call, outcome in facts.outcomes)
    for kind, total in sorted(facts.kinds().items()):
        table.add_row(kind, *(f"{by_name[kind, name]:,}" for name in names), f"{total:,}")
    totals = [sum(number for (_, of), number in by_name.items() if of == name) for name in names]
    table.add_row("all", *(f"{total:,}" for total in totals), f"{len(facts.outcomes):,}")
    return table


def _left(facts: Facts) -> str:
    running = sum(outcome.kind == HUNG_UP and call.id in facts.arrivals for call, outcome in facts.outcomes)
    return f"Of those who hung up, {running:,} left after their call had met SageMaker."


def _faults(facts: Facts) -> Table:
    table = _table("What SageMaker did", "what went wrong", "calls")
    for name, number in _by_number(_met(facts)):
        table.add_row(name, f"{number:,}")
    return table


def _came_again(facts: Facts) -> str:
    met = _met(facts)
    again = sum(len(arrivals) > 1 for arrivals in facts.arrivals.values())
    faults = met.total() - met[NOTHING.name]
    return f"{faults:,} faults in {met.total():,} calls; {again:,} came again, after no model had seen them."


def _met(facts: Facts) -> Counter[str]:
    return Counter(each.fault.name for each in chain.from_iterable(facts.arrivals.values()))


def _rooms(facts: Facts) -> Table:
    table = _table("What the models saw", "endpoint", "runs", "peak", "over capacity", "model seconds")
    for name, room in facts.rooms.items():
        table.add_row(name, f"{room.runs:,}", str(room.peak), str(room.over), f"{room.busy_seconds:,.0f}")
    return table


def _connections(facts: Facts) -> str:
    return f"At most {facts.peak_connections} connections from the gateway at once."


def _memory(facts: Facts) -> str:
    last = facts.samples[-1].at
    moments = [last * part / MOMENTS for part in range(MOMENTS + 1)]
    shown = (next(sample for sample in facts.samples if sample.at >= moment) for moment in moments)
    curve = ", ".join(f"{sample.at:.0f} s {sample.resident_bytes / 2**20:.1f}" for sample in shown)
    return f"Resident memory of the gateway, MiB: {curve}."


def _by_number(counter: Counter[str]) -> Iterable[tuple[str, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if not index or title == "Promises" else "right", overflow="fold")
    return table
