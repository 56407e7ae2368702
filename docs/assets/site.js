// What scrolls sideways can be reached and scrolled with the keyboard.
(function () {
  "use strict";
  function reach() {
    document.querySelectorAll("table, pre").forEach((box) => {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
    });
  }
  reach();
  addEventListener("resize", reach);
})();
