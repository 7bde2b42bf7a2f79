/* How far a campaign is, and why it stands at the top of the list. */

import { C, Notice, OUTCOMES, h, outcomeColor } from "./ui.js";

/* Counts of the bar's sentence, written as the language writes numbers. */
function counts(campaign, t) {
  const names = ["total", "done", ...OUTCOMES];
  return Object.fromEntries(names.map((name) => [name, t.number(campaign[name])]));
}

export function ProgressBar({ campaign, t, height = "2" }) {
  const { done, total } = campaign;
  return h(
    C.Flex,
    {
      "aria-label": t("progress"),
      "aria-valuemax": Math.max(total, done, 1),
      "aria-valuemin": 0,
      "aria-valuenow": done,
      "aria-valuetext": t("progressName", counts(campaign, t)),
      bg: "bg.emphasized",
      borderRadius: "full",
      h: height,
      overflow: "hidden",
      role: "progressbar",
      title: t("progressName", counts(campaign, t)),
      w: "full",
    },
    OUTCOMES.map((key) =>
      h(C.Box, { bg: outcomeColor(key), key, transition: "width 0.5s", w: `${total ? (campaign[key] / total) * 100 : 0}%` }),
    ),
  );
}

export function Progress({ campaign, t }) {
  const { answered, not_dialled: notDialled, done } = campaign;
  const dialled = done - notDialled;
  return h(
    C.Stack,
    { gap: "1", minW: "0" },
    h(ProgressBar, { campaign, t }),
    h(
      C.Text,
      { as: "span", color: "fg.muted", fontSize: "xs" },
      t("doneOf", { done: t.number(done), total: t.number(campaign.total) }),
      dialled > 0 ? ` · ${t("answerRate")} ${t.percent(answered / dialled)}` : null,
    ),
  );
}

/* The expected end against the end of the window; without an estimate, the window alone. */
export function ExpectedEnd({ campaign, t }) {
  const late = campaign.fits === false;
  if (campaign.ended || (!campaign.expected_end && !campaign.window_end)) return t("none");
  if (campaign.state === "waiting") {
    return t("windowFromTo", { begin: t.time(campaign.window_begin), end: t.time(campaign.window_end) });
  }
  return h(
    C.Stack,
    { gap: "0" },
    h("span", null, t.time(campaign.expected_end)),
    campaign.window_end
      ? h(
          C.Text,
          { as: "span", color: late ? "red.fg" : "fg.muted", fontSize: "xs", fontWeight: late ? "semibold" : undefined },
          t(late ? "windowMissed" : "windowEnds", { time: t.time(campaign.window_end) }),
        )
      : null,
  );
}

/* What needs attention, with what to do about it. */
export function Attention({ campaign, t }) {
  const { attention } = campaign;
  if (!attention) return null;
  const values = {
    count: t.number(campaign.unresolved),
    end: t.time(campaign.expected_end),
    open: t.number(campaign.total - campaign.done),
    window: t.time(campaign.window_end),
  };
  // Without an end of the window there is none to miss.
  const reason = attention === "no_calls" && !campaign.window_end ? "no_calls_open" : attention;
  const advice = t(`attention_${reason}_do`, values);
  return h(
    Notice,
    { mb: "4", status: attention === "failed" ? "error" : "warning", title: t(`attention_${attention}`, values) },
    advice === `attention_${reason}_do` ? null : advice,
  );
}

export function AttentionBadge({ campaign, t }) {
  const { attention } = campaign;
  if (!attention || attention === campaign.state) return null;
  return h(C.Badge, { colorPalette: attention === "failed" ? "red" : "orange", variant: "solid" }, t.of("attention", attention));
}
