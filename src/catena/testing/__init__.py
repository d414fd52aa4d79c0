"""What tests of chains need: a fake provider with known answers, faults and its own ledger of calls (`provider`).

Authors of a link or a policy check theirs with `check_link` and `check_policy`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catena.testing.check import check_link
    from catena.testing.policy import check_policy
    from catena.testing.promises import BrokenContract

__all__ = ["BrokenContract", "check_link", "check_policy"]


def __getattr__(name: str) -> Any:
    """Import a check when it is used: the fake provider starts without them."""
    if name in __all__:
        from catena.testing import check, policy, promises  # noqa: PLC0415 - as said

        return getattr({"check_link": check, "check_policy": policy}.get(name, promises), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
