"""Load on `tfhub-transfer serve`: many clients at once, beside the same export called directly.

    python benchmarks/serve_load.py --data-folder DATA --encoder ENCODER --output serve_load.json

The encoder with an untrained head is exported in float32. Sentences of SST-2 are answered by
`ServedModel.predict` in a process of its own, by the server under load, and by `predict` again:
what else the machine does falls on all. `predict` is given all sentences at once, and then as many
at a time as all clients ask at once, which is all that a server can know of. Clients are one more
process, whose time isn't counted; where cores are few, CPU seconds of each say more than the clock.
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
def rates(rows):
    clock, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), rows):
        served.predict(texts[start : start + rows])
    spent = time.perf_counter() - clock, time.process_time() - cpu
    return [len(texts) / each for each in spent]
print(json.dumps([rates(len(texts)), rates(int(sys.argv[2]))]))
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
        once = options.clients * options.rows
        before = _direct(folder, texts, once)
        loaded = _loaded(folder, texts, options)
        after = _direct(folder, texts, once)
    for kind, called in enumerate(("direct", "direct_windows")):
        for unit, rate in enumerate(("texts_per_second", "texts_per_cpu_second")):
            found = [before[kind][unit], after[kind][unit]]
            loaded[f"{called}_{rate}"] = found
            loaded[f"{called}_ratio_of_{rate}"] = loaded[rate] / statistics.mean(found)
    print(json.dumps(loaded, indent=1))
    if options.output:
        options.output.write_text(json.dumps(loaded, indent=1) + "\n", encoding="utf-8")


def _texts(folder: Path) -> list[str]:
    lines = (folder / "sst2" / "test.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def _direct(folder: str, texts: list[str], once: int) -> list[list[float]]:
    """Texts a second and a CPU second, all given at once, and so many at a time."""
    command = [sys.executable, "-c", _DIRECT, folder, str(once)]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    found: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
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
    sixth = max(1, len(memory) // 6)
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
        # Of each sixth of the time.
        "memory_mib": [statistics.mean(memory[n * sixth :][:sixth]) for n in range(6)],
    }


if __name__ == "__main__":
    main()
