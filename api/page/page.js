"use strict";

const EVERY_MS = 2000;
const ANSWERS_WITHIN_MS = 5000;
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

let answeredAt = null; // when the API last answered

/** What the badge says while the API does not answer; times in milliseconds. */
function noAnswer(lastAnsweredAt, now) {
  if (lastAnsweredAt === null) return "no answer";
  const age = Math.round((now - lastAnsweredAt) / 1000);
  return `no answer, data is ${age < 120 ? `${age} s` : `${Math.round(age / 60)} min`} old`;
}

function ask(path, headers) {
  return fetch(path, { headers, signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
}

async function showHealth() {
  const health = await (await ask("/health")).json();
  answeredAt = Date.now();
  element("status").textContent = `${health.status}, ${health.active_subscriptions ?? "?"} subscriptions`;
  element("status").className = `badge ${health.status}`;
  const parts = Object.entries(health.components).map(([name, part]) => ({ component: name, ...part }));
  fill("components", ["component", "state", "since", "reason"], parts);
}

async function show(name) {
  const answer = await ask(`/api/v1/${name}${QUERIES[name]}`, { "X-API-Key": key() });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail);
  element(`${name}-total`).textContent = found.total;
  fill(name, TABLES[name], found.items);
}

function showNoAnswer() {
  element("status").textContent = noAnswer(answeredAt, Date.now());
  element("status").className = "badge down";
}

async function showTables() {
  if (key()) await Promise.all(Object.keys(TABLES).map(show));
  return key() ? "" : "Subscriptions, topics and queues are shown for a key.";
}

async function refresh() {
  let fresh = true;
  try {
    await showHealth().catch((error) => {
      showNoAnswer();
      throw error;
    });
    element("trouble").textContent = await showTables();
  } catch (error) {
    fresh = false;
    element("trouble").textContent = error.message;
  }
  document.body.classList.toggle("outdated", !fresh);
  setTimeout(refresh, EVERY_MS);
}

element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", element("value").value);
  element("value").value = "";
});
refresh();
