"""The whole gateway as a state machine: time, network, threads and SageMaker are in the hands of the test.

* `loop`: an event loop whose time passes when it is told to
* `wire`: a caller's connection, in memory
* `far_end`: SageMaker as the data path meets it, with its own count; `control`: its control plane
* `configs`: configs that a reload may bring
* `callers`: who has come, and what may still become of them
* `stage`: a gateway between all of these
* `ledger`: the books beside the gateway; `promises`: what has to hold whenever it rests; `ending`: and at the end
* `story`: how things happen to a gateway; `machine`: what can happen
* `test_machine`: any of it, in any order; `test_moments`: orders that were found
"""
