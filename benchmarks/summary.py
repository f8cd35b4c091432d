"""Prints the results in `accuracy.jsonl` as the table of `README.md`: medians over seeds.

python benchmarks/summary.py
"""

import collections
import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).parent / "accuracy.jsonl"
MAIN = {
    "go_emotions": "micro_f1",
    "stsb": "spearman",
    "stsb_cosine": "spearman",
    "stsb_towers": "spearman",
    "wnut17": "f1",
}


def main() -> None:
    """Reads all recorded runs and prints one row for each job and encoder."""
    runs = collections.defaultdict(list)
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        runs[run["job"], run["encoder"], run["unfreeze"]].append(run)
    print("| data set | encoder | unfreeze | metric | median | seeds | seconds |")
    print("|---|---|---|---|---|---|---|")
    for (job, encoder, unfreeze), found in runs.items():
        metric = MAIN.get(job, "accuracy")
        values = sorted(run["metrics"][metric] for run in found)
        seconds = statistics.median(run["seconds"]["all"] for run in found)
        print(
            f"| {job} | {encoder} | {unfreeze} | {metric} | {statistics.median(values):.4f} "
            f"| {', '.join(f'{v:.4f}' for v in values)} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
