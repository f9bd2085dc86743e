"""Settings has a tab for each section; other floors add theirs to the registry, and app.py fills it."""

from dataclasses import dataclass

from flask import g, request

from router.server import Server, current_server

REGISTRY = "settings_sections"


@dataclass(frozen=True)
class Section:
    """One tab of Settings. `path` is its page, which extends `settings.html`."""

    title: str
    path: str
    order: int
    role: str = "viewer"
    """Who sees the tab; the page itself checks it again."""


OWN = (
    Section("Project", "/settings", 10),
    Section("Tag", "/settings/tag", 25),
    Section("People", "/settings/people", 30),
    Section("API tokens", "/settings/tokens", 40, "owner"),
    Section("Audit trail", "/settings/audit", 90, "admin"),
)


def add_section(server: Server, section: Section) -> None:
    server.registries.setdefault(REGISTRY, []).append(section)


def settings_tabs() -> list[tuple[str, str, bool]]:
    """Title, path and whether it is open, of the sections that this person may see."""
    added: list[Section] = current_server().registries.get(REGISTRY, [])
    project_id = g.project.id if g.get("project") else None
    return [
        (section.title, section.path, request.path == section.path)
        for section in sorted((*OWN, *added), key=lambda one: one.order)
        if g.actor.may(section.role, project_id)
    ]
