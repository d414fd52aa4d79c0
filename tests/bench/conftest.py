"""Puts bench/ on the import path: its scripts import each other as files beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
