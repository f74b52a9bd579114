"""The hot path, compiled by mypyc where that is asked for; all that a plain install needs stands in setup.cfg.

`SAGEMAKER_GATEWAY_COMPILE=1 pip install --no-build-isolation .` does it, with the extra `compile` and a C compiler;
`make compiled` does the whole of it.
"""

import os

from setuptools import setup

HOT = (
    "admission",
    "asked",
    "balance",
    "body",
    "buffers",
    "deadlines",
    "dispatch",
    "flights",
    "forecast",
    "health",
    "jitter",
    "limiter",
    "line",
    "listener/plain",
    "listener/strict",
    "metrics/recording",
    "models",
    "outcome",
    "pace",
    "proxy",
    "records",
    "reply",
    "router",
    "sagemaker/protocol",
    "sagemaker/signing",
    "turn",
    "upstream/client",
    "upstream/connection",
    "upstream/outbox",
    "upstream/pool",
    "upstream/reading",
    "visit",
)
"""What every request runs through. Left out is what stands on classes of aiohttp, whose messages are typed as tuples
and are none, and what is referred to weakly; to compile still more gave nothing."""

if os.environ.get("SAGEMAKER_GATEWAY_COMPILE") == "1":
    from mypyc.build import mypycify

    setup(ext_modules=mypycify([f"gateway/{name}.py" for name in HOT], opt_level="3"))
else:
    setup()
