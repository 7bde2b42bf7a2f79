/* Requests to the page's API, and polling. Phone numbers travel in POST bodies only, never in an address. */

const { useCallback, useEffect, useRef, useState } = globalThis.React;

/* The module's own address, so that it is right under any prefix of Airflow's base_url. */
const API = new URL("../../api/", import.meta.url);
const LIVE_MS = 5_000;
const IDLE_MS = 30_000;
const REMEMBERED = 60;

export class ApiError extends Error {
  constructor({ kind = "server", status = 0, message = "", fix = null }) {
    super(message || kind);
    Object.assign(this, { fix, kind, sentence: message, status });
  }

  text(t) {
    return this.sentence || t(`error_${this.kind}`, { status: this.status });
  }

  fixText(t) {
    return this.fix ?? (this.sentence ? null : t(`error_${this.kind}_fix`));
  }
}

function goToLogin() {
  const next = encodeURIComponent(globalThis.location.href);
  globalThis.location.replace(new URL(`api/v2/auth/login?next=${next}`, document.baseURI));
}

async function send(path, options) {
  try {
    return await fetch(new URL(path, API), { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ kind: "network" });
  }
}

async function read(response) {
  if (response.status === 401) {
    goToLogin();
    throw new ApiError({ kind: "login", status: 401 });
  }
  // Airflow answers 200 with its own page where nothing is mounted.
  if (!(response.headers.get("content-type") ?? "").startsWith("application/json")) {
    throw new ApiError({ kind: "server", status: response.status });
  }
  const answer = await response.json().catch(() => {
    throw new ApiError({ kind: "network" });
  });
  if (response.ok) return answer;
  const detail = typeof answer.detail === "string" ? answer.detail : "";
  throw new ApiError({ fix: answer.fix ?? null, message: answer.error ?? detail, status: response.status });
}

export async function post(path, body = {}) {
  const headers = { Accept: "application/json", "Content-Type": "application/json", "X-Outbound": "1" };
  return read(await send(path, { body: JSON.stringify(body), headers, method: "POST" }));
}

/* The last answers by path: they are shown at once when somebody comes back, and their ETag saves the transfer. */
const answers = new Map();

export const remembered = (path) => answers.get(path)?.data;

export function forget() {
  answers.clear();
}

export async function get(path, signal) {
  const known = answers.get(path);
  const headers = { Accept: "application/json", "X-Outbound": "1" };
  if (known?.etag) headers["If-None-Match"] = known.etag;
  const response = await send(path, { headers, signal });
  if (response.status === 304 && known) return known.data;
  const data = await read(response);
  answers.delete(path);
  answers.set(path, { data, etag: response.headers.get("etag") });
  if (answers.size > REMEMBERED) answers.delete(answers.keys().next().value);
  return data;
}

/* `campaigns?state=running` from a path and parameters; empty ones are left out. */
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

/**
 * Read a path again and again: every 5 s while something runs, every 30 s otherwise, never while the page is hidden.
 * A failed read keeps the last answer beside the error.
 *
 * @param {string|null} path null: read nothing
 * @param {(data: object) => boolean} isLive whether an answer shows something that runs
 */
export function usePolling(path, isLive = () => false) {
  const [state, setState] = useState({ path, data: path ? remembered(path) : undefined, error: null });
  const live = useRef(isLive);
  const again = useRef(() => {});
  live.current = isLive;

  useEffect(() => {
    if (!path) return undefined;
    const aborted = new AbortController();
    let timer;
    let reading = false;
    let wanted = false; // asked for while another read was on its way, whose answer may be older
    const load = async () => {
      clearTimeout(timer);
      wanted = reading;
      if (document.hidden || reading) return;
      reading = true;
      let pause = IDLE_MS;
      try {
        const data = await get(path, aborted.signal);
        if (live.current(data)) pause = LIVE_MS;
        if (!aborted.signal.aborted) setState({ path, data, error: null });
      } catch (error) {
        if (aborted.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        setState({ path, data: remembered(path), error });
      } finally {
        reading = false;
      }
      if (!aborted.signal.aborted) timer = setTimeout(load, wanted ? 0 : pause);
    };
    again.current = load;
    document.addEventListener("visibilitychange", load);
    load();
    return () => {
      aborted.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", load);
    };
  }, [path]);

  const reload = useCallback(() => again.current(), []);
  if (state.path === path) return { ...state, reload };
  return { data: path ? remembered(path) : undefined, error: null, reload }; // the first render of another path
}
