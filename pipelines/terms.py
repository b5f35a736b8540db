"""The platform's own numbers, rules and lists, as both models' answers use them."""

from __future__ import annotations

from models.fraud.lists import Lists
from models.quoting import Terms
from pipelines.application_data import ApplicationData
from pipelines.screening.list_data import ListData, read_lists
from pipelines.screening.rule_files import rule_book
from pipelines.workspace import Workspace


def terms_of(workspace: Workspace, *, lists: Lists | None = None) -> Terms:
    """The terms of a workspace; lists as they are now, unless given. Raises RulesError."""
    settings = workspace.settings
    if lists is None:
        lists = read_lists(ListData.open(ApplicationData(workspace.application_url)))
    return Terms(
        costs=settings.costs,
        decision=settings.decision,
        price=settings.price,
        profile=settings.profile,
        rules=rule_book(workspace.home),
        lists=lists,
    )
