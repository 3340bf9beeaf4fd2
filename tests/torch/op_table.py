"""Print the table op → verdict that `test_op_db.py` has left in ``build/op_db``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

ORDER = ("wrong", "fallback", "native", "eager", "untraceable", "skipped")


def main() -> None:
    counts: Counter[str] = Counter()
    for file in sorted((Path(__file__).parents[2] / "build" / "op_db").glob("*.json")):
        verdicts = json.loads(file.read_text())
        worst = next((v for v in ORDER if verdicts.get(v)), "skipped")
        counts[worst] += 1
        detail = verdicts.get(worst, [""])[0] if worst in ("wrong", "fallback") else ""
        print(f"{file.stem:48} {worst:12} {detail}")
    print(", ".join(f"{n} {v}" for v, n in counts.most_common()))


if __name__ == "__main__":
    main()
