"""Hold source files against the table of who may import whom: a package's folder in, violations out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```import-table\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEVER = ("transformers", "sentence_transformers")  # oracles of the tests, never a part of the product
BY_NAME = ("import_module", "__import__", "require")  # functions that import the module their argument names


@dataclass(frozen=True)
class Import:
    """One import of one file: the importing module, what it imports (dotted), and the line."""

    module: str
    target: str
    line: int


def read_table(page: str) -> dict[str, int]:
    """Read the one fenced ``import-table`` block of a page: each room's height, the bottom row being 0."""
    blocks = FENCE.findall(page)
    if len(blocks) != 1:
        raise ValueError(f"expected one ```import-table block, found {len(blocks)}")
    rows = [[room.strip() for room in row.split("|")] for row in blocks[0].strip().splitlines()]
    rooms = [room for row in rows for room in row]
    if len(set(rooms)) != len(rooms):
        raise ValueError(f"a room stands twice in the table: {rooms}")
    return {room: height for height, row in enumerate(reversed(rows)) for room in row}


def module_name(file: Path, src: Path) -> str:
    """Turn a file into its dotted name: ``src/sentvec/text/__init__.py`` is ``sentvec.text``."""
    parts = file.relative_to(src).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, src: Path) -> Iterator[Import]:
    """Yield every import of a file, those inside functions and under TYPE_CHECKING included."""
    module = module_name(file, src)
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in BY_NAME and isinstance(node.args[0].value, str):
                yield Import(module, node.args[0].value, node.lineno)


def home(target: str, modules: set[str]) -> str | None:
    """Find the module an import reaches: ``sentvec.batch.pack`` is in ``sentvec.batch``; None if foreign."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


def violations(src: Path, table: dict[str, int], package: str = "sentvec") -> list[str]:
    """List every import that the table forbids, one readable line each. Empty when all is well."""
    files = sorted((src / package).rglob("*.py"))
    modules = {module_name(file, src) for file in files}
    rooms = {module.split(".")[1] for module in modules if "." in module}
    found = [f"room {room!r} is not in the table" for room in sorted(rooms - table.keys())]
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for file in files:
        for edge in imports_of(file, src):
            reached = home(edge.target, modules)
            fault = _fault(edge, reached, table, package)
            if fault:
                found.append(f"{file.relative_to(src)}:{edge.line}: {fault}")
            if reached not in (None, package) and edge.module != package:
                graph[edge.module].add(str(reached))
    return found + [f"import cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]


def _fault(edge: Import, reached: str | None, table: dict[str, int], package: str) -> str | None:
    """Say what is wrong with one import, or None."""
    if edge.target.split(".")[0] in NEVER:
        return f"imports {edge.target}, which src never does"
    if reached is None or edge.module == package:
        return None  # a third party's module; or the public names, which stand above every room
    if reached == package:
        if edge.target == f"{package}.__version__":
            return None
        return f"imports {edge.target} from the package's top; name its home instead"
    mine, theirs = edge.module.split(".")[1], reached.split(".")[1]
    if mine != theirs and table.get(mine, -1) <= table.get(theirs, -1):
        return f"{mine} imports {theirs}, which is not below it"
    return None


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find one cycle through each strongly connected part, as the modules in order, first one repeated."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for next_module in sorted(graph[module] - {module}):
                walk(next_module, [*path, module])
            done.add(module)

    for module in sorted(graph):
        walk(module, [])
    return found


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    faults = violations(root / "src", read_table((root / "docs/architecture.md").read_text(encoding="utf-8")))
    print("\n".join(faults) or "every import obeys the table")
    raise SystemExit(bool(faults))
