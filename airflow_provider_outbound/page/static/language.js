/* The language that Airflow shows. */

const root = document.documentElement;

/* Airflow stores its language before it shows it. It may miss writing the first one to the document. */
export function shownLanguage() {
  const written = root.lang === "en" ? "" : root.lang;
  return globalThis.localStorage.getItem("i18nextLng") || written || globalThis.navigator.language || "en";
}

/* Airflow writes each change of it to the document. */
export function watchLanguage(changed) {
  const observer = new MutationObserver(changed);
  observer.observe(root, { attributeFilter: ["lang"], attributes: true });
  return () => observer.disconnect();
}
