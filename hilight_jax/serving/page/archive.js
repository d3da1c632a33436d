"use strict";

// The search field for the archive of films that the server was given.

let searches = 0;

async function searchArchive(text) {
  if (!text) return;
  const number = ++searches;
  const state = find("archive-state");
  state.textContent = "searching …";
  try {
    const found = (await (await post("v1/search", { text, archive: true })).json()).data;
    if (number !== searches) return; // Another search has begun meanwhile.
    find("found").replaceChildren(...found.map(showFound));
    state.textContent = found.length ? `${found.length} pieces, the best first` : "The archive holds no piece yet.";
  } catch (error) {
    if (number === searches) state.textContent = "";
    throw error;
  }
}

function showFound(hit) {
  const item = copy("found-template");
  const film = hit.film.split("/").at(-1);
  const when = `${clockTime(hit.start)} – ${clockTime(hit.end)}`;
  item.querySelector("img").src = hit.strip;
  item.querySelector("img").alt = `Frames of ${film}, ${when}`;
  item.querySelector(".name").textContent = `${film}, ${when}, ${hit.score.toFixed(3)}`;
  item.title = hit.film;
  return item;
}
