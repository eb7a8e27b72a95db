// Comfort for the audit pages. Everything works without it; nothing here makes HTML of data.
"use strict";
(() => {
  const root = document.querySelector(".audit");
  const { auditLang, auditNow, auditFuture, auditFailed, auditCopied, auditHelp } = document.currentScript.dataset;
  if (!root) return;
  const all = (selector, scope = root) => Array.from(scope.querySelectorAll(selector));

  // The breakdown of a list comes after the list, if somebody looks at it: same-origin HTML, or the link stays.
  const load = (part) => {
    const before = Array.from(part.childNodes);
    part.setAttribute("aria-busy", "true");
    fetch(part.dataset.auditBreakdown, { credentials: "same-origin", headers: { Accept: "text/html" } })
      .then((response) => {
        const type = response.headers.get("Content-Type") || "";
        if (!response.ok || response.redirected || !type.startsWith("text/html")) throw new Error(String(response.status));
        return response.text();
      })
      .then((text) => {
        const parsed = new DOMParser().parseFromString(text, "text/html");
        part.replaceChildren(...parsed.body.childNodes);
      })
      .catch(() => {
        const note = document.createElement("p");
        note.className = "audit-hint";
        note.textContent = auditFailed;
        part.replaceChildren(...before, note);
      })
      .finally(() => part.removeAttribute("aria-busy"));
  };
  for (const part of all("[data-audit-breakdown]")) {
    const box = part.closest("details");
    if (box) box.addEventListener("toggle", () => load(part), { once: true });
    else load(part);
  }

  // Short addresses: fields that are empty are not sent.
  for (const form of all('form[method="get"]')) {
    form.addEventListener("formdata", (event) => {
      for (const [name, value] of Array.from(event.formData.entries())) {
        if (value === "") event.formData.delete(name);
      }
    });
  }

  // A period and exact times exclude each other; choosing one clears the other.
  const period = root.querySelector("#audit-period");
  const times = all("#audit-since, #audit-until");
  if (period) {
    period.addEventListener("change", () => { if (period.value) for (const time of times) time.value = ""; });
    for (const time of times) time.addEventListener("change", () => { if (time.value) period.value = ""; });
  }

  // The zone of this browser is offered, too.
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const zones = all(".audit-zones a");
  if (zones.length && timeZone && !zones.some((link) => link.textContent === timeZone)) {
    const link = zones[0].cloneNode(true);
    const address = new URL(link.href);
    address.searchParams.set("zone", timeZone);
    link.href = address.href;
    link.removeAttribute("aria-current");
    link.textContent = timeZone;
    zones[0].parentNode.append(link);
  }

  // On a small screen the results come first, unless there is something to put right.
  if (window.matchMedia("(max-width: 40rem)").matches && !root.querySelector(".audit-problem")) {
    for (const box of all("[data-audit-filter]")) box.open = false;
  }

  // Comparing a version with itself says nothing: the other radio moves away.
  const picks = all('input[type="radio"][form="audit-compare"]');
  for (const pick of picks) {
    pick.addEventListener("change", () => {
      const others = picks.filter((other) => other.name !== pick.name);
      const same = others.find((other) => other.checked && other.value === pick.value);
      const free = same && (others[others.indexOf(same) + 1] || others[others.indexOf(same) - 1]);
      if (free) free.checked = true;
    });
  }

  // On paper nothing can be unfolded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])").filter((box) => !box.closest("[data-audit-filter]"));
    for (const box of folded) box.open = true;
  });
  addEventListener("afterprint", () => { for (const box of folded) box.open = false; });

  // How long ago, kept true while a page stays open.
  const units = new Intl.RelativeTimeFormat(auditLang, { numeric: "always" });
  const ago = (time) => {
    const seconds = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
    for (const [size, unit] of [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]]) {
      if (seconds >= size) {
        return units.format(-Math.floor(seconds / size), unit);
      }
    }
    return seconds < 0 ? auditFuture : auditNow;
  };
  const relative = all("time[data-audit-ago]").filter((time) => time.nextElementSibling);
  if (relative.length) {
    setInterval(() => { for (const time of relative) time.nextElementSibling.textContent = ago(time); }, 60000);
  }

  // What can be copied has a button, where the browser lets a page copy.
  for (const button of navigator.clipboard ? all("[data-audit-copy]") : []) {
    const before = Array.from(button.childNodes);
    button.hidden = false;
    button.addEventListener("click", () => {
      const { auditCopy } = button.dataset;
      const text = auditCopy ? new URL(auditCopy, location.href).href : button.previousElementSibling.textContent;
      navigator.clipboard.writeText(text).then(() => {
        button.replaceChildren(auditCopied);
        setTimeout(() => button.replaceChildren(...before), 2000);
      }, () => {});
    });
  }

  // Keys that work everywhere are off until somebody ticks them on the help page.
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("audit-keys", value);
      return localStorage.getItem("audit-keys") === "on";
    } catch { return false; }
  };
  const tick = root.querySelector("[data-audit-keys]");
  if (tick) {
    tick.hidden = false;
    const box = tick.querySelector("input");
    box.checked = stored();
    box.addEventListener("change", () => { box.checked = stored(box.checked ? "on" : "off"); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !stored()) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    const follow = (link) => { if (link) { event.preventDefault(); link.click(); } };
    if (event.key === "[") follow(root.querySelector('.audit-pager a[rel="prev"]'));
    else if (event.key === "]") follow(root.querySelector('.audit-pager a[rel="next"]'));
    else if (event.key === "?" && auditHelp) { event.preventDefault(); location.assign(auditHelp); }
    else if (event.key === "/") {
      const box = root.querySelector("[data-audit-filter]");
      const first = box && box.querySelector("select, input:not([type=hidden])");
      if (first) { event.preventDefault(); box.open = true; first.focus(); }
    }
  });

  // Keys of the results only, and only while they have the focus.
  const results = root.querySelector("#audit-results");
  if (!results) return;
  let here = -1;
  const rows = all("tbody > tr", results);
  const links = { Enter: ".audit-c-time a", r: ".audit-c-record a", t: ".audit-c-tx a", a: ".audit-c-actor a" };
  // The last two rows that were picked are compared, the older one (they are the newest first) with the newer one.
  let picked = [];
  const pickRow = (row) => {
    if (!row || !row.querySelector('input[name="from"]')) return;
    picked = [...picked.filter((other) => other !== row), row].slice(-2);
    const [newer, older] = [...picked].sort((one, other) => rows.indexOf(one) - rows.indexOf(other));
    for (const [name, side] of [["from", older || newer], ["to", older && newer]]) {
      const pick = side && side.querySelector(`input[name="${name}"]`);
      if (pick) { pick.checked = true; pick.dispatchEvent(new Event("change")); }
    }
  };
  results.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const focused = rows.indexOf(event.target.closest("tr"));
    if (focused >= 0) here = focused;
    if (event.key === "j" || event.key === "k") {
      here = Math.min(Math.max(here + (event.key === "j" ? 1 : -1), 0), rows.length - 1);
      const link = rows[here] && rows[here].querySelector("a");
      if (link) { link.focus(); event.preventDefault(); }
    } else if (event.key === "x") {
      pickRow(rows[here]);
    } else if (links[event.key] && rows[here] && !(event.key === "Enter" && event.target.closest("a, button, summary"))) {
      const link = rows[here].querySelector(links[event.key]);
      if (link) link.click();
    }
  });
})();
