// Two elements of the page: <picture-drop>, which uploads pictures, and <before-after>, which compares two.

const made = (tag, about = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), about);
  element.append(...children);
  return element;
};
const millions = (number) => (number / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });

/* Uploads as soon as pictures are chosen; fires "pictures" with the ids of those the server took. */
class PictureDrop extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.many = !this.hasAttribute("single");
    this.input = made("input", { type: "file", multiple: this.many, accept: "image/*,.tif,.tiff,.heic,.jp2,.psd" });
    const title = this.many ? "Drop pictures here" : "Drop a picture here";
    const limits = `up to ${millions(this.most("bytes"))} MB and ${millions(this.most("pixels"))} million pixels`;
    const words = made("span", { className: "words" }, made("b", { textContent: title }),
      made("span", { textContent: "or click to choose" }), made("small", { textContent: limits }));
    this.zone = made("label", { className: "zone" }, this.input, words);
    this.list = made("ul", { className: "pictures" });
    this.list.setAttribute("aria-label", "Your pictures");
    this.list.setAttribute("aria-live", "polite");
    this.append(this.zone, this.list);
    this.input.onchange = () => { this.take(this.input.files); this.input.value = ""; };
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
      this.zone.addEventListener(kind, (event) => {
        event.preventDefault();
        this.zone.classList.toggle("over", kind.startsWith("dragen") || kind === "dragover");
      });
    this.zone.addEventListener("drop", (event) => this.take(event.dataTransfer.files));
  }

  most(what) { return Number(this.getAttribute(`most-${what}`)); }

  take(files) {
    if (!this.many) this.list.replaceChildren();
    for (const file of this.many ? files : [...files].slice(0, 1)) this.upload(file);
  }

  upload(file) {
    const state = made("span", { className: "state", textContent: "waits" });
    const remove = made("button", { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    const item = made("li", {}, made("span", { className: "thumb" }),
      made("span", { className: "name", textContent: file.name }), state, remove);
    this.list.append(item);
    const request = new XMLHttpRequest();
    remove.onclick = () => {
      request.abort();
      if (item.dataset.id) fetch(`/pictures/${item.dataset.id}`, { method: "DELETE", headers: { "X-Srkit": "1" } });
      item.remove();
      this.input.focus();
      this.tell();
    };
    const failed = (text) => { item.classList.add("failed"); state.textContent = text; state.setAttribute("role", "alert"); };
    if (file.size > this.most("bytes"))
      return failed(`${millions(file.size)} MB are too many: ${millions(this.most("bytes"))} MB are taken.`);
    request.open("POST", `/pictures?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("X-Srkit", "1");
    request.responseType = "json";
    request.upload.onprogress = (event) => { state.textContent = `${Math.round((100 * event.loaded) / event.total)} %`; };
    request.onerror = () => failed("The page's server does not answer.");
    request.onload = () => {
      const answer = request.response ?? {};
      if (request.status !== 200) return failed(answer.error ?? "This picture was not taken.");
      item.dataset.id = answer.id;
      state.textContent = `${answer.width} × ${answer.height} pixels`;
      const shown = made("img", { alt: "", src: URL.createObjectURL(file) });
      shown.onload = () => item.querySelector(".thumb").append(shown);
      this.tell();
    };
    request.send(file);
  }

  tell() {
    const ids = [...this.list.querySelectorAll("li[data-id]")].map((item) => item.dataset.id);
    this.zone.classList.toggle("small", this.list.children.length > 0);
    this.told = (this.told ?? 0) + 1; // answers may come in another order
    this.dispatchEvent(new CustomEvent("pictures", { bubbles: true, detail: { ids, number: this.told } }));
  }
}

/* Attributes: look (address), width and height of the result, doubt. A slider between before and after; whole or 100 %. */
class BeforeAfter extends HTMLElement {
  connectedCallback() {
    if (this.stage) return;
    this.size = [Number(this.getAttribute("width")), Number(this.getAttribute("height"))];
    this.at = null; // left, top of the window at 100 %; null: all of it is shown
    this.layers = {};
    this.stage = made("div", { className: "stage", tabIndex: 0 });
    this.stage.setAttribute("role", "group");
    this.stage.setAttribute("aria-label", "The picture. At 100 % the arrow keys move it.");
    for (const [name, alt] of [["before", "before"], ["after", "after"], ["doubt", ""]]) {
      if (name === "doubt" && !this.hasAttribute("doubt")) continue;
      this.layers[name] = made("img", { alt, className: name, draggable: false });
      this.stage.append(this.layers[name]);
    }
    this.line = made("span", { className: "line" });
    this.stage.append(this.line, made("span", { className: "label left", textContent: "before" }),
      made("span", { className: "label right", textContent: "after" }));
    this.slider = made("input", { type: "range", min: 0, max: 100, value: 50, step: 1 });
    this.slider.setAttribute("aria-label", "How much of the picture before is shown, in percent");
    this.slider.oninput = () => this.cut();
    this.append(this.stage, this.slider, this.tools());
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.stage.addEventListener("dblclick", (event) => this.zoom(this.at ? null : this.under(event)));
    this.watch = new ResizeObserver(() => { this.fit(); if (this.at) this.show(); });
    this.watch.observe(this);
    this.cut();
    this.zoom(null);
  }

  disconnectedCallback() { this.watch?.disconnect(); }

  tools() {
    this.whole = made("button", { type: "button", textContent: "Whole picture", onclick: () => this.zoom(null) });
    const middle = () => [this.size[0] / 2, this.size[1] / 2];
    this.full = made("button", { type: "button", textContent: "100 %", onclick: () => this.zoom(this.at ? this.at : middle()) });
    const row = made("div", { className: "tools" }, this.whole, this.full);
    if (this.layers.doubt) {
      const box = made("input", { type: "checkbox", checked: false });
      const show = () => { this.layers.doubt.hidden = !box.checked; };
      box.onchange = show;
      show();
      row.append(made("label", {}, box, " Show where it is guesswork"));
    }
    return row;
  }

  /* The middle of the window at 100 %, in pixels of the result; null for all of it. */
  zoom(middle) {
    this.at = middle;
    this.whole.setAttribute("aria-pressed", String(!middle));
    this.full.setAttribute("aria-pressed", String(Boolean(middle)));
    this.classList.toggle("full", Boolean(middle));
    this.fit();
    this.show();
  }

  fit() {
    const wide = this.clientWidth;
    if (!wide) return;
    const tall = Math.min((wide * this.size[1]) / this.size[0], Math.max(320, innerHeight * 0.7));
    this.stage.style.height = `${Math.round(tall)}px`;
    this.stage.style.width = this.at ? "100%" : `${Math.min(wide, Math.round((tall * this.size[0]) / this.size[1]))}px`;
  }

  window() {
    const ratio = devicePixelRatio || 1;
    const side = [this.stage.clientWidth, this.stage.clientHeight].map((length) => Math.round(length * ratio));
    const size = side.map((length, i) => Math.min(length, this.size[i], 2048));
    const from = size.map((length, i) => Math.round(Math.max(0, Math.min(this.at[i] - length / 2, this.size[i] - length))));
    this.at = from.map((start, i) => start + size[i] / 2);
    return { from, size, ratio };
  }

  show() {
    if (!this.stage.clientWidth) return;
    const { from, size, ratio } = this.at ? this.window() : {};
    const query = this.at ? `?left=${from[0]}&top=${from[1]}&width=${size[0]}&height=${size[1]}` : "";
    for (const [name, image] of Object.entries(this.layers)) {
      const address = `${this.getAttribute("look")}/${name}${query}`;
      image.style.width = this.at ? `${size[0] / ratio}px` : "100%";
      image.style.height = this.at ? `${size[1] / ratio}px` : "100%";
      image.style.translate = "";
      if (image.getAttribute("src") !== address) image.src = address;
    }
  }

  cut() {
    const share = Number(this.slider.value);
    this.layers.after.style.clipPath = `inset(0 0 0 ${share}%)`;
    this.line.style.left = `${share}%`;
    this.stage.classList.toggle("no-left", share < 12);
    this.stage.classList.toggle("no-right", share > 88);
  }

  under(event) {
    const box = this.stage.getBoundingClientRect();
    return [((event.clientX - box.x) / box.width) * this.size[0], ((event.clientY - box.y) / box.height) * this.size[1]];
  }

  /* Whole: the pointer moves the slider. At 100 %: it moves the picture. */
  grab(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    const box = this.stage.getBoundingClientRect();
    const begin = [event.clientX, event.clientY];
    const move = (now) => {
      if (!this.at) {
        this.slider.value = (100 * (now.clientX - box.x)) / box.width;
        return this.cut();
      }
      for (const image of Object.values(this.layers))
        image.style.translate = `${now.clientX - begin[0]}px ${now.clientY - begin[1]}px`;
    };
    if (!this.at) move(event);
    this.stage.onpointermove = move;
    this.stage.onpointerup = this.stage.onpointercancel = (now) => {
      this.stage.onpointermove = this.stage.onpointerup = null;
      if (this.at) this.shift(begin[0] - now.clientX, begin[1] - now.clientY);
    };
  }

  shift(x, y) {
    const ratio = devicePixelRatio || 1;
    this.at = [this.at[0] + x * ratio, this.at[1] + y * ratio];
    this.show();
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!steps || event.target !== this.stage) return;
    event.preventDefault();
    if (this.at) return this.shift(steps[0] * 80, steps[1] * 80);
    this.slider.value = Number(this.slider.value) + steps[0] * 5;
    this.cut();
  }
}

customElements.define("picture-drop", PictureDrop);
customElements.define("before-after", BeforeAfter);
