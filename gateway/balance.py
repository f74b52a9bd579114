"""Which of several endpoints the next call of a route goes to, by weight."""

from collections.abc import Mapping

ROUNDING = 1e-9
"""Credits that differ by less are equal: then the first in order goes first."""


class Balance:
    """Smooth weighted round robin, as NGINX does it: shares hold over any stretch of calls, and nobody gets a burst.

    An endpoint that cannot be chosen for a while neither gains nor loses by it.
    """

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def choose(self, weights: Mapping[str, int]) -> str:
        """The endpoint whose turn it is among those that could take the call now.

        Args:
            weights: by endpoint; at least one, all above 0.
        """
        credit, total = self._credit, sum(weights.values())
        best = ""
        for endpoint, weight in weights.items():
            credit[endpoint] = credit.get(endpoint, 0.0) + weight / total
            if not best or credit[endpoint] > credit[best] + ROUNDING:
                best = endpoint
        credit[best] -= 1
        return best
