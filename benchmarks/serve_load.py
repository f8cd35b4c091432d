"""Load on `tfhub-transfer serve`: many clients at once, beside the same export called directly.

    python benchmarks/serve_load.py --data-folder DATA --encoder ENCODER --output serve_load.json

The encoder with an untrained head is exported in float32. Sentences of SST-2 are answered by
`ServedModel.predict` in a process of its own, by the server under load, and by `predict` again:
what else the machine does falls on all. Clients are one more process, whose time isn't counted;
where cores are few, CPU seconds of each say more than the clock.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_DIRECT = """
import json, sys, time
from tfhub_transfer.serving.served import ServedModel
served, texts = ServedModel(sys.argv[1]), json.loads(sys.stdin.read())
served.predict(texts[:512])
clock, cpu = time.perf_counter(), time.process_time()
served.predict(texts)
print(json.dumps([len(texts), time.perf_counter() - clock, time.process_time() - cpu]))
"""
_EXPORT = """
import sys
import tfhub_transfer as tt
task = tt.tasks.Classification(["negative", "positive"])
tt.export_saved_model(tt.build_model(sys.argv[1], task), sys.argv[2], "float32")
"""


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-folder", default=os.environ.get("BENCH_DATA"), required=False)
    parser.add_argument("--encoder", default=os.environ.get("BENCH_ENCODER"))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1, help="texts of a request")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = [sys.executable, "-c"]
        subprocess.run([*python, _EXPORT, options.encoder, folder], check=True)
        texts = _texts(Path(options.data_folder))
        before = _direct(folder, texts)
        loaded = _loaded(folder, texts, options)
        after = _direct(folder, texts)
    direct = [each[0] / each[1] for each in (before, after)]
    direct_cpu = [each[0] / each[2] for each in (before, after)]
    loaded["direct_texts_per_second"] = direct
    loaded["direct_texts_per_cpu_second"] = direct_cpu
    loaded["ratio"] = loaded["texts_per_second"] / statistics.mean(direct)
    loaded["ratio_by_cpu"] = loaded["texts_per_cpu_second"] / statistics.mean(direct_cpu)
    print(json.dumps(loaded, indent=1))
    if options.output:
        options.output.write_text(json.dumps(loaded, indent=1) + "\n", encoding="utf-8")


def _texts(folder: Path) -> list[str]:
    lines = (folder / "sst2" / "test.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def _direct(folder: str, texts: list[str]) -> list[float]:
    command = [sys.executable, "-c", _DIRECT, folder]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def _server(folder: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "tfhub_transfer", "serve", folder, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, line.split(" in a browser")[0].rpartition(" ")[2]
        process.terminate()


def _loaded(folder: str, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    with _server(folder) as (process, address):
        warm = argparse.Namespace(**{**vars(options), "seconds": 5.0})
        asyncio.run(_clients(address, texts, warm))
        began = _cpu(process.pid)
        told = asyncio.run(_clients(address, texts, options))
        spent = _cpu(process.pid) - began
        metrics = urllib.request.urlopen(f"{address}/metrics").read().decode()
    told["cpu_seconds"] = spent
    told["texts_per_cpu_second"] = told["texts"] / spent
    rows, count = (_value(metrics, f"tfhub_transfer_batch_rows_{n} ") for n in ("sum", "count"))
    return {**told, "rows_of_a_batch": rows / count}


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _value(metrics: str, name: str) -> float:
    return next(float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name))


async def _clients(address: str, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Each asks as soon as it is answered; whatever isn't answered well is counted as lost."""
    place = urllib.parse.urlsplit(address)
    ends = time.perf_counter() + options.seconds
    latencies: list[float] = []
    lost: list[str] = []
    memory: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        at = number * 31
        while time.perf_counter() < ends:
            own = [texts[(at + row) % len(texts)] for row in range(options.rows)]
            at += options.rows
            body = json.dumps({"instances": own}).encode()
            head = f"POST /v1/models/model:predict HTTP/1.1\r\nHost: {place.netloc}\r\n"
            began = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            told = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = json.loads(await reader.readexactly(length))
            latencies.append(time.perf_counter() - began)
            if len(answer.get("predictions", [])) != options.rows:
                lost.append(str(answer)[:200])
        writer.close()

    async def watch() -> None:
        while True:
            read = await asyncio.to_thread(urllib.request.urlopen, f"{address}/metrics")
            memory.append(_value(read.read().decode(), "process_resident_memory_bytes ") / 2**20)
            await asyncio.sleep(1.0)

    watcher = asyncio.create_task(watch())
    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(options.clients)))
    spent = time.perf_counter() - began
    watcher.cancel()
    ordered = sorted(latencies)
    third = max(1, len(memory) // 3)
    return {
        "clients": options.clients,
        "rows": options.rows,
        "seconds": spent,
        "requests": len(ordered),
        "lost": len(lost),
        "first_lost": lost[:3],
        "texts": len(ordered) * options.rows,
        "texts_per_second": len(ordered) * options.rows / spent,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
        "most_ms": 1000 * ordered[-1],
        "memory_mib": [statistics.mean(memory[:third]), statistics.mean(memory[-third:])],
    }


if __name__ == "__main__":
    main()
