"""Run every benchmark program, one after the other; finished rows are kept, so a stopped run goes on.

Each program prints its figures beside plain baselines measured in the same run. What can't run here
(a data set or a base is absent) says so and the next one starts. `make bench` calls this; hours, not minutes.
"""

import subprocess
import sys
from pathlib import Path

from finetuned_sets import SETS

HERE = Path(__file__).parent
RUNS: list[list[str]] = [
    ["text_classification.py", "--task", "banking77"],
    ["text_classification.py", "--task", "phrasebank"],
    ["text_classification.py", "--task", "banking77", "--base", "bge-small-en-v1.5"],
    ["text_classification.py", "--task", "phrasebank", "--base", "bge-small-en-v1.5"],
    *(["finetuned.py", "--set", name] for name in SETS),
    ["finetuned.py", "--set", "banking77", "--base", "all-MiniLM-L6-v2"],
    ["finetuned.py", "--set", "phrasebank", "--base", "all-MiniLM-L6-v2"],
    ["recommendation.py", "--set", "online_retail"],
    ["recommendation.py", "--set", "goodbooks"],
    ["support_retrieval.py"],
    ["support_handoff.py"],
    ["word_depths.py"],
    ["word_depths.py", "--base", "all-MiniLM-L6-v2"],
    ["sentiment_reuters.py"],
    ["generation.py"],
    ["encode_speed.py"],
    ["resident_memory.py"],
    ["training_speed.py"],
    ["concurrent_questions.py"],
    ["concurrent_questions.py", "--compressed"],
]


def main() -> int:
    """Run all; return 1 when one of them failed, after all were tried."""
    failed = []
    for program, *arguments in RUNS:
        print(f"== {program} {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, str(HERE / program), *arguments], check=False).returncode:
            failed.append(program)
    for program in failed:
        print(f"failed: {program}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
