"use strict";

const EVERY_MS = 2000;
const TABLES = {
  subscriptions: ["requesting_service", "category", "topic", "status", "reason", "queue", "last_event_at"],
  topics: ["endpoint", "topic", "state", "reason", "services", "events", "events_per_s", "last_event_age_s"],
  queues: ["name", "ready", "consumers", "publish_rate", "net_rate", "alarm", "reason", "observed_at"],
  gaps: ["endpoint", "topic", "opened", "closed", "cause", "healed"],
};
const QUERIES = { subscriptions: "?is_active=true&limit=200", topics: "?limit=200", queues: "?limit=200", gaps: "?limit=20" };

const element = (id) => document.getElementById(id);
const key = () => sessionStorage.getItem("key") || ""; // forgotten when the tab is closed

function row(cells, tag, state) {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const place = document.createElement(tag);
    place.textContent = cell === null || cell === undefined ? "" : String(cell);
    if (cell === state) place.className = String(cell);
    line.append(place);
  }
  return line;
}

function fill(id, columns, items) {
  const lines = items.map((item) => row(columns.map((name) => item[name]), "td", item.status || item.state));
  element(id).replaceChildren(row(columns.map((name) => name.replaceAll("_", " ")), "th"), ...lines);
}

async function showHealth() {
  const health = await (await fetch("/health")).json();
  element("status").textContent = `${health.status}, ${health.active_subscriptions ?? "?"} subscriptions`;
  element("status").className = `badge ${health.status}`;
  const parts = Object.entries(health.components).map(([name, part]) => ({ component: name, ...part }));
  fill("components", ["component", "state", "since", "reason"], parts);
}

async function show(name) {
  const answer = await fetch(`/api/v1/${name}${QUERIES[name]}`, { headers: { "X-API-Key": key() } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail);
  element(`${name}-total`).textContent = found.total;
  fill(name, TABLES[name], found.items);
}

async function refresh() {
  try {
    await showHealth();
    if (key()) await Promise.all(Object.keys(TABLES).map(show));
    element("trouble").textContent = key() ? "" : "Subscriptions, topics and queues are shown for a key.";
  } catch (error) {
    element("trouble").textContent = error.message;
  }
  setTimeout(refresh, EVERY_MS);
}

element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", element("value").value);
  element("value").value = "";
});
refresh();
