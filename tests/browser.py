"""Chromium for the tests of pages: a window of any size, and what a person or axe-core finds in it."""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from later import Later, is_missing

webdriver, support = Later("selenium.webdriver"), Later("selenium.webdriver.support.wait")
axe = Later("selenium_axe_python")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

#: Marks of every test that uses a browser.
MARKS = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(
        is_missing("selenium") or is_missing("selenium_axe_python"), reason="needs selenium and its axe"
    ),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

#: What axe-core finds by colours alone, which a theme changes.
COLOURS = ("color-contrast", "link-in-text-block")

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-gpu-rasterization --window-size=1400,1000"
)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Start Chromium with a profile folder of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*_OPTIONS.split(), f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Window:
    """A window of the browser with a page in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any) -> Any:
        return support.WebDriverWait(self.driver, 30, poll_frequency=0.05).until(lambda _: self.run(script, *arguments))

    def open(self, path: Path, width: int = 1400, height: int = 1000, theme: str = "light") -> None:
        """Open a file in a window of this size."""
        self.resize(width, height)
        self.prefer(theme)
        self.driver.get(path.as_uri())

    def resize(self, width: int, height: int) -> None:
        """Have the browser show a window of this size; a narrow one is that of a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, theme: str) -> None:
        """Have the browser say that its user prefers a theme."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def barriers(self, *rules: str) -> list[tuple[str, str]]:
        """Rules of axe-core, all or these, that the page violates seriously, and the first element of each."""
        self.driver.set_script_timeout(120)
        # A plot has thousands of elements, whose texts have tests of their own; axe-core visits also what it excludes.
        self.run("document.querySelectorAll('.main-svg').forEach((one) => one.remove())")
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = list(rules)
        checker = axe.Axe(self.driver)
        checker.inject()
        found = checker.run("document", options)["violations"]
        return [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]

    def photograph(self, path: Path) -> None:
        """Write what the window shows as an image."""
        answer = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(answer["data"]))
