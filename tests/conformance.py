"""Compare the engine, or the oracle, with Flink's results.

usage: python tests/conformance.py [FILE.jsonl[.gz] ...] [--matcher engine|oracle] [--profile flink|fyke]
                                   [--strategy auto|general] [--verbose]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conformance.runner import main

if __name__ == "__main__":
    sys.exit(main())
