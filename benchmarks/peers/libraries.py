"""Libraries that take texts and give vectors by themselves: a setting in, a function that encodes out."""

from __future__ import annotations

import numpy as np

from peers.setting import Encode, NotOffered, Setting


def sentvec(setting: Setting) -> Encode:
    import torch

    from sentvec import Embedder
    from sentvec.errors import InvalidInput

    torch.set_num_threads(setting.threads)
    try:
        model = Embedder.from_pretrained(setting.model, precision=setting.precision, device="cpu")
    except InvalidInput as error:
        raise NotOffered(str(error)) from error
    return lambda texts: model.encode(texts, progress=False)


def sentence_transformers(setting: Setting) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(setting.threads)
    dtype = getattr(torch, setting.precision)
    model = SentenceTransformer(str(setting.model), device="cpu", model_kwargs={"dtype": dtype})
    return lambda texts: model.encode(texts, batch_size=setting.batch, show_progress_bar=False)


def fastembed(setting: Setting) -> Encode:
    """Its own path: own tokenising and pooling around ONNX Runtime, batches in the order of the texts."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = f"local/{setting.precision}"
    file = "model.onnx" if setting.precision == "float32" else f"model-{setting.precision}.onnx"
    # no such address: the folder below is read instead
    TextEmbedding.add_custom_model(name, PoolingType.MEAN, True, ModelSource(hf="local/none"), 1, model_file=file)
    model = TextEmbedding(name, threads=setting.threads, specific_model_path=str(setting.model / "onnx"))
    return lambda texts: np.stack(list(model.embed(texts, batch_size=setting.batch)))
