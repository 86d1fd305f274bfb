"""What people write first: FastAPI around sentence-transformers; a peer of benchmarks/serve.py.

python benchmarks/peers/st_server.py MODEL PORT [bfloat16]
"""

import base64
import sys

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(sys.argv[1], device="cpu")
if sys.argv[3:] == ["bfloat16"]:
    model = model.to(torch.bfloat16)


class OpenAI(BaseModel):
    input: list[str] | str
    encoding_format: str = "float"


class Tei(BaseModel):
    inputs: list[str] | str


def vectors(texts: list[str] | str) -> np.ndarray:
    texts = [texts] if isinstance(texts, str) else texts
    found = model.encode(texts, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False)
    return found.float().numpy()


@app.post("/v1/embeddings")
def embeddings(body: OpenAI) -> dict:
    found = vectors(body.input)
    as_text = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": base64.b64encode(v.tobytes()) if as_text else v.tolist()}
        for i, v in enumerate(found)
    ]
    return {"object": "list", "data": data, "model": sys.argv[1], "usage": {"prompt_tokens": 0, "total_tokens": 0}}


@app.post("/embed")
def embed(body: Tei) -> list[list[float]]:
    return vectors(body.inputs).tolist()


@app.get("/health")
def health() -> None:
    return None


if __name__ == "__main__":
    vectors(["warm"])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
