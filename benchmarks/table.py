"""One measured case of benchmarks/encode.py in; the table in Markdown, or the chart in SVG, out."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from peers import CONTENDERS
from peers.setting import LENGTH

MODELS = {"minilm": "all-MiniLM-L6-v2", "base": "BERT-base of m3e-base's shape, random weights"}
MIXES = {"en": "English", "zh": "Chinese"}


def table(case: dict[str, Any]) -> list[str]:
    results, first = case["results"], case["reference"]
    lines = [
        f"# Encoding: {MODELS[case['model']]}, {MIXES[case['mix']]}",
        "",
        f"{case['texts']} texts, {case['tokens']} tokens (mean {case['tokens'] / case['texts']:.0f}), at most {LENGTH} "
        f"a text; {case['threads']} threads; {case['rounds']} rounds in turns, medians. Tokenising, pooling and "
        f"normalising count. The ratio is to the first line, cosines are to {first}. The share is that of the measured "
        "rate of matrix products in the same number format; padding is not counted as work. Peak memory is the whole "
        "process's. Batch sizes and ways of sharing threads are each one's fastest of those tried. The bare runtimes "
        "(onnxruntime, openvino, ctranslate2) get texts sorted by length; fastembed is its own path, which takes texts "
        "as they come.",
        "",
        "| contender | set-up | tokens/s | ratio | share | worst cosine | mean cosine | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base = results.get(case["order"][0])
    for name in case["order"]:
        if name not in results:
            lines.append(f"| {name} | {_told(case['faults'][name])} | | | | | | |")
            continue
        one = results[name]
        ratio = f"{one['tokens_per_second'] / base['tokens_per_second']:.2f}" if base else ""
        share = f"{one['share']:.0%}" if one["share"] else ""
        lines.append(
            f"| {name} | {_setup(name, one, case['texts'])} | {one['tokens_per_second']:,.0f} | {ratio} | {share} "
            f"| {one['worst']:.5f} | {one['mean']:.5f} | {one['peak']:,.0f} |"
        )
    kinds = list(dict.fromkeys(kind for one in results.values() for kind in one["single"]))
    lines += ["", "One text at a time, warm, median milliseconds of a call:", ""]
    lines += [f"| contender | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name in case["order"]:
        if name in results:
            times = [f"{results[name]['single'][kind]:.1f}" for kind in kinds]
            lines.append(f"| {name} | {' | '.join(times)} |")
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in case["rates"].items())
    return [*lines, "", f"Matrix products run at, in GFLOP/s (torch): {rates}.", f"Measured on {case['machine']}."]


def chart(case: dict[str, Any]) -> str:
    """Draw tokens per second as bars, fastest first."""
    rows = sorted(case["results"].items(), key=lambda row: -row[1]["tokens_per_second"])
    most = rows[0][1]["tokens_per_second"] if rows else 1
    left, width, step, top = 250, 400, 24, 72
    height = top + step * len(rows) + 16
    below = f"Tokens per second, {MIXES[case['mix']]}, {case['threads']} threads, and the ratio to {case['order'][0]}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{height}" '
        f'viewBox="0 0 {left + width + 110} {height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="30" font-size="15" font-weight="600" fill="#1f2937">{escape(MODELS[case["model"]])}</text>',
        f'<text x="16" y="50" fill="#4b5563">{escape(below)}</text>',
    ]
    base = case["results"].get(case["order"][0])
    for i, (name, one) in enumerate(rows):
        y = top + step * i
        ours = CONTENDERS[name].library == "sentvec"
        weight = ' font-weight="600"' if ours else ""
        rate = one["tokens_per_second"]
        ratio = f"  ({rate / base['tokens_per_second']:.1f} ×)" if base else ""
        parts += [
            f'<text x="{left - 10}" y="{y + 13}" text-anchor="end" fill="#1f2937"{weight}>{escape(name)}</text>',
            f'<rect x="{left}" y="{y}" width="{max(rate / most * width, 1):.1f}" height="17" rx="2" '
            f'fill="{"#0f766e" if ours else "#a8b3c2"}"/>',
            f'<text x="{left + rate / most * width + 8:.1f}" y="{y + 13}" fill="#4b5563">{rate:,.0f}{ratio}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _setup(name: str, one: dict[str, Any], texts: int) -> str:
    parts = [f"batch {one['batch']}"] if CONTENDERS[name].batched else ["as it comes"]
    parts += [one["variant"]] if one["variant"] else []
    parts += [f"first {one['texts']} texts"] if one["texts"] < texts else []
    return ", ".join(parts)


def _told(reason: str) -> str:
    return reason.replace("|", "/")
