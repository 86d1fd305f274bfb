"""`sentvec delete`: ids or a filter in, how many passages were deleted out."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from sentvec.cli.common import Json, json_line
from sentvec.cli.index import DEFAULT_COLLECTION, Collected


def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, as `sentvec search --json` shows them.")] = None,
    collection: Collected = DEFAULT_COLLECTION,
    where: Annotated[str | None, typer.Option(help='Delete what meets a filter: \'{"year": {"<": 2000}}\'.')] = None,
    as_json: Json = False,
) -> None:
    """Delete passages of a collection, by their ids or by a filter of their metadata.

    Ids that are not there are passed over. A passage of a file comes back when the file has changed and is indexed
    again; to take out a file that is gone, use `sentvec index --prune`.
    """
    from sentvec.errors import InvalidInput
    from sentvec.search.collection import Collection

    if bool(ids) == (where is not None):
        raise InvalidInput("Give either ids, or a filter with --where.")
    condition: dict[str, Any] | None = None
    if where is not None:
        try:
            condition = json.loads(where)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"--where {where[:80]!r} is no JSON ({error}).") from None
    with Collection.open(collection) as opened:
        deleted = opened.delete(ids or None, where=condition)
        left = len(opened)
    if as_json:
        typer.echo(json_line({"deleted": deleted, "passages": left}))
    else:
        typer.echo(f"{deleted} deleted; {collection} has {left} passages")
