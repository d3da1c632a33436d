"use strict";

// The conversation: {role, text, clips: [file ids]}. Videos wait in `waiting` until the next question; `names` are theirs.
// All of it outlives a reload of this tab.
const turns = [];
const waiting = [];
const names = {};
let model = "";
let maxVideos = Infinity;
let locates = false;
let running = null;
let talk = 0;

const find = (id) => document.getElementById(id);
const copy = (id) => find(id).content.firstElementChild.cloneNode(true);

function fail(message) {
  const place = find("error");
  place.textContent = message;
  place.hidden = !message;
}

// Asks for a key once, when the server wants one, and keeps it for this tab.
async function request(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    sessionStorage.setItem("key", await askForKey(Boolean(key)));
    return request(path, options);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `The server answers ${response.status}.`);
  }
  return response;
}

function askForKey(wrong) {
  const dialog = find("key-dialog");
  find("key").value = "";
  find("key-wrong").hidden = !wrong;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      // Only ASCII can be sent as a key.
      if (dialog.returnValue === "use") resolve(find("key").value.replace(/[^\x21-\x7e]/g, "?"));
      else reject(new Error("This server asks for a key. Reload the page to give one."));
    }, { once: true });
  });
}

const post = (path, body, signal) =>
  request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

async function guarded(work) {
  fail("");
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") fail(error.message);
  }
}

// Videos.

async function addFiles(files) {
  for (const file of files) {
    await guarded(async () => {
      const shown = turns.flatMap((turn) => turn.clips ?? []).length + waiting.length;
      if (shown >= maxVideos) throw new Error(`A conversation shows at most ${maxVideos} videos; begin a new one.`);
      const form = new FormData();
      form.append("purpose", "user_data");
      form.append("file", file);
      const begun = talk;
      const stored = await (await request("v1/files", { method: "POST", body: form })).json();
      if (talk !== begun) return; // A new conversation has begun meanwhile.
      names[stored.id] = file.name;
      waiting.push(stored.id);
      showClip(stored.id, file);
      keep();
    });
  }
}

function showClip(id, content) {
  const item = copy("clip-template");
  const video = item.querySelector("video");
  video.src = URL.createObjectURL(content);
  video.addEventListener("error", () => { item.querySelector(".unplayable").hidden = false; });
  video.setAttribute("aria-label", names[id]);
  item.querySelector(".moment input").setAttribute("aria-label", `Find the moment in ${names[id]}`);
  item.querySelector(".moment button").setAttribute("aria-label", `Find it in ${names[id]}`);
  item.querySelector(".remove").setAttribute("aria-label", `Remove ${names[id]}`);
  item.dataset.id = id;
  item.querySelector(".moment").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(() => findMoment(item, id, item.querySelector("input").value));
  });
  item.querySelector(".remove").addEventListener("click", () => guarded(async () => {
    if (!waiting.includes(id)) return; // It was asked about meanwhile.
    waiting.splice(waiting.indexOf(id), 1);
    URL.revokeObjectURL(video.src);
    item.remove();
    nameClips();
    keep();
    find("file").focus();
    await request(`v1/files/${id}`, { method: "DELETE" });
  }));
  find("shown").append(item);
  nameClips();
}

function nameClips() {
  for (const item of document.querySelectorAll(".clip")) {
    const { id } = item.dataset;
    // What the conversation is about cannot be taken out of it.
    item.querySelector(".remove").hidden = !waiting.includes(id);
    item.querySelector(".name").textContent = names[id] + (waiting.includes(id) ? ": shown with the next question" : "");
  }
  find("blind").hidden = Boolean(document.querySelector(".clip"));
}

// 65.25 s as "01:05.3", and hours before it where there are any.
function clockTime(seconds) {
  const tenths = Math.round(10 * seconds);
  const hours = Math.floor(tenths / 36000);
  const minutes = Math.floor(tenths / 600) % 60;
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return `${hours ? `${hours}:` : ""}${String(minutes).padStart(2, "0")}:${rest}`;
}

async function findMoment(item, id, text) {
  const peak = item.querySelector(".peak");
  peak.textContent = "looking …";
  const { duration } = item.querySelector("video");
  let found;
  try {
    // A long video is cut into shots, which the timeline shows.
    found = await (await post("v1/moments", { video: { url: id }, text, shots: duration > 20 })).json();
  } catch (error) {
    peak.textContent = "";
    throw error;
  }
  drawCurve(item, found, text);
}

function drawCurve(item, found, text) {
  const video = item.querySelector("video");
  const curve = item.querySelector(".curve");
  const [best] = found.data;
  const windows = [...found.data].sort((a, b) => a.start - b.start);
  const scores = windows.map((window) => window.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const x = (seconds) => 300 * seconds / Math.max(found.seconds, 1e-6);
  const middle = (low + high) / 2, range = Math.max(high - low, 0.1); // A flat curve is to look flat.
  const y = (value) => 30 - 50 * (value - middle) / range;
  const make = (kind, attributes) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    return part;
  };
  const shots = (found.shots ?? []).map((shot) =>
    make("rect", { class: shot.kind, x: x(shot.start), width: x(shot.end - shot.start), y: 54, height: 6 }));
  const at = (window) => (window.start + window.end) / 2;
  const path = make("path", { d: windows.map((w, i) => `${i ? "L" : "M"}${x(at(w))},${y(w.score)}`).join("") });
  const line = make("line", { x1: x(at(best)), x2: x(at(best)), y1: 0, y2: 60 });
  curve.replaceChildren(...shots, path, line);
  curve.removeAttribute("hidden"); // Pictures have no such property.
  curve.setAttribute("aria-label", `Score of “${text}” over the time of the video`);
  const jump = (seconds) => { video.currentTime = Math.min(seconds, video.duration || seconds); };
  curve.onclick = (event) => {
    const box = curve.getBoundingClientRect();
    jump((event.clientX - box.left) / box.width * found.seconds);
  };
  jump(best.start);
  // The best windows that do not overlap, each a button with frames of it.
  const shown = [];
  for (const window of found.data) {
    const apart = shown.every((other) => window.end <= other.start || window.start >= other.end);
    if (window.strip && apart && shown.length < 3) shown.push(window);
  }
  item.querySelector(".strips").replaceChildren(...shown.map((window) => {
    const button = document.createElement("button");
    const picture = document.createElement("img");
    [button.type, picture.src, picture.alt] = ["button", window.strip, ""];
    button.append(picture, `${clockTime(window.start)} to ${clockTime(window.end)}`);
    button.addEventListener("click", () => jump(window.start));
    return button;
  }));
  item.querySelector(".peak").textContent =
    `Best from ${clockTime(best.start)} to ${clockTime(best.end)}: score ${high.toFixed(3)}, lowest ${low.toFixed(3)}.`;
}

// How words and things are looked for: in the videos' own pictures, or in frames squeezed to the model's square.
const zoom = () => (find("closely").checked ? "auto" : "off");

// Rings around what a question names, in every video of the conversation; a question that names nothing leaves them.
async function ringThings(text) {
  if (!locates) return;
  await Promise.all([...document.querySelectorAll(".clip")].map(async (item) => {
    const wanted = { video: { url: item.dataset.id }, text: text.slice(0, 2000), frames: RING_FRAMES, zoom: zoom() };
    const located = await (await post("v1/locate", wanted)).json();
    if (located.data.length) showRings(item, located);
  }));
}

// Questions and answers.

function messages(list = turns) {
  return list.map((turn) => {
    if (turn.role === "assistant") return { role: "assistant", content: turn.text };
    const shown = turn.clips.map((url) => ({ type: "video_url", video_url: { url } }));
    return { role: "user", content: [...shown, { type: "text", text: turn.text }] };
  });
}

function showTurn(role, text, clips = []) {
  const item = copy("turn-template");
  item.classList.add(role);
  const who = [role === "user" ? "You" : "HiLight", ...(clips.length ? [clips.map((id) => names[id]).join(", ")] : [])];
  item.querySelector(".who").textContent = who.join(" · ");
  item.querySelector(".said").textContent = text;
  find("turns").append(item);
  return item;
}

async function ask(text) {
  const question = { role: "user", text, clips: waiting.splice(0) };
  turns.push(question);
  const asked = showTurn("user", text, question.clips);
  const item = showTurn("assistant", "");
  nameClips();
  item.classList.add("busy");
  item.setAttribute("aria-busy", "true");
  setRunning(new AbortController());
  guarded(() => ringThings(text));
  const answer = { role: "assistant", text: "" };
  try {
    const response = await post("v1/chat/completions", { model, messages: messages(), stream: true, zoom: zoom() }, running.signal);
    for await (const event of events(response.body)) {
      if (event.error) throw new Error(event.error.message);
      answer.text += event.choices[0]?.delta?.content ?? "";
      for (const shot of event.moments ?? []) answer.text += ` (${clockTime(shot.start)} to ${clockTime(shot.end)})`;
      item.querySelector(".said").textContent = answer.text;
    }
    if (!answer.text.trim()) throw new Error("The model says nothing to this; ask in other words.");
    take(answer, item);
  } catch (error) {
    if (!turns.includes(question)) return; // A new conversation has begun meanwhile.
    if (error.name === "AbortError" && answer.text.trim()) {
      take(answer, item); // Stopped by the user, who has what was said until then.
      return;
    }
    // What failed is not part of the conversation: the question goes back where it was typed.
    turns.pop();
    waiting.unshift(...question.clips);
    asked.remove();
    item.remove();
    if (!find("question").value) find("question").value = text;
    throw error;
  } finally {
    item.classList.remove("busy");
    item.removeAttribute("aria-busy");
    setRunning(null);
    nameClips();
    keep();
  }
}

function take(answer, item) {
  addEvidence(item, messages(), answer.text);
  turns.push(answer);
  find("export").disabled = false;
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The connection broke off; ask again.");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

function setRunning(controller) {
  running = controller;
  find("send").hidden = Boolean(controller);
  find("stop").hidden = !controller;
}

// What an answer drew on: frames with the shares of their patches laid over them.

function addEvidence(item, asked, answer) {
  if (!asked.some((message) => Array.isArray(message.content) && message.content.some((part) => part.type === "video_url"))) return;
  const details = copy("evidence-template");
  const body = details.querySelector(".body");
  details.addEventListener("toggle", () => {
    if (!details.open || body.childElementCount) return;
    body.textContent = "looking …";
    guarded(async () => {
      try {
        const found = await (await post("v1/evidence", { model, messages: asked, answer, zoom: zoom() })).json();
        const shown = asked.flatMap((message) => Array.isArray(message.content) ? message.content : [])
          .filter((part) => part.type === "video_url").map((part) => names[part.video_url.url]);
        body.replaceChildren(...await Promise.all(found.data.map((clip, i) => drawEvidence(clip, shown[i]))));
      } catch (error) {
        body.replaceChildren();
        details.open = false;
        throw error;
      }
    });
  });
  item.append(details);
}

async function drawEvidence(clip, name) {
  const pictures = await Promise.all(clip.frames.map(async (url) => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    return picture;
  }));
  const place = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.width = pictures[0].width;
  canvas.height = pictures[0].height;
  canvas.setAttribute("role", "img");
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: pictures.length - 1, step: 1 });
  slider.value = clip.frame_shares.indexOf(Math.max(...clip.frame_shares));
  slider.setAttribute("aria-label", `Frame of ${name}`);
  const caption = document.createElement("figcaption");
  caption.className = "hint";
  const draw = () => {
    const frame = Number(slider.value);
    const context = canvas.getContext("2d");
    context.drawImage(pictures[frame], 0, 0);
    const map = clip.maps[frame];
    const [height, width] = [canvas.height / map.length, canvas.width / map[0].length];
    map.forEach((row, y) => row.forEach((share, x) => {
      context.fillStyle = `rgba(255, 196, 0, ${0.45 * share})`;
      context.fillRect(x * width, y * height, width + 1, height + 1);
    }));
    const text = `${name} gave ${Math.round(100 * clip.share)} % of what the answer drew on, and of that its frame ` +
      `${clip.numbers[frame] + 1} of ${clip.num_total} gave ${Math.round(100 * clip.frame_shares[frame])} %.`;
    caption.textContent = text;
    canvas.setAttribute("aria-label", text);
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", draw);
  draw();
  place.append(canvas, slider, caption);
  return place;
}

// The page.

function keep() {
  sessionStorage.setItem("talk", JSON.stringify({ turns, waiting, names, shown: shownClips() }));
}

const shownClips = () => [...document.querySelectorAll(".clip")].map((item) => item.dataset.id);

// What was kept, as far as the server still has its videos: a conversation about one that is gone begins anew.
async function restore() {
  const kept = JSON.parse(sessionStorage.getItem("talk") ?? "null");
  if (!kept) return;
  const known = new Set((await (await request("v1/files")).json()).data.map((file) => file.id));
  if (![...kept.turns.flatMap((turn) => turn.clips ?? []), ...kept.waiting].every((id) => known.has(id))) {
    sessionStorage.removeItem("talk");
    return;
  }
  Object.assign(names, kept.names);
  waiting.push(...kept.waiting);
  for (const id of kept.shown.filter((id) => known.has(id))) {
    showClip(id, await (await request(`v1/files/${id}/content`)).blob());
  }
  for (const turn of kept.turns) {
    const item = showTurn(turn.role, turn.text, turn.clips);
    if (turn.role === "assistant") addEvidence(item, messages(), turn.text);
    turns.push(turn);
  }
  find("export").disabled = !turns.length;
  const asked = turns.findLast((turn) => turn.role === "user");
  if (asked) guarded(() => ringThings(asked.text));
}

function exportTalk() {
  const content = JSON.stringify({ model, exported: new Date().toISOString(), files: names, messages: messages() }, null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "conversation.json";
  link.click();
  URL.revokeObjectURL(link.href);
}

function reset() {
  running?.abort();
  talk += 1;
  for (const video of document.querySelectorAll(".clip video")) URL.revokeObjectURL(video.src);
  for (const id of waiting) guarded(() => request(`v1/files/${id}`, { method: "DELETE" }));
  turns.length = 0;
  waiting.length = 0;
  find("turns").replaceChildren();
  find("shown").replaceChildren();
  find("export").disabled = true;
  nameClips();
  sessionStorage.removeItem("talk");
  fail("");
  find("question").focus();
}

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("question").value.trim();
  if (!text || running) return;
  find("question").value = "";
  guarded(() => ask(text)).then(() => find("question").focus());
});
find("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    find("ask").requestSubmit();
  }
});
find("stop").addEventListener("click", () => running?.abort());
find("archive").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(() => searchArchive(find("sought").value.trim()));
});
find("export").addEventListener("click", exportTalk);
find("reset").addEventListener("click", reset);
find("file").addEventListener("change", (event) => {
  addFiles([...event.target.files]).then(() => { event.target.value = ""; });
});
for (const name of ["dragover", "dragleave", "drop"]) {
  find("drop").addEventListener(name, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") addFiles([...event.dataTransfer.files]);
  });
}
guarded(async () => {
  const facts = (await (await request("v1/models")).json()).data[0];
  model = facts.id;
  maxVideos = facts.max_videos;
  locates = facts.locates;
  find("closer").hidden = !facts.zooms;
  find("archive").hidden = !facts.archive;
  find("model").title = `${facts.max_model_len} tokens of context, ${facts.video_tokens} of them for each video`;
  await restore();
  find("model").textContent = model;
});
