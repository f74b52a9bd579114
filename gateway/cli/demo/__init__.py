"""`demo`: the seed experiment, measured on this machine and never printed from constants.

* `command`: the click command; runs every way of calling in every scene, then reports
* `scenes`: what is tried: so many calls at once, on so many instances, in these ways
* `calling`: the ways of calling, each with a real AWS SDK client
* `measuring`: one run: the caller's clock and answers, the emulator's counters
* `emulator`: what the emulator has counted, over HTTP
* `processes`: the emulator and the gateway, each a process of its own
* `environment`: keeps the AWS settings of whoever runs the demo out of it
* `progress`, `report`: what is shown meanwhile, and at the end
* `errors`: how the demo can fail to measure
"""

from gateway.cli.demo.command import demo

__all__ = ["demo"]
