"""A report in a browser, by what a reader does with it."""

from __future__ import annotations

import json
from typing import Any

from browser import Window, webdriver

#: Ratio of text to its background, as WCAG 2.2 computes it, of every element that shows text itself.
CONTRASTS = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const over = (top, under) => {
  const share = top[3] === undefined ? 1 : top[3];
  return top.slice(0, 3).map((value, i) => share * value + (1 - share) * under[i]);
};
const light = (rgb) => {
  const parts = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const behind = (element) => {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour[3] !== 0) layers.push(colour);
  }
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
};
const found = [];
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("");
  if (!own || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(one.tagName)) continue;
  if (!one.getClientRects().length) continue;
  const svg = one instanceof SVGElement;
  if (svg && one.closest(".bars, .heatmaplayer, .hm")) continue; // text on a coloured shape
  const style = getComputedStyle(one);
  const back = behind(svg ? one.closest("div") : one);
  const fore = over(parse(svg ? style.fill : style.color), back);
  const [high, low] = [light(fore), light(back)].sort((a, b) => b - a);
  found.push([own.slice(0, 40), (high + 0.05) / (low + 0.05)]);
}
return found;
"""


#: Labels of plots that lie on one another, title and legend included; points and lines have no text.
OVERLAPS = """
const found = [];
for (const plot of document.querySelectorAll(".plot")) {
  const titles = ".xtitle, .ytitle, .x2title, .y2title, .legendtext, .cbtitle text";
  const groups = [titles, ".xtick text, .xtitle", ".ytick text, .ytitle"];
  for (const group of groups) {
    const boxes = [...plot.querySelectorAll(group)].map((t) => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([text, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const along = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      const turned = plot.querySelector(group).getAttribute("transform")?.includes("rotate(40");
      if (across > 1 && along > 1 && !turned) found.push([text, other]);
    }));
  }
}
return found;
"""

#: Texts of plots of which a part lies outside of the drawing.
OUTSIDE = """
const found = [];
for (const svg of document.querySelectorAll(".plot .main-svg")) {
  const frame = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll("text")) {
    const box = text.getBoundingClientRect();
    if (!box.width || !text.textContent.trim()) continue;
    const inside = [box.left - frame.left, frame.right - box.right, box.top - frame.top, frame.bottom - box.bottom];
    if (Math.min(...inside) < -1) found.push(text.textContent);
  }
}
return found;
"""

#: The size in pixels of every text that is shown.
FONTS = """
const found = [];
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("");
  if (!own || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(one.tagName) || !one.getClientRects().length) continue;
  found.push([own.slice(0, 40), parseFloat(getComputedStyle(one).fontSize)]);
}
return found;
"""


class Page(Window):
    """The report, once it is loaded; rows are those of the table's data, and so of plots' ``customdata``."""

    def show(self, title: str) -> Any:
        """Scroll to the plot whose title begins so, and wait until it and those beside it are drawn."""
        plot = self.run(
            """return [...document.querySelectorAll('.plot')].find((one) =>
                 one.closest('.panel').querySelector('h3').textContent.startsWith(arguments[0]))""",
            title,
        )
        if plot is None:
            raise LookupError(title)
        self._draw(plot)
        return plot

    def show_all(self) -> None:
        """Scroll to each plot in turn, and wait until it is drawn."""
        for plot in self.run("return [...document.querySelectorAll('.plot')]"):
            self._draw(plot)

    def _draw(self, plot: Any) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center'})", plot)
        # What is drawn beside it would move it.
        self.until(
            """return [...document.querySelectorAll('.plot')].every((one) => {
                 const { top, bottom } = one.getBoundingClientRect();
                 return one.dataset.drawn === 'yes' || bottom < -300 || top > innerHeight + 300;
               });"""
        )

    def brush(self, plot: Any, box: tuple[float, float, float, float]) -> None:
        """Drag a box over a plot's first cell: left, top, right and bottom as shares of it."""
        area = self.run("return arguments[0].querySelector('.nsewdrag').getBoundingClientRect().toJSON()", plot)
        places = [
            (round(area["x"] + x * area["width"]), round(area["y"] + y * area["height"])) for x, y in (box[:2], box[2:])
        ]
        actions = webdriver.ActionChains(self.driver, duration=50)
        pointer = actions.w3c_actions.pointer_action
        pointer.move_to_location(*places[0]).pointer_down()
        pointer.move_to_location(*[(one + other) // 2 for one, other in zip(*places, strict=True)])
        pointer.move_to_location(*places[1]).pointer_up()
        actions.perform()

    @property
    def rows(self) -> list[int]:
        """Rows of the trials in the table, in its order."""
        return [
            int(row)
            for row in self.run(
                "return [...document.querySelectorAll('#table tbody tr')].map((one) => one.dataset.row)"
            )
        ]

    def column(self, name: str) -> list[str]:
        return self.run(
            """const heads = [...document.querySelectorAll('#table thead th')];
            const at = heads.findIndex((one) => one.textContent === arguments[0]);
            return [...document.querySelectorAll('#table tbody tr')].map((r) => r.children[at].textContent);""",
            name,
        )

    def sort(self, name: str) -> None:
        self.run(
            """const heads = [...document.querySelectorAll('#table thead button')];
            heads.find((one) => one.textContent === arguments[0]).click();""",
            name,
        )

    def filter(self, name: str, text: str) -> None:
        field = self.run(
            "return document.querySelector(`#table thead input[aria-label='Filter ${arguments[0]}']`)", name
        )
        field.clear()
        field.send_keys(text)

    def press_escape(self) -> None:
        webdriver.ActionChains(self.driver).send_keys(webdriver.Keys.ESCAPE).perform()

    def marked(self, plot: Any) -> set[int]:
        """Rows of the points that a plot shows as selected."""
        return set(
            self.run(
                """return arguments[0].data.flatMap((t) => t.selectedpoints
                ? [...t.selectedpoints].map((i) => t.customdata[i]) : []);""",
                plot,
            )
        )

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def drawn(self, plot: Any) -> set[int]:
        """Rows of all points of a plot."""
        return set(self.run("return arguments[0].data.flatMap((one) => one.customdata || [])", plot))
