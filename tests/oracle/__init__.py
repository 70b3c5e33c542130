"""The oracle: a slow, plain reference matcher, written from docs/semantics.md and sharing no code with the engine."""

from .matcher import Result, run_case
from .profiles import FLINK, FYKE, PROFILES, Profile

__all__ = ["FLINK", "FYKE", "PROFILES", "Profile", "Result", "run_case"]
