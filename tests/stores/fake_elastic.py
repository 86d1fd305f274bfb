"""A stand-in for Elasticsearch and OpenSearch on loopback: what we send, answered as their manuals say.

It shows that what we send is what we mean, not that a server takes it so.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class FakeElastic:
    """A server with its indexes: name -> (mapping, id -> document)."""

    def __init__(self, distribution="elasticsearch"):
        self.distribution, self.indexes, self.turn = distribution, {}, threading.RLock()
        self.requests, self.status, self.inner = [], None, False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with fake.turn:
                    fake.requests.append((self.command, self.path, data, dict(self.headers)))
                    status, answer = (fake.status, {"error": "told to"}) if fake.status else self.answer(data)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815, the names are the library's

            def answer(self, data):
                return fake.answer(self.command, self.path.partition("?")[0], data.decode())

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.port = self.server.server_address[1]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, method, path, text):  # noqa: PLR0911
        if path == "/":
            own = {} if self.distribution == "elasticsearch" else {"distribution": self.distribution}
            return 200, {"version": {"number": "9.1.0", **own}}
        _, name, *verb = path.split("/")
        if method == "PUT":
            self.indexes[name] = (json.loads(text)["mappings"], {})
            self.inner = re.search("max_inner_product|innerproduct", text) is not None
            return 200, {"acknowledged": True}
        if name not in self.indexes:
            return 404, {"error": {"type": "index_not_found_exception"}}
        mapping, documents = self.indexes[name]
        if verb == ["_mapping"]:
            return 200, {name: {"mappings": mapping}}
        if verb == ["_count"]:
            return 200, {"count": len(documents)}
        if verb == ["_bulk"]:
            return 200, self.bulk(documents, text)
        if verb == ["_msearch"]:
            bodies = [json.loads(line) for line in text.split("\n")[:-1]]
            assert bodies[::2] == [{}] * (len(bodies) // 2)
            return 200, {"responses": [{"hits": {"hits": self.search(body, documents)}} for body in bodies[1::2]]}
        body = json.loads(text)
        if verb == ["_mget"]:
            held = [{"_id": i, "found": i in documents, "_source": documents.get(i)} for i in body["ids"]]
            return 200, {"docs": held}
        if verb == ["_delete_by_query"]:
            gone = [
                i for i, document in documents.items() if self.score(body["query"], document, documents) is not None
            ]
            for id_ in gone:
                del documents[id_]
            return 200, {"deleted": len(gone)}
        assert verb == ["_search"], path
        return 200, {"hits": {"hits": self.search(body, documents)}}

    @staticmethod
    def bulk(documents, text):
        items, lines = [], iter(text.split("\n")[:-1])
        for line in lines:
            ((verb, told),) = json.loads(line).items()
            result = "created"
            if verb == "index":
                documents[told["_id"]] = json.loads(next(lines))
            else:
                result = "deleted" if documents.pop(told["_id"], None) is not None else "not_found"
            items.append({verb: {"_id": told["_id"], "result": result}})
        return {"items": items}

    def search(self, body, documents):
        query = body.get("query") or {"knn": body["knn"]}
        scored = [(self.score(query, document, documents), document) for document in documents.values()]
        found = [(score, document) for score, document in scored if score is not None]
        if "sort" in body:
            (after,) = body.get("search_after", [""])
            found = sorted((one for one in found if one[1]["id"] > after), key=lambda one: one[1]["id"])
        else:
            found.sort(key=lambda one: -one[0])
        if "knn" in query:
            found = found[: query["knn"].get("k") or query["knn"]["vector"]["k"]]
        kept = [(s, {name: d[name] for name in body["_source"]}) for s, d in found[: body["size"]]]
        return [{"_id": d["id"], "_score": s, "_source": d} for s, d in kept]

    def score(self, query, document, documents):  # noqa: PLR0911
        """Return a document's score, or None where it does not match."""
        ((kind, told),) = query.items()
        if kind == "match_all":
            return 1.0
        if kind == "match_none":
            return None
        if kind == "term":
            ((field, value),) = told.items()
            return 1.0 if document[field] == value else None
        if kind == "terms":
            ((field, values),) = told.items()
            return 1.0 if set(values) & set(document[field]) else None
        if kind == "range":
            ((field, bounds),) = told.items()
            value = document["bounds"].get(field.removeprefix("bounds."))
            ((order, bound),) = bounds.items()
            if value is None:
                return None
            holds = {"lt": value < bound, "lte": value <= bound, "gt": value > bound, "gte": value >= bound}
            return 1.0 if holds[order] else None
        if kind == "match":
            return bm25(told["words"]["query"].split(), document["words"], [d["words"] for d in documents.values()])
        if kind == "bool":
            return self.combined(told, document, documents)
        if kind == "script_score":
            if self.score(told["query"], document, documents) is None:
                return None
            params = told["script"]["params"]
            return similarity(params.get("query") or params["query_value"], document, inner=self.inner)
        assert kind == "knn", kind
        if self.distribution == "opensearch":
            told = {"query_vector": told["vector"]["vector"], **told["vector"]}
        if "filter" in told and self.score(told["filter"], document, documents) is None:
            return None
        return similarity(told["query_vector"], document, inner=self.inner)

    def combined(self, told, document, documents):
        total = 0.0
        for part in [*told.get("must", []), *told.get("filter", [])]:
            score = self.score(part, document, documents)
            if score is None:
                return None
            total += score if part in told.get("must", []) else 0
        if any(self.score(part, document, documents) is not None for part in told.get("must_not", [])):
            return None
        should = [self.score(part, document, documents) for part in told.get("should", [])]
        return None if should and not any(score is not None for score in should) else total


def similarity(vector, document, *, inner):
    """Rank as the server would; what it calls a score has another scale than ours on purpose."""
    a, b = np.array(vector), np.array(document["vector"])
    assert np.array_equal(np.frombuffer(base64.b64decode(document["raw"]), "<f4"), b.astype(np.float32))
    product = float(a @ b)
    return 1 / (1 + math.exp(-product)) if inner else (1 + product / np.linalg.norm(a) / np.linalg.norm(b)) / 2


def bm25(query, text, texts):
    words, total = Counter(text.split()), 0.0
    for word in query:
        if words[word]:
            holding = sum(word in other.split() for other in texts)
            total += math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5)) * words[word] / (words[word] + 1.2)
    return total or None
