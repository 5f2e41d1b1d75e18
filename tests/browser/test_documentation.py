# SPDX-License-Identifier: Apache-2.0
"""What a reader sees of the API's own pages in a real browser, on a machine that reaches no other host."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from services.cli.throwaway import RunningSystem, throwaway_system

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system as `twinning up` runs it."""
    with throwaway_system(tmp_path_factory.mktemp("up"), {}) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page."""
    opened = browser.new_page(viewport={"width": 1300, "height": 900})
    yield opened
    opened.close()


def answered_by_others(page: Page, system: RunningSystem) -> list[str]:
    """Gather what other hosts answer from now on; a request that the policy stops is answered by nobody."""
    others: list[str] = []
    page.on(
        "response", lambda answer: others.append(answer.url) if not _is_ours(answer.url, system) else None
    )
    return others


def _is_ours(url: str, system: RunningSystem) -> bool:
    return url.startswith((f"{system.url}/", "data:", "blob:"))


def test_an_operation_can_be_tried_with_a_key(page: Page, system: RunningSystem) -> None:
    """`/docs` lists the operations, takes a key and shows what the API answers, and asks nobody else."""
    others = answered_by_others(page, system)
    page.goto(f"{system.url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.locator("#auth-bearer-value").fill(system.key)
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").click()
    page.locator("#operations-reference-list_countries_v1_reference_countries_get").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table")).to_contain_text("Bangladesh")
    assert others == []


def test_the_document_can_be_read_with_its_webhooks(page: Page, system: RunningSystem) -> None:
    """`/redoc` shows operations and webhooks with their examples, and asks nobody else."""
    others = answered_by_others(page, system)
    page.goto(f"{system.url}/redoc")

    # The document is large, and a busy machine takes its time to lay it out.
    expect(page.get_by_role("heading", name="suggestion.created").first).to_be_visible(timeout=30_000)
    expect(page.locator("body")).to_contain_text("Register a city")
    assert others == []


def test_nothing_but_the_pages_files_is_given(page: Page, system: RunningSystem) -> None:
    """A name that is none of the pages' files gives a problem, wherever it points."""
    for name in ("core.py", "..%2Fcore.py", "%2e%2e/core.py", ""):
        answer = page.request.get(f"{system.url}/docs/files/{name}")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
