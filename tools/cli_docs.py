"""Write docs/cli.md: the help of every command in, one page out. A contract test keeps the two equal."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 100  # help wraps at the terminal's width; the page must not depend on a terminal
INTRO = """\
# The command line

This page is what `--help` says; `make docs` writes it.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 an error that is named in one line,
2 wrong usage, 130 stopped from the keyboard.
"""


def page() -> str:
    """Collect the help of `sentvec` and of each of its commands."""
    import typer
    from typer.testing import CliRunner

    from sentvec.cli.app import app

    plain = typer.Typer(help=app.info.help, name="sentvec", rich_markup_mode=None, add_completion=False)
    plain.registered_commands = app.registered_commands
    plain.registered_callback = app.registered_callback
    paths: list[list[str]] = [[], *([str(command.name)] for command in app.registered_commands)]
    for group in app.registered_groups:
        assert group.typer_instance is not None and group.name is not None
        commands = group.typer_instance.registered_commands
        within = typer.Typer(rich_markup_mode=None, add_completion=False)
        within.registered_commands = commands
        plain.add_typer(within, name=group.name, help=group.help)
        paths += [[group.name], *([group.name, str(command.name)] for command in commands)]
    runner = CliRunner()
    parts = [INTRO]
    for path in paths:
        shown = runner.invoke(plain, [*path, "--help"], prog_name="sentvec", terminal_width=WIDTH)
        if shown.exit_code != 0:
            raise RuntimeError(f"sentvec {' '.join(path)} --help failed: {shown.output}")
        title = " ".join(["sentvec", *path])
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"## {title}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
