"""What a stream of parts becomes for its caller: SageMaker's own frames, or the model's bytes inside of them.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from gateway.models import Answer
from gateway.sagemaker.eventstream import Decoder, FrameError, Message
from gateway.sagemaker.protocol import listed

EVENT_STREAM = "application/vnd.amazon.eventstream"
_MODEL_ACCEPT = "X-Amzn-SageMaker-Accept"
_MODEL_TYPE = "x-amzn-sagemaker-content-type"
_SERVER_SENT_EVENTS = "text/event-stream"


class PartsError(Exception):
    """The stream did not come to its proper end; the message is for the caller."""


def wants_frames(headers: Mapping[str, str]) -> bool:
    """Whether a caller reads SageMaker's frames: one that asks for them, and every AWS SDK that asks for nothing else.

    SDKs send no `Accept` for this operation, or `*/*`, as curl does; what tells them apart is the id that they give
    each invocation, and their signature, if they have keys.
    """
    accept = headers.get("Accept", "*/*").lower()
    if accept != "*/*":
        return EVENT_STREAM in accept
    return "amz-sdk-invocation-id" in headers or headers.get("Authorization", "").startswith("AWS4-")


def asked_of_the_model(headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The headers of a caller that gets no frames: its `Accept` is for the model, and goes by another name there."""
    items = list(headers.items())
    accept = headers.get("Accept", "*/*")
    if accept != "*/*" and _MODEL_ACCEPT not in headers:
        items.append((_MODEL_ACCEPT, accept))
    return items


class Parts:
    """Follows one stream from its first byte to its last.

    Args:
        frames: whether the caller gets the frames as they are; else it gets what the model sent.
    """

    def __init__(self, *, frames: bool) -> None:
        self.frames = frames
        self._decoder = Decoder()
        self._events = False
        self._garbled = False
        self.error: str | None = None
        """The error code of an error that came inside of the stream, from the closed list."""
        self.timed_out = False
        """Whether SageMaker gave the call up while its container may go on."""
        self._problem = ""

    def head(self, answer: Answer) -> Answer:
        """Status and headers as the caller gets them."""
        names = {name.lower(): value for name, value in answer.headers}
        self._events = names.get(_MODEL_TYPE, "").startswith(_SERVER_SENT_EVENTS)
        if self.frames:
            return answer
        dropped = ("content-type", _MODEL_TYPE)
        headers = [(name, value) for name, value in answer.headers if name.lower() not in dropped]
        headers.append(("Content-Type", names.get(_MODEL_TYPE, "application/octet-stream")))
        return Answer(answer.status, headers, answer.body, answer.first_byte)

    def feed(self, data: bytes) -> bytes:
        """What the caller gets of it. Where the stream is garbled, that is all that came before; `end` tells."""
        if self._garbled:
            return b""
        try:
            messages: Sequence[Message] = self._decoder.feed(data)
        except FrameError as error:
            self._garbled = True
            messages = error.messages
        payloads = [self._translate(message) for message in messages]
        return data if self.frames else b"".join(payloads)

    def _translate(self, message: Message) -> bytes:
        if message.error_code is None:
            return message.payload if message.event_type == "PayloadPart" else b""
        self.error = listed(message.error_code)
        self.timed_out = message.error_reason == "ModelInvocationTimeExceeded"
        self._problem = f"{message.error_code}: {message.error_message}"
        if not self._events:
            return b""
        told = {"code": message.error_code, "message": message.error_message}
        # The blank line ends an event in which the model may have failed.
        return b"\n\nevent: error\ndata: " + json.dumps(told).encode() + b"\n\n"

    def sound(self) -> bool:
        """Whether there were only whole frames so far."""
        return not self._garbled and not self._decoder.pending

    def end(self) -> None:
        """Say that all of it has come.

        Raises:
            PartsError: it ended inside of a frame, which SDKs would take for a good end; or with an error that a
                caller who gets no frames cannot see.
        """
        try:
            self._decoder.close()
        except FrameError as error:
            raise PartsError(f"The stream of SageMaker is cut off or garbled: {error.problem}.") from error
        if self.error is not None and not self.frames:
            raise PartsError(f"The model's stream failed: {self._problem}")
