/* Needs neither Chakra nor the router. */

import { shownLanguage } from "./language.js";
import { en } from "./text_en.js";
import { zh } from "./text_zh.js";

export function tooOld(missing) {
  const words = shownLanguage().startsWith("zh") ? zh : en;
  const sentence = words.tooOld.replace("{names}", missing.join(", "));
  return globalThis.React?.createElement("p", { role: "alert", style: { padding: "1rem" } }, sentence) ?? null;
}
