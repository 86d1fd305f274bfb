"""A server beside its peers: clients on this machine in, texts a second, tokens a second and latencies out.

    python benchmarks/serve.py [--seconds 5] [--rounds 3] [--clients 1 8 64] [--precision float32] [--record]

Peers: FastAPI around sentence-transformers (benchmarks/peers/st_server.py) and infinity-emb where it is installed. All
servers are there at once and measured in turn, round after round; a table shows the median of rounds. Clients are
closed loops in one process that sends bytes made before and parses nothing but the length of the answer, for it shares
the cores with the server. "share" is the server's tokens/s of those of `Embedder.encode` over the same texts here.
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
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from machine import keep, machine

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he")
PATHS = {"/v1/embeddings": "input", "/embed": "inputs"}


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
        late = time.monotonic() + 180
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


def rows(kind: str, servers: list[Server], options: argparse.Namespace) -> list[str]:
    """Measure all servers with requests of one kind, and return the lines of a table."""
    sets = [texts_of(kind, seed) for seed in range(200)]
    rate, counts = offline([text for one in sets for text in one], options.precision, options.seconds)
    left = iter(counts)
    each = [sum(next(left) for _ in one) for one in sets]
    lines = []
    for path in options.paths:
        for clients in options.clients:
            found: dict[str, list[tuple[float, ...]]] = {}
            for _ in range(options.rounds):
                for server in servers:
                    if path not in server.paths:
                        continue
                    made = [request(path, one) for one in sets]
                    made = [content.replace(path.encode(), server.paths[path].encode(), 1) for content in made]
                    asyncio.run(load(server.port, made, clients, options.seconds / 5))  # to warm up
                    taken, which, seconds = asyncio.run(load(server.port, made, clients, options.seconds))
                    tokens = sum(each[i] for i in which) / seconds
                    texts = sum(len(sets[i]) for i in which) / seconds
                    ordered = sorted(1000 * one for one in taken)
                    ends = ordered[len(taken) // 2], ordered[int(len(taken) * 0.99)]
                    found.setdefault(server.name, []).append(
                        (len(taken) / seconds, texts, tokens, tokens / rate, *ends)
                    )
            for name, rounds in found.items():
                a, b, c, d, e, f = (statistics.median(column) for column in zip(*rounds, strict=True))
                line = f"| {kind} | {path} | {clients} | {name} | {a:,.0f} | {b:,.0f} | {c:,.0f} | {d:.0%} |"
                lines.append(f"{line} {e:.1f} | {f:.1f} |")
                print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--kinds", nargs="+", default=["short", "mixed"])
    parser.add_argument("--paths", nargs="+", default=list(PATHS))
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

    from sentvec.checkpoint.hub import resolve

    folder = str(resolve(MODEL))
    own = [sys.executable, "-m", "sentvec", "serve", MODEL, "--port", "PORT", "--precision", options.precision]
    peer = [sys.executable, str(Path(__file__).parent / "peers" / "st_server.py"), folder, "PORT", options.precision]
    same = {path: path for path in PATHS}
    wanted = [("sentvec", own, "/health", same)]
    if not options.alone:
        wanted.append(("FastAPI + sentence-transformers", peer, "/health", same))
        infinity = shutil.which("infinity_emb", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if infinity:
            command = [infinity, "v2", "--model-id", folder, "--port", "PORT", "--engine", "torch", "--device", "cpu"]
            wanted.append(("infinity", command, "/health", {"/v1/embeddings": "/embeddings"}))
    lines = [
        f"# Serving all-MiniLM-L6-v2 over HTTP, {options.precision}",
        "",
        "| texts | path | clients | server | requests/s | texts/s | tokens/s | share | p50, ms | p99, ms |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    with ExitStack() as stack:
        servers = []
        for name, command, ready, paths in wanted:
            try:
                servers.append(Server(name, command, ready, paths))
                stack.callback(servers[-1].end)
            except RuntimeError as error:
                print(error)
        for kind in options.kinds:
            lines += rows(kind, servers, options)
    lines += ["", f"{options.rounds} rounds of {options.seconds:g} s, in turn. {machine('uvicorn')}"]
    keep(f"serve-{options.precision}", lines, options.record)


if __name__ == "__main__":
    main()
