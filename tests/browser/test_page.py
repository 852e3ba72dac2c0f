"""The page in a real browser: choosing, sorting, filtering, links, keyboard, colours, screens, no network."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Browse

CSS = By.CSS_SELECTOR


@pytest.fixture(scope="module")
def browser(browse: Browse) -> webdriver.Chrome:
    return browse()


@pytest.fixture
def opened(browser: webdriver.Chrome, address: str) -> webdriver.Chrome:
    browser.get("about:blank")  # so that the next address is loaded anew, whatever its fragment is
    browser.get_log("browser"), browser.get_log("performance")
    size(browser, 1440, 1000)
    prefer(browser, "light")
    browser.get(address)
    return browser


def size(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(browser: webdriver.Chrome, scheme: str, motion: str = "reduce") -> None:
    """What a visitor's system asks for: colours, and no moving while things are clicked."""
    wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def board(browser: webdriver.Chrome) -> Any:
    """The one board that is shown."""
    (shown,) = [b for b in browser.find_elements(CSS, ".board") if b.is_displayed()]
    return shown


def column(browser: webdriver.Chrome, number: int) -> list[str]:
    """The texts of one column of the shown board's rows, first lines alone."""
    rows = board(browser).find_element(CSS, ".board-rows").find_elements(CSS, "tbody tr")
    shown = [row.find_elements(CSS, "th, td")[number] for row in rows if row.is_displayed()]
    return [cell.text.split("\n")[0] for cell in shown]


def place(browser: webdriver.Chrome, text: str) -> int:
    """The number of a column."""
    titles = [cell.text for cell in board(browser).find_elements(CSS, ".board-rows thead th")]
    return next(i for i, title in enumerate(titles) if title.replace("\n", " ").startswith(text))


def header(browser: webdriver.Chrome, text: str) -> Any:
    return board(browser).find_elements(CSS, ".board-rows thead th")[place(browser, text)]


def quiet(browser: webdriver.Chrome) -> None:
    """Nothing on the console, and nothing asked for but the page itself."""
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and all(url.startswith(("file:", "data:", "about:")) for url in asked), asked


def test_it_opens_without_a_network(opened: webdriver.Chrome) -> None:
    assert opened.title.startswith("bench")
    assert len(column(opened, 0)) == 4
    pictures = opened.find_elements(CSS, ".board:not([hidden]) figure img")
    opened.execute_async_script(
        "Promise.all([...document.querySelectorAll('.board:not([hidden]) figure img')]"
        ".map(i => { i.loading = 'eager'; return i.decode(); })).then(arguments[0])"
    )
    assert len(pictures) == 4 and all(p.get_property("naturalWidth") > 100 for p in pictures)
    quiet(opened)


def test_rows_are_sorted_by_number(opened: webdriver.Chrome) -> None:
    where = place(opened, "Δm vs single_task")
    methods, deltas = column(opened, 0), [float(text) for text in column(opened, where)]
    assert deltas == sorted(deltas, reverse=True)
    sort = header(opened, "Δm vs single_task")
    assert sort.get_attribute("aria-sort") is None
    sort.click()
    assert header(opened, "Δm vs single_task").get_attribute("aria-sort") == "descending"
    sort.click()
    assert [float(text) for text in column(opened, where)] == sorted(deltas)
    assert column(opened, 0) == methods[::-1]
    quiet(opened)


def test_cells_without_a_number_come_last_whichever_way(opened: webdriver.Chrome) -> None:
    for way in ("ascending", "descending"):  # the best first: less time is better
        header(opened, "time a seed").click()
        assert header(opened, "time a seed").get_attribute("aria-sort") == way
        *times, unknown = column(opened, place(opened, "time a seed"))
        known = [float(text.split()[0]) for text in times]  # as numbers: "9.5 s" is less than "11 s"
        assert unknown == "" and len(set(known)) == 3 and known == sorted(known, reverse=way == "descending")
    quiet(opened)


def test_sorting_by_keyboard(opened: webdriver.Chrome) -> None:
    opened.execute_script("document.querySelector('.board:not([hidden]) input[type=search]').focus()")
    for _ in range(12):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        heading = opened.execute_script("return document.activeElement.closest('th')?.textContent ?? ''")
        if heading.startswith("Δm vs"):
            break
    else:
        pytest.fail("the heading of Δm cannot be reached by the tab key")
    opened.switch_to.active_element.send_keys(Keys.ENTER, Keys.ENTER)
    deltas = [float(text) for text in column(opened, place(opened, "Δm vs single_task"))]
    assert deltas == sorted(deltas) and len(set(deltas)) > 2


def test_rows_are_filtered(opened: webdriver.Chrome) -> None:
    field = board(opened).find_element(CSS, "input[type=search]")
    field.send_keys("prototype")
    assert column(opened, 0) == ["prototype"]
    field.clear()
    field.send_keys("nothing of that name")
    assert "no row fits" in board(opened).text
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert len(column(opened, 0)) == 4
    quiet(opened)


def test_a_board_is_chosen(opened: webdriver.Chrome) -> None:
    links = [str(a.get_attribute("href")) for a in opened.find_elements(CSS, "#overview thead a")]
    assert len(links) == 2
    for link, seeds in zip(links[::-1], ("3/3", "7/7"), strict=True):
        opened.find_element(CSS, f'#overview a[href="#{link.partition("#")[2]}"]').click()
        assert opened.current_url == link and board(opened).get_attribute("id") == link.partition("#")[2]
        assert seeds in column(opened, place(opened, "seeds"))
    quiet(opened)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_first_screen_answers(opened: webdriver.Chrome, width: int, height: int) -> None:
    """The sentence, methods by boards, and on a wide screen the forest, without scrolling."""
    size(opened, width, height)
    assert opened.find_element(CSS, "h1").text.startswith("No method is ")
    cells = opened.find_elements(CSS, "#overview tbody td")
    assert [len(cells), {cell.text.split()[1] for cell in cells}] == [6, {"n=7", "n=3"}]
    shown = ["h1", "#overview", *([".forest"] if width > 1000 else [])]
    places = [opened.find_element(CSS, name).rect for name in shown]
    assert all(place["y"] + place["height"] < height for place in places)
    unranked = [cell for cell in cells if "unranked" in str(cell.get_attribute("class")).split()]
    assert len(unranked) == 3 and all("n=3" in cell.text for cell in unranked)
    for cell in cells:
        hatched = "repeating-linear-gradient" in cell.value_of_css_property("background-image")
        assert hatched == ("unsure" in str(cell.get_attribute("class")).split())
    quiet(opened)


def test_the_address_of_a_board_shows_its_beginning(opened: webdriver.Chrome, address: str) -> None:
    names = [b.get_attribute("id") for b in opened.find_elements(CSS, ".board")]
    for name in names:
        prefer(opened, "light", motion="no-preference")
        opened.get("about:blank")
        opened.get(f"{address}#{name}")
        assert board(opened).get_attribute("id") == name
        top = opened.execute_script(
            "return document.querySelector('.board:not([hidden]) h2').getBoundingClientRect().top"
        )
        assert 0 <= top < 200


def test_runs_and_figures_lead_to_their_files(opened: webdriver.Chrome, address: str) -> None:
    part = board(opened).find_element(CSS, ".commands details")
    part.find_element(CSS, "summary").click()
    assert part.find_element(CSS, "pre").text.startswith("bench run ")
    link = part.find_element(CSS, "a.run")
    name, place = link.text, Path(unquote(urlparse(str(link.get_attribute("href"))).path))
    row = link.find_element(By.XPATH, "ancestor::tr").text
    record = json.loads(place.read_text())
    assert record["id"] == name and record["environment"]["commit"] in row
    assert f"{next(iter(record['metrics']['semseg'].values())):.1f}" in row
    figure = board(opened).find_element(CSS, "figure a")
    assert Path(unquote(urlparse(str(figure.get_attribute("href"))).path)).is_file()
    quiet(opened)


def test_light_and_dark(opened: webdriver.Chrome) -> None:
    def ground() -> float:
        colour = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour[4:-1].split(",")) / 3

    prefer(opened, "dark")
    assert ground() < 60
    opened.find_element(CSS, ".themes [data-theme=light]").click()
    assert ground() > 200
    opened.refresh()
    assert ground() > 200  # it was kept
    opened.find_element(CSS, ".themes [data-theme=auto]").click()
    assert ground() < 60
    prefer(opened, "light")
    assert ground() > 200


@pytest.mark.parametrize("width", [375, 1440])
def test_it_fits_the_screen(opened: webdriver.Chrome, width: int) -> None:
    size(opened, width, 800)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    # What is wider than the screen is inside something that scrolls.
    wide = opened.execute_script(
        "return [...document.querySelectorAll('main *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && e.checkVisibility() && !e.closest('.scroll, figure')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    # The method and its delta m are in view without scrolling sideways, and text is large enough to be read.
    cells = board(opened).find_elements(CSS, ".board-rows tbody tr:first-child > *")[:2]
    assert all(cell.rect["x"] + cell.rect["width"] <= width for cell in cells)
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('main p, main td, main th, main li, main dd')]"
        ".filter(e => e.checkVisibility()).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    lines = opened.execute_script(  # a name is never broken within a word
        "const a = document.querySelector('.board:not([hidden]) tbody th a');"
        "a.textContent = 'internationalisations'; return a.getClientRects().length"
    )
    assert lines == 1


def test_without_scripting(browse: Browse, address: str) -> None:
    browser = browse(scripting=False)
    browser.get(address)
    boards = browser.find_elements(CSS, ".board")
    assert len(boards) == 2 and all(b.is_displayed() for b in boards)
    rows = boards[0].find_elements(CSS, ".board-rows tbody tr")
    assert len(rows) == 5 and all(row.is_displayed() for row in rows)
    assert not any(button.is_displayed() for button in browser.find_elements(CSS, "button"))
