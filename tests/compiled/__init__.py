"""The compiled gateway: `build` makes it of the source as it is, `promises` holds it to what the plain one promises.

`make test-compiled` runs it. It needs a C compiler, which `make test` must not.
"""
