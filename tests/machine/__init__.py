"""The whole gateway as a state machine: time, network, threads and SageMaker are in the hands of the test.

* `loop`: an event loop whose time passes when it is told to
* `wire`: a caller's connection, in memory
* `far_end`: SageMaker as the data path meets it, with its own count; `control`: its control plane
* `configs`: configs that a reload may bring
* `callers`: who has come, and what may still become of them
* `stage`: a gateway between all of these
* `ledger`: what has to hold, counted at the far end and at the callers
* `test_machine`: the machine
"""
