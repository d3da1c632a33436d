"use strict";

// Rings that follow named things over a video, each in its colour, and below it a list of them to turn on and off.

// Told apart by colour-blind readers (M. Okabe and K. Ito); pages/rings.py has the same.
const RING_COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7"];
const RING_FRAMES = 32;

// Where a thing is at a time, in pixels of the video; null where it is not seen. Between two frames that show it the
// place moves evenly; beside one that does not, it stays for half of the way.
function placeAt(found, time) {
  const next = found.times.findIndex((t) => t > time);
  const after = next < 0 ? found.times.length - 1 : next;
  const before = Math.max(next < 0 ? after : next - 1, 0);
  const span = found.times[after] - found.times[before];
  const share = span > 0 ? Math.min(Math.max((time - found.times[before]) / span, 0), 1) : 0;
  const mix = (values) => (1 - share) * values[before] + share * values[after];
  if (found.seen[before] && found.seen[after]) return { x: mix(found.x), y: mix(found.y) };
  const nearer = share < 0.5 ? before : after;
  return found.seen[nearer] ? { x: found.x[nearer], y: found.y[nearer] } : null;
}

// The same in words: "seen 0.0 to 1.3 s, 1.8 to 2.0 s", or "not seen".
function whenSeen(found) {
  const parts = [];
  found.seen.forEach((seen, i) => {
    if (!seen) return;
    if (i && found.seen[i - 1]) parts.at(-1)[1] = found.times[i];
    else parts.push([found.times[i], found.times[i]]);
  });
  return parts.length ? `seen ${parts.map((ends) => ends.map((t) => t.toFixed(1)).join(" to ")).join(", ")} s` : "not seen";
}

// Shows what /v1/locate found in the video of a clip, in place of what was shown before.
function showRings(item, located) {
  const [video, canvas, list] = ["video", ".rings", ".legend"].map((name) => item.querySelector(name));
  const rings = located.data.map((found, i) => ({ found, colour: RING_COLOURS[i % RING_COLOURS.length], shown: true }));
  const draw = () => drawRings(video, canvas, located, rings);
  list.replaceChildren(...rings.map((ring) => {
    const entry = document.createElement("li");
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const sign = document.createElement("span");
    sign.className = "sign";
    sign.style.borderColor = ring.colour;
    box.addEventListener("change", () => {
      ring.shown = box.checked;
      draw();
    });
    label.append(box, sign, `${ring.found.phrase}: ${whenSeen(ring.found)}`);
    entry.append(label);
    return entry;
  }));
  list.hidden = !rings.length;
  item.stopRings?.abort();
  const stop = item.stopRings = new AbortController();
  for (const name of ["loadeddata", "seeked", "pause", "timeupdate"]) video.addEventListener(name, draw, { signal: stop.signal });
  const follow = () => {
    draw();
    if (!video.paused && !stop.signal.aborted) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow, { signal: stop.signal });
  const resized = new ResizeObserver(draw);
  resized.observe(video);
  stop.signal.addEventListener("abort", () => resized.disconnect());
  follow();
}

function drawRings(video, canvas, located, rings) {
  const [width, height, dots] = [video.clientWidth, video.clientHeight, window.devicePixelRatio || 1];
  canvas.width = width * dots;
  canvas.height = height * dots;
  const context = canvas.getContext("2d");
  // The picture keeps its shape, in the middle of its element.
  const scale = Math.min(width / located.width, height / located.height);
  context.setTransform(dots, 0, 0, dots, dots * (width - scale * located.width) / 2, dots * (height - scale * located.height) / 2);
  for (const { found, colour, shown } of rings) {
    const place = shown && placeAt(found, video.currentTime);
    if (!place) continue;
    for (const [style, line] of [["rgb(0 0 0 / .6)", 6], [colour, 3]]) {
      context.beginPath();
      context.arc(scale * place.x, scale * place.y, Math.max(scale * found.reach, 6), 0, 2 * Math.PI);
      context.strokeStyle = style;
      context.lineWidth = line;
      context.stroke();
    }
  }
}
