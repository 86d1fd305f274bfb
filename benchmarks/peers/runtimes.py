"""Runtimes that know tensors but not texts: a setting in, a function that encodes out.

What such a runtime lacks is done here as well as a user could: texts are sorted by length, so that batches hold little
padding, and batches may run side by side.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.setting import LENGTH, Encode, NotOffered, Setting

Ids = NDArray[np.int64]
States = Callable[[Ids, Ids], NDArray[np.float32]]
"""Token ids and mask, both (batch, tokens), in; the last layer's states (batch, tokens, hidden) out."""


def padded(setting: Setting, states: States, *, side_by_side: int = 1) -> Encode:
    """Put texts around a runtime: tokenise, sort, pad, run, average, and put back in order."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(setting.model / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.no_padding()
    hidden = json.loads((setting.model / "config.json").read_text())["hidden_size"]
    pool = ThreadPoolExecutor(side_by_side) if side_by_side > 1 else None

    def run(batch: list[list[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)  # BERT's padding is id 0, and masked anyhow
        mask = np.zeros_like(ids)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        weights = mask.astype(np.float32) / mask.sum(1, keepdims=True, dtype=np.float32)
        mean = np.matmul(weights[:, None, :], states(ids, mask))[:, 0]  # (batch, hidden)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        places = [order[i : i + setting.batch] for i in range(0, len(order), setting.batch)]
        batches = [[ids[i] for i in batch] for batch in places]
        vectors = np.empty((len(texts), hidden), np.float32)
        for where, found in zip(places, pool.map(run, batches) if pool else map(run, batches), strict=True):
            vectors[where] = found
        return vectors

    return encode


def onnxruntime(setting: Setting) -> Encode:
    import onnxruntime as ort

    file = "model.onnx" if setting.precision == "float32" else f"model-{setting.precision}.onnx"

    def with_workers(workers: int) -> Encode:
        options = ort.SessionOptions()
        options.intra_op_num_threads = setting.threads // workers
        path = str(setting.model / "onnx" / file)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def states(ids: Ids, mask: Ids) -> NDArray[np.float32]:
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            return session.run(None, feed)[0]

        return padded(setting, states, side_by_side=workers)

    return _one_or_many(setting, lambda: with_workers(1), lambda: with_workers(setting.threads), many="workers")


def openvino(setting: Setting) -> Encode:
    """One stream with all threads is what the latency hint chooses; a stream for each thread, the throughput hint."""
    import openvino as ov

    core = ov.Core()
    graph = core.read_model(setting.model / "onnx" / "model.onnx")
    precision = {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16}[setting.precision]
    if setting.precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NotOffered("no bfloat16 on this processor")

    def with_hint(hint: str, side_by_side: int) -> Encode:
        limits = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": setting.threads}
        compiled = core.compile_model(graph, "CPU", {"PERFORMANCE_HINT": hint, **limits})
        own = threading.local()  # a request for each thread

        def states(ids: Ids, mask: Ids) -> NDArray[np.float32]:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            return own.request.infer(feed, share_inputs=True, share_outputs=True)[0]

        return padded(setting, states, side_by_side=side_by_side)

    return _one_or_many(
        setting, lambda: with_hint("LATENCY", 1), lambda: with_hint("THROUGHPUT", setting.threads), many="streams"
    )


def ctranslate2(setting: Setting) -> Encode:
    import ctranslate2 as ct

    if setting.precision not in ct.get_supported_compute_types("cpu"):
        raise NotOffered(f"its formats here are {', '.join(sorted(ct.get_supported_compute_types('cpu')))}")

    def with_workers(workers: int) -> Encode:
        model: Any = ct.Encoder(
            str(setting.model / "ct2"),
            device="cpu",
            compute_type=setting.precision,
            inter_threads=workers,
            intra_threads=setting.threads // workers,
        )

        def states(ids: Ids, mask: Ids) -> NDArray[np.float32]:
            inputs = ct.StorageView.from_array(ids.astype(np.int32))
            lengths = ct.StorageView.from_array(mask.sum(1).astype(np.int32))
            return np.asarray(model.forward_batch(inputs, lengths).last_hidden_state)

        return padded(setting, states, side_by_side=workers)

    return _one_or_many(setting, lambda: with_workers(1), lambda: with_workers(setting.threads), many="workers")


def _one_or_many(setting: Setting, one: Callable[[], Encode], side: Callable[[], Encode], *, many: str) -> Encode:
    """Choose by variant for many texts; for a single text, all threads work together whatever the variant."""
    if setting.variant != many:
        return one()
    bulk, single = side(), None

    def encode(texts: list[str]) -> NDArray[np.float32]:
        nonlocal single
        if len(texts) > 1:
            return bulk(texts)
        single = single or one()  # loaded when asked for, after the memory of the bulk run was read
        return single(texts)

    return encode
