"""Which link keeps an item: one policy per file, pure functions over arrays."""

from catena.routing.policy import Policy
from catena.routing.share import ShareStream, exact_shares, quotas, route_by_share
from catena.routing.standing import Standing, least_first, standing, ties
from catena.routing.threshold import ThresholdStream

__all__ = [
    "Policy",
    "ShareStream",
    "Standing",
    "ThresholdStream",
    "exact_shares",
    "least_first",
    "quotas",
    "route_by_share",
    "standing",
    "ties",
]
