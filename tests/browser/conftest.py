"""A headless Chromium, and a page of made-up boards for it to read."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from benchmark.report import page
from benchmark.report.board import build
from benchmark.report.records import collect
from tests.benchmark.report import make
from tests.benchmark.report.drawn import blank

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
Browse = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="module")
def browse() -> Iterator[Browse]:
    """Start a browser, with scripting or without; it logs what pages say and every request."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        if os.environ.get("BENCH_REQUIRE_BROWSER"):
            pytest.fail(
                "BENCH_REQUIRE_BROWSER is set, and no chromium is there; run tests/browser/install.sh"
            )
        pytest.skip("needs chromium and chromedriver: tests/browser/install.sh installs them")
    started: list[webdriver.Chrome] = []

    def start(scripting: bool = True) -> webdriver.Chrome:
        options = Options()
        options.binary_location = browser
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if not scripting:
            off = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", off)
        started.append(webdriver.Chrome(options=options, service=Service(driver)))
        return started[-1]

    yield start
    for found in started:
        found.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two boards: five methods over seven seeds, and under other labels over three."""
    folder: Path = tmp_path_factory.mktemp("page")
    make.write_board(folder, seeds=7, published=True)
    for path in folder.glob("records/*.json"):
        record = json.loads(path.read_text())
        if record["spec"]["method"] == "mtpsl":  # before records told the time
            path.write_text(json.dumps(record | {"cost": record["cost"] | {"seconds": None}}))
    make.write_board(folder, seeds=3, published=True, labels="random")
    boards = build(collect(folder))
    blank(boards[0], folder / "figures" / boards[0].name)
    (folder / page.NAME).write_text(page.html(boards, folder), encoding="utf-8")
    return (folder / page.NAME).as_uri()
