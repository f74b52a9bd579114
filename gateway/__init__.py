"""SageMaker gateway: a permit per instance, a fair and bounded queue, and metrics, in front of SageMaker endpoints.

The map, in the order in which a request meets the rooms; `proxy` is the story, so read it first.

* `cli`: the commands; `serve` is the process
* `app`: introduces the parts to each other, opens and closes them in order
* `assembly`: puts the endpoints of the config together; `endpoint`: all that is known of one; `holdings`: what is open
* `reload`: the next config in place of this one; `parting`: endpoints that have left it, until their calls are over
* `listener`: where callers connect: what of HTTP is let in, and how many, how slow and how large it may be;
  `listening`: which addresses that is
* `request`: a caller's request, as aiohttp has it, but for how it is answered
* `proxy`: the data path: route, read the body, admit, call, answer, record
* `callers`: who calls, and whether they may; `access`: their keys and our certificate, read anew on demand; `tls`: it
* `visit`: what becomes known of one request on its way; `roster`: who is here
* `router`: which endpoints a request means
* `asked`: what a caller asks for, as the headers say it
* `body`: a caller's body, bounded and timed; `buffers`: the memory for all of them
* `flights`: one run for one SDK call, however often it is sent
* `admission`: a permit for one caller: of which endpoint, now or when it is their turn
* `forecast`: what a caller is told who gets none: why, and when one is to be expected
* `limiter`: permits and the queue of one endpoint; `turn`: the awaiting that goes with it; `handover`: without a pause
* `balance`: whose turn it is among several endpoints, by weight
* `pace`: how long calls take, and so how long a caller is going to wait
* `health`: whether an endpoint takes calls now, as calls have shown
* `capacity`: how large a limiter is where the fleet decides; `following`: which fleet that is, and from when to when
* `dispatch`: one call, from its signature to the last byte of its answer
* `sagemaker`: SageMaker's wire: signatures, credentials, hosts, operations and headers, frames, the control plane
* `outcome`: what became of a call: whether a model may have seen it, and what its caller gets
* `upstream`: the client pool: a signed call in, an answer out; `budget`: how often it may try again
* `reply`: how an answer goes back to its caller, whole or in parts
* `records`: has metrics and log told of requests that are over, in batches
* `metrics`, `log`: look on from the side; `line`: what is logged of a request; `views`: what they see of the endpoints
* `admin`: livez, readyz, metrics, status, reload

Below all of them stand the words:

* `config`: the settings
* `errors`: every way to be refused
* `models`: the nouns that pass between modules
* `jitter`: a time, more or less; `deadlines`: who has to be over when, with one timer for all
* `memo`: what a function made of what it was asked before; `value`: classes of what nobody changes

And beside them `emulator`, a local SageMaker, which imports nothing of the gateway: it must not share its bugs.
"""

__version__ = "0.1.0"
