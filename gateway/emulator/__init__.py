"""A local SageMaker that is honest about what hurts: real instances, their queues, time limits, errors and signatures.

It imports nothing of the gateway, so that it cannot share its bugs. Each module, in the order in which a call meets it:

* `serve`: runs the emulator as a process, until a signal
* `emulator`: introduces the parts to each other, starts and stops them
* `settings`, `settings_file`: every setting with its default and unit; the YAML file with all of its mistakes
* `plan`: which fleets an endpoint's settings ask for
* `front`: one address for all operations: bodies, signatures, request ids, errors on the wire
* `signatures`, `plain`: verifies Signature Version 4; that of requests with nothing to normalise
* `headers`: what each operation's headers must look like, and which of them travel on
* `refusals`: every error reply in SageMaker's shape
* `faults`: which of the next calls go wrong, and how
* `runtime`: InvokeEndpoint, InvokeEndpointWithResponseStream and InvokeEndpointAsync
* `control`: DescribeEndpoint, DescribeEndpointConfig and DescribeInferenceComponent
* `admin`: what AWS does not have: counters, faults, scaling, results, expired keys
* `endpoint`: lets calls in, and waits no longer than the time limit
* `traffic`: which variant or inference component gets a call
* `sessions`: which instance a session is pinned to
* `whole`: the caller's side of an answer that is all there
* `stream`, `frames`: the caller's side of a streamed answer, and its messages on the wire
* `backlog`: the queue of asynchronous calls, and their results
* `fleet`: which instance gets a call
* `instance`: so many calls at a time, the rest in a queue that is deaf to callers that leave
* `work`: what an instance is given to do, and how its outcome gets back
* `container`, `post`: the platform's side of the container contract, `/ping` and `/invocations`; one POST
* `built_in`: the same for the built-in model, at less cost
* `outcome`: what a container is sent, and how that ends
* `deployment`: a fleet behind a name: how many instances it has and should have
* `launch`, `process`: bring the containers up and take them down
* `keeper`, `model`: programs of their own: a command's leash, and the built-in model
* `counters`, `figures`, `ledger`: what really happened, the figures on the way to it, and who counts it
* `errors`: how the emulator itself can fail to come up
"""

from gateway.emulator.backlog import AsyncResult
from gateway.emulator.counters import Counters, InstanceCounters, KeyCounters, PeriodCounters
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import EmulatorError, SettingsError, StartError
from gateway.emulator.faults import Fault
from gateway.emulator.serve import serve
from gateway.emulator.settings import (
    ComponentSettings,
    CredentialSettings,
    EmulatorSettings,
    EndpointSettings,
    ListenSettings,
    ModelSettings,
    ServerlessSettings,
    VariantSettings,
)
from gateway.emulator.settings_file import load_settings

__all__ = [
    "AsyncResult",
    "ComponentSettings",
    "Counters",
    "CredentialSettings",
    "Emulator",
    "EmulatorError",
    "EmulatorSettings",
    "EndpointSettings",
    "Fault",
    "InstanceCounters",
    "KeyCounters",
    "ListenSettings",
    "ModelSettings",
    "PeriodCounters",
    "ServerlessSettings",
    "SettingsError",
    "StartError",
    "VariantSettings",
    "load_settings",
    "serve",
]
