"""From a file to a config, or to all of its mistakes; and never to anything else."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config import ConfigError, Endpoint, Problem, Queue, load
from gateway.config.file import MAX_BYTES
from gateway.config.yaml_tree import parse
from tests.config.bad import BAD
from tests.config.spoil import GOOD, Bad

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLE = (CONFIG / "example.yaml").read_text(encoding="utf-8")

# Fragments that mean something to YAML or to the schema, so that mutations get beyond the first character.
FRAGMENTS = (
    "\n",
    "  ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "|",
    ">",
    "'",
    '"',
    "\\U",
    "#",
    "? ",
    "!a%0Ab ",
    "---\n",
    "%YAML 9.9\n",
    "...\n",
    "~",
    ".inf",
    "-1",
    "1e400",
    "0x1f",
    "true",
    "9" * 400,
    "auto",
    "endpoints:",
    "routes:",
    "instances:",
    "targets:",
    "path:",
    "weight: 0",
    "[key]",
    "\x00",
    "\ufeff",
    "\u2028",
    "é",
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(FRAGMENTS)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(("endpoints", "routes", "aws", "a", "targets", "path", "queue", "<<")), inner)
    ),
    max_leaves=20,
)


def write(path: Path, content: bytes) -> Path:
    """A file of these bytes."""
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module", name="scratch")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all examples of a property; a fixture for each of them would be slow."""
    return tmp_path_factory.mktemp("configs") / "config.yaml"


def load_or_refuse(path: Path, content: bytes) -> None:
    """Load the bytes; every refusal has to be well formed, and no other exception may come."""
    path.write_bytes(content)
    # Unicode has more ends of a line than ASCII, and YAML knows some of them.
    lines = len(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", content.decode("utf-8", "replace")))
    problems: tuple[Problem, ...] = ()
    try:
        load(path)
    except ConfigError as error:
        problems = error.problems
        assert_told(str(error), problems)
    assert all(1 <= problem.line <= lines and problem.column >= 1 for problem in problems)


def assert_told(message: str, problems: tuple[Problem, ...]) -> None:
    """There are problems, and each is one line that a terminal can show."""
    assert problems
    assert len(problems) == len(message.splitlines())
    assert all(line.isprintable() for line in message.splitlines())
    assert all(len(problem.found) <= 90 for problem in problems)


@given(content=st.binary(max_size=200))
def test_bytes_never_raise_anything_else(scratch: Path, content: bytes) -> None:
    """Whatever bytes a file holds, there is a config or a `ConfigError`."""
    load_or_refuse(scratch, content)


@given(content=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map("".join))
def test_text_never_raises_anything_else(scratch: Path, content: str) -> None:
    """Whatever text a file holds, there is a config or a `ConfigError`."""
    load_or_refuse(scratch, content.encode("utf-8", "surrogatepass"))


@given(data=st.data(), count=st.integers(1, 5))
def test_mutations_never_raise_anything_else(scratch: Path, data: st.DataObject, count: int) -> None:
    """However the example is damaged, there is a config or a `ConfigError`."""
    text = EXAMPLE
    for _ in range(count):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 20)))
        text = text[:start] + data.draw(st.sampled_from(FRAGMENTS) | st.text(max_size=3)) + text[end:]
    load_or_refuse(scratch, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(content=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map("".join))
@example(content="aws: {region: a}\nb: [c, 'd', \"e\"]\n# f\nendpoints:\n- &g 1\n- .5\n")
@example(content=EXAMPLE)
def test_quick_or_not_a_file_reads_the_same(content: str) -> None:
    """A comment that keeps libyaml from reading a file changes nothing: neither what is read nor where it stands."""
    quick = parse(f"# quick\n{content}")

    assert repr(parse(f"# not quick!\n{content}")) == repr(quick)


@given(tree=TREES, line=st.sampled_from(("  region: ap-northeast-1", "    instances: 2", "    path: /predict", "aws:")))
def test_trees_never_raise_anything_else(scratch: Path, tree: object, line: str) -> None:
    """Whatever stands at the place of a setting, there is a config or a `ConfigError`."""
    text = GOOD.replace(
        line, f"{line[: line.index(':')]}: {_flow(tree)}\nx:" if line == "aws:" else _instead(line, tree)
    )
    load_or_refuse(scratch, text.encode("utf-8", "surrogatepass"))


def _instead(line: str, tree: object) -> str:
    return f"{line[: line.index(':')]}: {_flow(tree)}"


def _flow(tree: object) -> str:
    """A value in YAML's flow style, on one line."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_flow, tree)) + "]"
    return str(tree)


@pytest.mark.parametrize("name", ["local", "minimal", "example"])
def test_every_example_loads(name: str) -> None:
    """The shipped configs are valid."""
    assert load(CONFIG / f"{name}.yaml").endpoints


def test_the_example_shows_the_defaults() -> None:
    """Where the example spells a default out, it is the real one."""
    endpoint = load(CONFIG / "example.yaml").endpoints["resnet"]

    assert Endpoint(endpoint_name="resnet-prod", instances=2) == endpoint


def test_the_local_config_is_for_the_emulator() -> None:
    """The local config leads to the emulator's address, with its two fleets."""
    config = load(CONFIG / "local.yaml")

    assert config.aws.endpoint_url == "http://127.0.0.1:9000"
    assert {key: endpoint.capacity for key, endpoint in config.endpoints.items()} == {"seed": 2, "echo": 4}
    assert {route.path: route.targets[0].endpoint for route in config.routes.values()} == {
        "/predict": "seed",
        "/echo": "echo",
    }


def test_values_arrive(tmp_path: Path) -> None:
    """What stands in the file stands in the config, and the rest has its default."""
    config = load(write(tmp_path / "config.yaml", GOOD.encode()))

    assert config.endpoints == {"resnet": Endpoint(instances=2, queue=Queue(max_waiting=10))}
    assert config.routes["classify"].targets[0].endpoint == "resnet"
    assert config.log.level == "info"


def test_values_of_one_endpoint_arrive(tmp_path: Path) -> None:
    """Where it is, what of it is called and who signs; and the fallbacks of a route, in order."""
    text = """\
aws: {region: eu-west-1, use_fips_endpoint: true, use_dualstack_endpoint: false}
endpoints:
  a: {instances: 1, target_variant: blue, profile: research}
  b:
    instances: auto
    inference_component: resnet
    region: us-gov-west-1
    role_arn: arn:aws-us-gov:iam::123456789012:role/invoker
    endpoint_url: https://runtime.example.com
    control_endpoint_url: https://api.example.com
  c: {instances: 1, region: null, profile: ~}
routes: {r: {targets: [{endpoint: a}], fallback: [c, b]}}
"""

    config = load(write(tmp_path / "config.yaml", text.encode()))

    assert (config.aws.use_fips_endpoint, config.aws.use_dualstack_endpoint) == (True, False)
    assert config.endpoints == {
        "a": Endpoint(instances=1, target_variant="blue", profile="research"),
        "b": Endpoint(
            instances="auto",
            inference_component="resnet",
            region="us-gov-west-1",
            role_arn="arn:aws-us-gov:iam::123456789012:role/invoker",
            endpoint_url="https://runtime.example.com",
            control_endpoint_url="https://api.example.com",
        ),
        "c": Endpoint(instances=1),
    }
    assert config.routes["r"].fallback == ("c", "b")


def test_windows_files_load(tmp_path: Path) -> None:
    """A byte order mark and CRLF change nothing."""
    content = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()

    assert load(write(tmp_path / "dos.yaml", content)) == load(write(tmp_path / "unix.yaml", GOOD.encode()))


def test_words_of_yaml_1_1_are_text(tmp_path: Path) -> None:
    """`no`, `on` and `y` are names like others, as in YAML 1.2."""
    text = "aws: {region: eu-west-1}\nendpoints: {no: {instances: 1}, on: {instances: 1}, y: {instances: 1}}\n"

    assert list(load(write(tmp_path / "config.yaml", text.encode())).endpoints) == ["no", "on", "y"]


def test_an_unused_anchor_is_no_mistake(tmp_path: Path) -> None:
    """Only aliases can blow a file up."""
    config = load(write(tmp_path / "config.yaml", GOOD.replace("instances: 2", "instances: &n 2").encode()))

    assert config.endpoints["resnet"].instances == 2


def test_laughs_are_not_a_billion(tmp_path: Path) -> None:
    """Nested aliases are refused one by one; nothing is expanded."""
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))

    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path / "config.yaml", f"a0: &a0 [lol]\n{levels}\n{GOOD}".encode()))

    assert sum("alias" in problem.found for problem in caught.value.problems) == 81


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"aws:\n  region: \xff\n", "2:11 found the byte 0xff, wanted text in UTF-8"),
        (GOOD.encode("utf-16"), "1:1 found the byte 0xff, wanted text in UTF-8"),
        (b"#" * (MAX_BYTES + 1), " found more than 1048576 bytes, wanted a config file"),
    ],
    ids=["latin-1", "utf-16", "too long"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """Bytes that are no UTF-8 are told with their place, and a huge file ends early."""
    path = write(tmp_path / "config.yaml", content)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value) == f"{path}:{says}"


def test_an_endless_file_ends() -> None:
    """A device instead of a file is refused in time."""
    with pytest.raises(ConfigError, match="more than"):
        load("/dev/zero")


def test_a_strange_file_name_can_be_printed(tmp_path: Path) -> None:
    """A name that is no UTF-8, or holds a null byte, does not break the message."""
    for name in (os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml"), "a\0b"):
        with pytest.raises(ConfigError) as caught:
            load(name)

        assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_problem_has_its_place(bad: Bad, tmp_path: Path) -> None:
    """`problems` tells line and key of each mistake, for programs."""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path / "config.yaml", bad.text.encode()))

    (problem,) = caught.value.problems
    assert bad.line == problem.line
    assert problem.column > 0
    assert problem.key.startswith(bad.key)


def test_dangling_names_are_found_beside_other_mistakes(tmp_path: Path) -> None:
    """A mistake in one place does not hide one in another."""
    text = GOOD.replace("instances: 2", "instances: 0").replace("- endpoint: resnet", "- endpoint: vgg")

    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path / "config.yaml", text.encode()))

    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["endpoints.resnet.instances", "routes.classify.targets[0].endpoint"]


def test_a_problem_reads_as_one_line() -> None:
    """Place, key, found, wanted and hint, each left out where there is none."""
    assert str(Problem(3, 5, "a.b", "0", "more", "add some")) == "3:5 a.b: found 0, wanted more; add some"
    assert str(Problem(3, 5, "a.b", "unknown key 'b'", hint="drop it")) == "3:5 a.b: unknown key 'b', drop it"
    assert str(Problem(0, 0, "", "the file cannot be read")) == "the file cannot be read"
