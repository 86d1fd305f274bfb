"""A service in, every route that it answers out."""

from __future__ import annotations

from sentvec.serve.http import Route
from sentvec.serve.openapi import route as described
from sentvec.serve.service import Service
from sentvec.serve.surfaces import bert, openai, page, tasks, tei
from sentvec.serve.surfaces.search import Shelf


def routes(service: Service) -> tuple[Route, ...]:
    """Return all routes, and the one that describes them."""
    found = (*openai.ROUTES, *tei.ROUTES, *bert.ROUTES, *tasks.ROUTES, *Shelf(service).routes)
    if service.settings.page:
        found = (*found, *page.routes())
    return (*found, described(found, keyed=bool(service.settings.keys)))
