"""A server beside its peers: clients on this machine in, texts a second, tokens a second and latencies out.

    python benchmarks/serve.py [--seconds 3] [--rounds 3] [--clients 1 8 64] [--precision float32]
                               [--peers float32 ...] [--record]

Peers: FastAPI around sentence-transformers (benchmarks/peers/st_server.py), and infinity-emb where `--infinity` says or
the PATH has it: it wants other versions of libraries than we do, so give it a virtual environment of its own. All
servers are there at once and measured in turn, round after round. Peers have the number formats that `--peers` says, or
ours (sentence-transformers has no int8). Clients are closed loops in one process that sends bytes made before and
parses nothing but the length of the answer, for it shares the cores with the server.

Every measurement is a line in build/bench/serve, and one that is there is not made again: a run that was stopped goes
on, and runs of other kinds, clients or number formats come to it. `--fresh` begins anew. The table is made of all lines
of one `--seconds`: medians of rounds; "share" is the server's tokens/s of those of `Embedder.encode` over the same
texts here, "times" our requests/s of those of the fastest peer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from machine import keep, machine

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he")
PATHS = {"/v1/embeddings": "input", "/embed": "inputs"}
LINES = Path(__file__).resolve().parent.parent / "build" / "bench" / "serve"
OURS, OFFLINE = "sentvec", "Embedder.encode"
Line = dict[str, Any]


def texts_of(kind: str, seed: int) -> list[str]:
    """Return a request's texts: one of 8 to 32 tokens, or sixteen of 8 to 250."""
    draw = random.Random(seed)
    if kind == "short":
        return [" ".join(draw.choices(WORDS, k=draw.randint(6, 30)))]
    return [" ".join(draw.choices(WORDS, k=int(8 * 31 ** draw.random()))) for _ in range(16)]


def request(path: str, texts: list[str]) -> bytes:
    body: dict[str, Any] = {PATHS[path]: texts if len(texts) > 1 else texts[0]}
    if path == "/v1/embeddings":
        body |= {"model": MODEL, "encoding_format": "base64"}  # what OpenAI's client sends
    content = json.dumps(body).encode()
    kind, length = "content-type: application/json", f"content-length: {len(content)}"
    lines = f"POST {path} HTTP/1.1", "host: localhost", kind, length
    return "\r\n".join((*lines, "", "")).encode() + content


class Server:
    """A process that serves."""

    def __init__(self, name: str, command: list[str], ready: str, paths: dict[str, str]) -> None:
        self.name, self.paths = name, paths
        self.port = free_port()
        command = [part.replace("PORT", str(self.port)) for part in command]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        late = time.monotonic() + 300  # one of the peers compiles its model
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", ready)
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            if time.monotonic() > late or self.process.poll() is not None:
                self.end()
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.2)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def load(port: int, requests: list[bytes], clients: int, seconds: float) -> tuple[list[float], list[int], float]:
    """Return latencies, which request each was, and the seconds that they took in all."""
    stop = time.monotonic() + seconds
    taken: list[float] = []
    which: list[int] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        draw = random.Random(number)
        while time.monotonic() < stop:
            chosen = draw.randrange(len(requests))
            begun = time.perf_counter()
            writer.write(requests[chosen])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - begun)
            which.append(chosen)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return taken, which, time.perf_counter() - begun


def offline(texts: list[str], precision: str, seconds: float) -> tuple[float, list[int]]:
    """Return tokens/s of `Embedder.encode` in a process of its own, and the tokens of each text."""
    code = (
        "import json, sys, time\nfrom sentvec import Embedder\n"
        "texts, seconds = json.load(sys.stdin)\n"
        f"model = Embedder.from_pretrained({MODEL!r}, device='cpu', precision={precision!r})\n"
        "counts = model.count_tokens(texts)\nmodel.encode(texts)\nbegun, runs = time.perf_counter(), 0\n"
        "while time.perf_counter() - begun < seconds:\n    model.encode(texts); runs += 1\n"
        "print(json.dumps([runs * sum(counts) / (time.perf_counter() - begun), counts]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps([texts, seconds]), capture_output=True, text=True, check=True
    )
    rate, counts = json.loads(done.stdout)
    return rate, counts


class Kept:
    """Lines of measurements, on the disk as soon as they are made."""

    def __init__(self, seconds: float) -> None:
        self._file = LINES / "lines.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        read = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self.lines: list[Line] = [one for one in map(json.loads, read) if one["seconds"] == seconds]

    def rounds(self, **what: Any) -> int:
        """Say how often something was measured."""
        return sum(all(line.get(key) == value for key, value in what.items()) for line in self.lines)

    def add(self, **line: Any) -> None:
        print(json.dumps({key: value for key, value in line.items() if key != "counts"}), flush=True)
        self.lines.append(line)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def measured(server: Server, path: str, sets: list[list[str]], counts: list[int], clients: int, seconds: float) -> Line:
    """Let clients ask for some seconds, and return what they saw."""
    made = [request(path, one).replace(path.encode(), server.paths[path].encode(), 1) for one in sets]
    asyncio.run(load(server.port, made, min(clients, 8), seconds / 5))  # to warm up
    taken, which, whole = asyncio.run(load(server.port, made, clients, seconds))
    ordered = sorted(1000 * one for one in taken)
    return {
        "requests": len(taken) / whole,
        "texts": sum(len(sets[i]) for i in which) / whole,
        "tokens": sum(counts[i] for i in which) / whole,
        "p50": ordered[len(taken) // 2],
        "p99": ordered[int(len(taken) * 0.99)],
    }


def measure(kind: str, servers: list[Server], kept: Kept, options: argparse.Namespace) -> None:
    """Measure what is missing of one kind of texts."""
    sets = [texts_of(kind, seed) for seed in range(200)]
    all_texts = [text for one in sets for text in one]
    same = {"precision": options.precision, "kind": kind, "seconds": options.seconds}
    for number in range(options.rounds):
        if kept.rounds(server=OFFLINE, **same) <= number:
            rate, each = offline(all_texts, options.precision, options.seconds)
            left = iter(each)
            kept.add(server=OFFLINE, **same, tokens=rate, counts=[sum(next(left) for _ in one) for one in sets])
        counts = next(line["counts"] for line in kept.lines if line["server"] == OFFLINE and line["kind"] == kind)
        for path in options.paths:
            for clients in options.clients:
                for server in servers if number % 2 == 0 else servers[::-1]:
                    what = {"server": server.name, **same, "path": path, "clients": clients}
                    if path in server.paths and kept.rounds(**what) <= number:
                        kept.add(**what, **measured(server, path, sets, counts, clients, options.seconds))


def table(lines: list[Line], precision: str) -> list[str]:
    """Return the table of one number format."""
    chosen = [line for line in lines if line["precision"] == precision]
    rates = defaultdict(list)
    groups: dict[tuple[Any, ...], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in chosen:
        if line["server"] == OFFLINE:
            rates[line["kind"]].append(line["tokens"])
        else:
            groups[line["kind"], line["path"], line["clients"]][line["server"]].append(line)
    names = "texts", "path", "clients", "server", "rounds", "requests/s", "texts/s", "tokens/s", "share", "times"
    told = [
        f"| {' | '.join((*names, 'p50, ms', 'p99, ms'))} |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    order = {(kind, path): at for at, (kind, path) in enumerate((k, p) for k in ("short", "mixed") for p in PATHS)}
    for kind, path, clients in sorted(groups, key=lambda key: (order[key[:2]], key[2])):
        found = groups[kind, path, clients]
        middle = {
            name: {
                key: statistics.median(one[key] for one in rounds)
                for key in ("requests", "texts", "tokens", "p50", "p99")
            }
            for name, rounds in found.items()
        }
        best = max((one["requests"] for name, one in middle.items() if name != OURS), default=0.0)
        for name, one in middle.items():
            share = one["tokens"] / statistics.median(rates[kind])
            times = f"{one['requests'] / best:.1f}" if name == OURS and best else ""
            told.append(
                f"| {kind} | {path} | {clients} | {name} | {len(found[name])} | {one['requests']:,.1f} | "
                f"{one['texts']:,.0f} | {one['tokens']:,.0f} | {share:.0%} | {times} | "
                f"{one['p50']:.1f} | {one['p99']:.1f} |"
            )
    return told


def wanted(options: argparse.Namespace) -> list[tuple[str, list[str], str, dict[str, str]]]:
    """Return name, command, what answers when it is ready, and paths of each server."""
    from sentvec.checkpoint.hub import resolve

    folder = str(resolve(MODEL))
    own = [sys.executable, "-m", "sentvec", "serve", MODEL, "--port", "PORT", "--precision", options.precision]
    servers = [(OURS, own, "/health", {path: path for path in PATHS})]
    infinity = options.infinity or shutil.which("infinity_emb")
    for theirs in [] if options.alone else options.peers or [options.precision]:
        told = "" if theirs == options.precision else f", {theirs}"
        if theirs != "int8":  # sentence-transformers has none
            peer = [sys.executable, str(Path(__file__).parent / "peers" / "st_server.py"), folder, "PORT", theirs]
            servers.append((f"FastAPI + sentence-transformers{told}", peer, "/health", {path: path for path in PATHS}))
        if infinity:
            command = [str(infinity), "v2", "--model-id", folder, "--served-model-name", MODEL, "--port", "PORT"]
            command += ["--host", "127.0.0.1", "--engine", "torch", "--device", "cpu", "--dtype", theirs]
            name = f"infinity-emb{_version(infinity)}{told}"
            servers.append((name, command, "/health", {"/v1/embeddings": "/embeddings"}))
    return servers


def _version(infinity: str) -> str:
    code = "from importlib.metadata import version; print('', version('infinity-emb'), end='')"
    python = Path(infinity).parent / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--kinds", nargs="+", default=["short", "mixed"])
    parser.add_argument("--paths", nargs="+", default=list(PATHS))
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--peers", nargs="+", help="number formats of the peers")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--infinity", help="path of infinity_emb, in a virtual environment of its own")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have measured")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if options.fresh:
        shutil.rmtree(LINES, ignore_errors=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # servers end with us
    kept = Kept(options.seconds)
    with ExitStack() as stack:
        servers = []
        for name, command, ready, paths in wanted(options):
            try:
                servers.append(Server(name, command, ready, paths))
                stack.callback(servers[-1].end)
            except RuntimeError as error:
                print(error)
        for kind in options.kinds:
            measure(kind, servers, kept, options)
    lines = ["# Serving all-MiniLM-L6-v2 over HTTP", ""]
    lines += [
        'Servers that are there at once and measured in turn; medians of rounds. The client shares the cores. "share"',
        'is of the tokens/s of `Embedder.encode` over the same texts here; "times", of the fastest peer\'s requests/s.',
    ]
    for precision in sorted({line["precision"] for line in kept.lines}, reverse=True):
        lines += ["", f"{precision}:", "", *table(kept.lines, precision)]
    about = machine("torch", "uvicorn", "fastapi", "sentence-transformers")
    lines += ["", f"Rounds of {options.seconds:g} s. {about}"]
    keep("serve", lines, options.record)


if __name__ == "__main__":
    main()
