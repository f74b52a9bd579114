"""Minutes of overload, faults and hang-ups on the gateway as a process: `python -m tests.soak --help`.

The soak's own process plays both sides, so that it knows what each caller may be told: the callers, and a scripted
SageMaker on real sockets. Nothing of what is judged comes from the gateway's own counters, but for the promise that
these agree. Each module, in the order in which a call meets it:

* `faults`: everything that goes wrong at SageMaker, and what the caller is to get then
* `plan`: who calls what and when, what goes wrong, and who hangs up; pure, from one seed
* `stand`: the gateway's configs, and the endpoints that they are for
* `watched`, `watch`: the gateway as a process, and what is seen of it: memory, sockets, tasks, metrics
* `callers`, `connection`, `frames`: the plan, carried out, and what came of it
* `sagemaker`, `door`, `answers`: SageMaker's side, on the wire; `keys`: those that it takes, until they expire
* `disturbances`: what happens beside the calls; `farewell`: the end, while callers run and wait
* `ledger`: what the models saw, and how many of them ran at once
* `facts`, `verdicts`: what was found; whether each promise was kept
* `soak`: the story; `report`: its tables
"""
