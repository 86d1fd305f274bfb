"""Which of these sentences mean nearly the same? Texts in, pairs by falling similarity out."""

from itertools import combinations

from sentvec import Embedder

SENTENCES = [
    "The train leaves at noon.",
    "How do I reset my password?",
    "At twelve o'clock the train departs.",
    "Bread is baked from flour and water.",
    "I forgot my password, what now?",
]

model = Embedder.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
vectors = model.encode(SENTENCES)
scores = model.similarity(vectors, vectors)  # (5, 5)

pairs = sorted(combinations(range(len(SENTENCES)), 2), key=lambda pair: -scores[pair])
for i, j in pairs[:3]:
    print(f"{scores[i, j]:.2f}  {SENTENCES[i]}  |  {SENTENCES[j]}")
