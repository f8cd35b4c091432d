"""What `--precision auto` decides by: one dense layer at float32 and bfloat16, by width.

    python benchmarks/precision.py

Writes `benchmarks/precision.json`.
"""

import harness


def main() -> None:
    """Measures and prints."""
    from tfhub_transfer.runtime import products

    rows, raw = [], {}
    for width in products.WIDTHS:
        found = [products.measure(width) for _ in range(3)]
        raw[width] = found
        seconds = {name: min(each[name] for each in found) for name in products.PRECISIONS}
        times = [each["float32"] / each["bfloat16"] for each in found]
        shown = [f"{1000 * seconds[name]:.2f}" for name in products.PRECISIONS]
        rows.append([width, *shown, f"{min(times):.2f} to {max(times):.2f}"])
    header = [products.cpu_model(), "float32 ms", "bfloat16 ms", "bfloat16 is faster, times"]
    harness.report("precision", header, rows, raw)


if __name__ == "__main__":
    main()
