"""Index a folder of notes and ask it something: files in, passages with file and line out."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sentvec import Collection, Embedder

NOTES = {
    "home.md": "# Home\n\nThe boiler is serviced every October.\n\nRent is due on the third of the month.\n",
    "travel.txt": "The passport expires in May.\nVisas for Japan are not needed for short visits.\n",
}

model = Embedder.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
with TemporaryDirectory() as folder:
    for name, text in NOTES.items():
        Path(folder, name).write_text(text, encoding="utf-8")

    notes = Collection.open(Path(folder, "notes.sv"), model=model)
    report = notes.add_files([folder])
    print(f"{report.added} passages from {report.files} files")

    for hit in notes.search("when must I pay the landlord?", k=2):
        print(f"{hit.score:.2f}  {Path(hit.source or '').name}:{hit.line}  {hit.text.splitlines()[-1]}")
