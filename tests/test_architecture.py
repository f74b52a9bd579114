"""The floors of the house: a module imports only from floors below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("value",),
    ("config", "errors", "jitter", "memo", "models", "request"),
    ("deadlines", "handover", "line", "records"),
    (
        "router",
        "balance",
        "limiter",
        "turn",
        "health",
        "flights",
        "pace",
        "budget",
        "buffers",
        "capacity",
        "body",
        "upstream",
        "sagemaker",
        "metrics",
        "log",
        "visit",
        "reply",
        "roster",
        "tls",
        "holdings",
    ),
    ("endpoint", "callers", "asked", "outcome", "following"),
    ("forecast", "dispatch", "assembly", "views", "access", "parting"),
    ("admission",),
    ("proxy", "admin", "reload", "listener"),
    ("listening",),
    ("app",),
    ("cli",),
    ("__main__",),
)
BESIDE = "emulator"
"""It imports nothing of the gateway; only the command line starts it."""

MODULES = sorted(ROOT.rglob("*.py"))


def room_of(module: str) -> str:
    """`gateway.sagemaker.signing` stands in the room `sagemaker`; the package itself in none."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """The modules of the gateway that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that this test sees them"
            assert node.module
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "gateway" else {node.module}
            )
    return {name for name in found if name.split(".")[0] == "gateway" and name != "gateway.__version__"}


def floor_of(room: str) -> int:
    """The number of the floor on which a room stands."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_a_floor() -> None:
    """A new module or package is given its place here before it is used."""
    rooms = {room_of(module_name(path)) for path in MODULES} - {""}

    assert rooms == {room for floor in FLOORS for room in floor} | {BESIDE}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    """A room knows only rooms on floors below its own; the emulator knows none, and only `cli` knows it."""
    room = room_of(module_name(path))
    others = {room_of(name) for name in imports(path)} - {room}

    if room in (BESIDE, ""):
        assert others == set()
    else:
        allowed = {other for floor in FLOORS[: floor_of(room)] for other in floor}
        assert others <= allowed | ({BESIDE} if room == "cli" else set())


def test_no_module_cycles() -> None:
    """Within a room, too, no module imports itself by a detour."""
    graph = {module_name(path): imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for other in graph.get(module, set()) - {module}:
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_stand_at_the_top(path: Path) -> None:
    """No function imports anything: what a module needs is seen in its first lines."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inner = [
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert inner == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_small_rooms(path: Path) -> None:
    """A module says in its first line what it is for, and stays under 300 lines; a function under 50."""
    source = path.read_text()
    tree = ast.parse(source)
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    ]

    assert ast.get_docstring(tree)
    assert len(source.splitlines()) <= 300
    assert long == []


def test_the_map_is_complete() -> None:
    """`gateway/__init__.py` names every room."""
    text = (ROOT / "__init__.py").read_text()
    rooms = {room_of(module_name(path)) for path in MODULES} - {"", "__main__"}

    assert {room for room in rooms if f"`{room}`" not in text} == set()
