"""Annotators: one kind per file, behind one protocol (`types.Link`). The only network."""

from catena.links.registry import KINDS, open_link

__all__ = ["KINDS", "open_link"]
