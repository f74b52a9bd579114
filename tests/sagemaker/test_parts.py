"""What a stream of parts becomes for its caller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models import Answer
from gateway.sagemaker.eventstream import exception_message
from gateway.sagemaker.parts import Parts, PartsError, asked_of_the_model, wants_frames
from tests.parts import frame, part

HEAD = [("Content-Type", "application/vnd.amazon.eventstream"), ("X-Amzn-SageMaker-Content-Type", "text/event-stream")]


def open_parts(*, frames: bool, model_type: str = "text/event-stream") -> tuple[Parts, Answer]:
    """A stream whose head has come; and the head for its caller."""
    parts = Parts(frames=frames)
    headers = [HEAD[0], ("X-Amzn-SageMaker-Content-Type", model_type), ("x-amzn-RequestId", "1")]
    return parts, parts.head(Answer(200, headers, b"", 0.1))


@pytest.mark.parametrize(
    ("headers", "frames"),
    [
        ({}, False),
        ({"Accept": "*/*"}, False),
        ({"Accept": "text/event-stream"}, False),
        ({"Accept": "application/vnd.amazon.eventstream"}, True),
        ({"Accept": "*/*", "Authorization": "AWS4-HMAC-SHA256 Credential=…"}, True),
        ({"Accept": "*/*", "Authorization": "Bearer x"}, False),
        ({"Authorization": "AWS4-ECDSA-P256-SHA256 Credential=…"}, True),
        ({"amz-sdk-invocation-id": "1"}, True),
        ({"Accept": "text/event-stream", "Authorization": "AWS4-HMAC-SHA256 Credential=…"}, False),
    ],
)
def test_sdks_get_frames_and_others_what_the_model_says(headers: dict[str, str], frames: bool) -> None:  # noqa: FBT001
    """An SDK names its invocation, and signs if it has keys; what anybody asks for in so many words goes before."""
    assert wants_frames(headers) is frames


@given(payloads=st.lists(st.binary(max_size=50), max_size=8), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_bytes_pass_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """With frames unchanged, without them the payloads in order."""
    raw = b"".join(map(part, payloads))
    for frames, wanted in ((True, raw), (False, b"".join(payloads))):
        parts, _ = open_parts(frames=frames)
        got, rest = b"", raw
        for cut in cuts:
            got, rest = got + parts.feed(rest[:cut]), rest[cut:]
        got += parts.feed(rest)
        parts.end()
        assert got == wanted


def test_the_head_is_that_of_the_model() -> None:
    """Decoded, the content type is the model's own, once; all else stays."""
    _, decoded = open_parts(frames=False)
    _, framed = open_parts(frames=True)

    assert sorted(decoded.headers) == [("Content-Type", "text/event-stream"), ("x-amzn-RequestId", "1")]
    assert ("Content-Type", "application/vnd.amazon.eventstream") in framed.headers


def test_events_that_nobody_knows_are_passed_over() -> None:
    """As SDKs do it."""
    parts, _ = open_parts(frames=False)

    got = parts.feed(frame({":message-type": "event", ":event-type": "New"}, b"?") + part(b"known"))
    parts.end()

    assert got == b"known"


@pytest.mark.parametrize("frames", [True, False])
def test_a_cut_is_no_end(frames: bool) -> None:  # noqa: FBT001
    """At any position inside of a frame."""
    raw = part(b"abc")
    for position in range(1, len(raw)):
        parts, _ = open_parts(frames=frames)
        parts.feed(raw[:position])
        with pytest.raises(PartsError, match="cut off or garbled"):
            parts.end()


@pytest.mark.parametrize("frames", [True, False])
def test_what_came_before_the_damage_is_not_lost(frames: bool) -> None:  # noqa: FBT001
    """The whole parts of the same read reach the caller; then the stream has failed."""
    raw = part(b"whole") + part(b"damaged")[:-1] + b"?"
    parts, _ = open_parts(frames=frames)

    got = parts.feed(raw)
    after = parts.feed(part(b"later"))

    assert (got, after) == (raw if frames else b"whole", b"")
    with pytest.raises(PartsError):
        parts.end()


@pytest.mark.parametrize(
    ("data", "sound"),
    [
        (b"", True),
        (part(b"a"), True),
        (exception_message("ModelStreamError", "failed"), True),
        (part(b"a")[:-1], False),
        (part(b"a")[:-1] + b"?", False),
        (part(b"a")[:-1] + b"?" + part(b"b"), False),
    ],
)
def test_a_stream_of_whole_frames_is_sound(data: bytes, sound: bool) -> None:  # noqa: FBT001
    """Whatever they say: an error of the model leaves nothing behind that could be taken for another answer."""
    for frames in (True, False):
        parts, _ = open_parts(frames=frames)
        parts.feed(data)
        assert parts.sound() is sound


def test_an_error_is_seen_by_everybody() -> None:
    """In frames it is the SDK's to raise; decoded, the stream fails, and server-sent events say why."""
    failure = exception_message("ModelStreamError", "too\nslow", "StreamBroken")
    framed, _ = open_parts(frames=True)
    events, _ = open_parts(frames=False)
    plain, _ = open_parts(frames=False, model_type="application/json")

    assert framed.feed(failure) == failure
    framed.end()
    assert events.feed(failure) == b'\n\nevent: error\ndata: {"code": "ModelStreamError", "message": "too\\nslow"}\n\n'
    assert plain.feed(failure) == b""
    for parts in events, plain:
        with pytest.raises(PartsError, match="ModelStreamError"):
            parts.end()
    assert not events.timed_out
    assert {parts.error for parts in (framed, events, plain)} == {"ModelStreamError"}


@pytest.mark.parametrize(
    ("headers", "added"),
    [
        ({}, []),
        ({"Accept": "*/*"}, []),
        ({"Accept": "text/csv"}, [("X-Amzn-SageMaker-Accept", "text/csv")]),
        ({"Accept": "text/csv", "X-Amzn-SageMaker-Accept": "a/b"}, []),
    ],
)
def test_a_plain_callers_accept_is_for_the_model(headers: dict[str, str], added: list[tuple[str, str]]) -> None:
    """Unless it has said it in SageMaker's own words."""
    assert list(asked_of_the_model(headers)) == [*headers.items(), *added]


def test_an_unknown_error_is_counted_under_the_closed_list() -> None:
    """What SageMaker invents next makes no new series."""
    parts, _ = open_parts(frames=True)

    parts.feed(exception_message("SomethingNew", "?"))

    assert parts.error == "_other"


def test_a_time_out_in_the_stream_leaves_the_container_running() -> None:
    """As SageMaker's 424 with OriginalStatusCode 0 does."""
    parts, _ = open_parts(frames=True)

    parts.feed(exception_message("ModelStreamError", "too slow", "ModelInvocationTimeExceeded"))

    assert parts.timed_out


def test_a_stream_without_a_type_of_its_own_is_bytes() -> None:
    """Decoded bytes are never labelled as frames."""
    head = Parts(frames=False).head(Answer(200, [HEAD[0]], b"", 0.1))

    assert head.headers == [("Content-Type", "application/octet-stream")]
