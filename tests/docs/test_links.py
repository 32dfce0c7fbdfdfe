from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.fences import PAGES, ROOT, anchors, links, page_id

LINKING = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "docs/demo/LICENSE.md")


@pytest.mark.parametrize("page", LINKING, ids=page_id)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.is_relative_to(ROOT) or not to.exists() or (anchor and anchor not in anchors(to)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {PAGES[0]}
    waiting = [PAGES[0]]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            to = (page.parent / link.partition("#")[0]).resolve()
            if to in PAGES and to not in reached:
                reached.add(to)
                waiting.append(to)
    assert {page_id(page) for page in PAGES if page not in reached} == set()
