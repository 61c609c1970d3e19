// What the page does in the browser alone: names for screen readers, kept settings, links that restore the page.

// The button that asks or stops and had the focus last.
let pressed = null;
document.addEventListener("focusin", (event) => (pressed = event.target.closest?.("[id$='-ask'], [id$='-stop']")));

// Tabs on which an answer is being made, and what screen readers are told when it has ended.
const answering = new Set();
const said = Object.assign(document.createElement("div"), { className: "said", role: "status" });

// Examples are named by their files, uploads by their text, groups of buttons by what they do; Gradio leaves these
// names out. A button that gives way to another gives it the focus, which would be lost.
new MutationObserver(() => {
  for (const example of document.querySelectorAll(".examples .gallery-item:not([aria-label])")) {
    const file = example.querySelector("img")?.src.split("/").pop();
    if (file) example.setAttribute("aria-label", "Example: " + file.replace(/\.\w+$/, "").replaceAll("_", " "));
  }
  for (const upload of document.querySelectorAll("button.upload-container[aria-label]:not(.hidden)"))
    upload.removeAttribute("aria-label");
  for (const camera of document.querySelectorAll("[aria-label='common.webcam']"))
    camera.setAttribute("aria-label", "Take a photo");
  for (const copy of document.querySelectorAll("#compare-answer [aria-label='Copy conversation']"))
    copy.setAttribute("aria-label", "Copy answer");
  for (const image of document.querySelectorAll(".image-frame img[alt='']")) image.alt = "Uploaded image";
  if (!said.isConnected) document.body.append(said);
  for (const tab of ["describe", "ocr", "compare", "chat"]) {
    if (document.getElementById(`${tab}-stop`)?.offsetParent) answering.add(tab);
    else if (answering.delete(tab)) said.textContent = document.getElementById(`${tab}-stats`).textContent;
  }
  if (pressed && !pressed.offsetParent && document.activeElement === document.body) {
    const [tab, kind] = pressed.id.split("-");
    document.getElementById(`${tab}-${kind === "ask" ? "stop" : "ask"}`)?.focus({ preventScroll: true });
  }
}).observe(document, { childList: true, subtree: true });

const phi3v = {
  KEPT: "phi3v-settings",

  // Keeps the settings, numbers by name, for the next visit.
  keep(names, values) {
    localStorage.setItem(this.KEPT, JSON.stringify(Object.fromEntries(names.map((name, i) => [name, values[i]]))));
  },

  // Values of the tabs, the questions, the output format and the settings: from the link that opened the page, else as
  // they were kept, else undefined, which leaves a component as it is. Both come from outside: what doesn't fit is
  // ignored, and the server checks again.
  restore({ tabs, formats, longest_question, bounds }) {
    const link = new URLSearchParams(window.location.search);
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(this.KEPT)) ?? {};
    } catch {}
    const [tab, format] = [link.get("tab"), link.get("output_format")];
    const question = link.get("question")?.slice(0, longest_question);
    const number = (value, [lowest, highest]) => {
      if (value === null || value === undefined || value === "") return undefined;
      const given = Number(value);
      return given >= lowest && given <= highest ? given : undefined;
    };
    return [
      tabs.includes(tab) ? { __type__: "update", selected: tab } : undefined,
      ...["describe", "compare"].map((name) => (question && tab === name ? question : undefined)),
      formats.includes(format) ? format : undefined,
      ...Object.entries(bounds).map(([name, pair]) => number(link.get(name), pair) ?? number(kept[name], pair)),
    ];
  },

  // Copies a link that opens the page as it is now, and puts it into the address bar: not with the images.
  link(defaults, describe, compare, format, ...settings) {
    const tab = document.querySelector("#tabs [role=tab][aria-selected=true]").dataset.tabId;
    const url = new URL(window.location.pathname, window.location.origin);
    url.searchParams.set("tab", tab);
    const question = { describe, compare }[tab];
    if (question) url.searchParams.set("question", question);
    if (tab === "ocr") url.searchParams.set("output_format", format);
    Object.entries(defaults).forEach(([name, value], i) => {
      if (settings[i] !== null && settings[i] !== value) url.searchParams.set(name, settings[i]);
    });
    window.history.replaceState(null, "", url);
    const button = document.getElementById("copy-link");
    const label = button.textContent;
    const say = (words) => {
      button.textContent = words;
      button.disabled = true;
      setTimeout(() => Object.assign(button, { textContent: label, disabled: false }), 2500);
    };
    // A frame may not have the permission, and its address bar is not seen: there the link is shown.
    const otherwise = () => {
      if (window.parent === window) return say("It is in the address bar");
      let shown = document.getElementById("link-to-copy");
      if (!shown) {
        shown = Object.assign(document.createElement("input"), { id: "link-to-copy", readOnly: true });
        shown.setAttribute("aria-label", "Link to copy");
        button.after(shown);
      }
      shown.value = url.href;
      shown.select();
      say("Copy the link beside");
    };
    const copied = () => say("Copied; images are not part of it");
    if (navigator.clipboard) navigator.clipboard.writeText(url.href).then(copied, otherwise);
    else otherwise();
  },

  // Hands a file, packed as JSON by the server, to the browser to save.
  save(packed) {
    if (!packed) return;
    const { name, data } = JSON.parse(packed);
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  },
};
