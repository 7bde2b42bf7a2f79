/* Sentences, numbers and times in the language and time zone that Airflow shows. */

import { shownLanguage, watchLanguage } from "./language.js";
import { en } from "./text_en.js";
import { zh } from "./text_zh.js";

const { useMemo, useSyncExternalStore } = globalThis.React;

/* Airflow keeps the zone that somebody chose in its menu in the browser. */
function chosenZone() {
  const stored = globalThis.localStorage.getItem("timezone") ?? "";
  const name = stored.replaceAll('"', "");
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return name || undefined;
  } catch {
    return undefined; // "local", or a name that the browser does not know
  }
}

function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function speak(language) {
  const chinese = language.toLowerCase().startsWith("zh");
  const words = chinese ? zh : en;
  const locale = chinese ? "zh-CN" : "en-GB";
  const timeZone = chosenZone();
  const numbers = new Intl.NumberFormat(locale);
  const percents = new Intl.NumberFormat(locale, { maximumFractionDigits: 1, style: "percent" });
  const decimals = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const times = new Intl.DateTimeFormat(locale, {
    day: "numeric",
    hour: "2-digit",
    hourCycle: "h23",
    minute: "2-digit",
    month: "short",
    timeZone,
  });
  const full = new Intl.DateTimeFormat(locale, { dateStyle: "medium", hourCycle: "h23", timeStyle: "medium", timeZone });
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", hourCycle: "h23", minute: "2-digit", timeZone });
  const days = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", timeZone });
  const unit = (amount, name) =>
    new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "short" }).format(amount);
  const present = (format) => (value) => (value == null ? words.none : format(value));

  const t = (key, values = {}) => fill(words[key] ?? en[key] ?? key, values);
  return Object.assign(t, {
    locale,
    zone: new Intl.DateTimeFormat(locale, { timeZone }).resolvedOptions().timeZone,
    words: (key) => words[key],
    /* The label of a value of the service; one that has none keeps its text. */
    of: (group, key) => (key == null ? words.none : (words[group]?.[key] ?? key)),
    /* Why a job ended so: its reason, and what its last call met with, if that says more. */
    detail: ({ reason, call_status: call }) => {
      const known = words.reason[reason] ?? words.call[reason] ?? reason ?? words.none;
      const met = words.call[call] ?? call ?? known;
      return met === known ? known : `${known} · ${met}`;
    },
    reason: (key) => (key == null ? words.none : (words.reason[key] ?? words.call[key] ?? key)),
    number: present((value) => numbers.format(value)),
    decimal: present((value) => decimals.format(value)),
    percent: present((value) => percents.format(value)),
    time: present((iso) => times.format(new Date(iso))),
    fullTime: present((iso) => full.format(new Date(iso))),
    day: present((instant) => days.format(new Date(instant))),
    clock: present((iso) => clock.format(new Date(iso))),
    duration: present((seconds) => {
      const whole = Math.max(0, Math.round(seconds));
      if (whole < 60) return unit(whole, "second");
      if (whole < 3600)
        return [unit(Math.floor(whole / 60), "minute"), whole % 60 ? unit(whole % 60, "second") : ""].join(" ").trim();
      const hours = Math.floor(whole / 3600);
      const minutes = Math.floor((whole % 3600) / 60);
      return [unit(hours, "hour"), minutes ? unit(minutes, "minute") : ""].join(" ").trim();
    }),
    size: present((bytes) => {
      const names = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
      const power = Math.min(names.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
      return unit(Math.round((bytes / 1000 ** power) * 10) / 10, names[power]);
    }),
  });
}

export function useText() {
  const language = useSyncExternalStore(watchLanguage, shownLanguage);
  return useMemo(() => speak(language), [language]);
}
