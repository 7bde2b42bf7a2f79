/* The window, the calling hours and the campaign on one line of time, with "now". */

import { HiddenTable, SMALL, useWidth } from "./charts.js";
import { C, color, h } from "./ui.js";

const DAY = 86_400_000;
const ROW = 36;
const LABEL = 14;
const MOST_DAYS = 62;

/* How far a zone is ahead of UTC at an instant, in milliseconds. */
function offset(instant, timeZone) {
  const format = new Intl.DateTimeFormat("en-US", {
    day: "numeric",
    hour: "numeric",
    hourCycle: "h23",
    minute: "numeric",
    month: "numeric",
    second: "numeric",
    timeZone,
    year: "numeric",
  });
  const part = Object.fromEntries(format.formatToParts(instant).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(instant / 1000) * 1000;
}

/* The instant of a wall clock; `wall` is its reading as if it were UTC. */
export function instantOf(wall, timeZone) {
  const guess = wall - offset(wall, timeZone);
  return wall - offset(guess, timeZone);
}

/* Whole days of a zone as instants: from the first moment of `from` to the last one of `to`. */
export function dayBounds(from, to, timeZone) {
  const at = (day, more) => (day ? new Date(instantOf(Date.parse(`${day}T00:00Z`) + more, timeZone)).toISOString() : "");
  return { from: at(from, 0), to: at(to, DAY - 1) };
}

/**
 * Calling hours between two instants.
 *
 * @param {{weekday: number, begin: string, end: string}[]} hours weekday 0 is Monday; begin and end on the zone's clock
 * @returns {[number, number][]} pairs of instants
 */
export function callingSpans(hours, timeZone, from, to) {
  const minutes = (clock) => clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  const spans = [];
  const firstDay = Math.floor((from + offset(from, timeZone)) / DAY) - 1;
  const lastDay = Math.min(Math.floor((to + offset(to, timeZone)) / DAY), firstDay + MOST_DAYS);
  for (let day = firstDay; day <= lastDay; day += 1) {
    const weekday = (((day + 3) % 7) + 7) % 7; // 1 January 1970 was a Thursday
    for (const { begin, end } of hours.filter((hour) => hour.weekday === weekday)) {
      const length = minutes(end) > minutes(begin) ? minutes(end) : minutes(end) + 1440;
      const span = [instantOf(day * DAY + minutes(begin) * 60_000, timeZone), instantOf(day * DAY + length * 60_000, timeZone)];
      if (span[1] > from && span[0] < to) spans.push([Math.max(from, span[0]), Math.min(to, span[1])]);
    }
  }
  return spans;
}

/* Times on the axis: as few and as round as the width allows. */
function axis(from, to, width, timeZone) {
  const hours = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720];
  const room = Math.max(2, Math.floor(width / 90));
  const step = (hours.find((hour) => (to - from) / (hour * 3_600_000) <= room) ?? 1440) * 3_600_000;
  const ahead = offset(from, timeZone);
  const first = Math.ceil((from + ahead) / step) * step - ahead;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, index) => first + index * step);
}

function Bar({ x, from, to, row, token, opacity = 1 }) {
  return h("rect", {
    fill: color(token),
    height: LABEL,
    opacity,
    rx: 2,
    width: Math.max(2, x(to) - x(from)),
    x: x(from),
    y: row * ROW + 18,
  });
}

function RowLabel({ row, children }) {
  return h("text", { fill: color("fg.muted"), style: SMALL, x: 0, y: row * ROW + 14 }, children);
}

function Drawing({ window, spans, campaign, now, t, width }) {
  const ends = [window.end, campaign.expected_end, campaign.ended, campaign.ended ? null : now].filter(Boolean).map(Date.parse);
  const begins = [window.begin, campaign.started].filter(Boolean).map(Date.parse);
  const low = Math.min(...begins);
  const high = Math.max(...ends, low + 3_600_000);
  const x = (instant) => 2 + ((Math.min(high, Math.max(low, instant)) - low) / (high - low)) * (width - 4);
  const at = Date.parse(now);
  const height = 3 * ROW + 22;
  const started = campaign.started && Date.parse(campaign.started);
  const last = Date.parse(campaign.ended ?? now);
  const expected = campaign.expected_end && Date.parse(campaign.expected_end);
  return h(
    "svg",
    { "aria-hidden": true, height, style: { display: "block" }, width: "100%" },
    h(RowLabel, { row: 0 }, t("timelineWindow")),
    h(Bar, { from: Date.parse(window.begin), row: 0, to: Date.parse(window.end), token: "blue.muted", x }),
    h(RowLabel, { row: 1 }, t("timelineHours")),
    spans.map(([from, to]) => h(Bar, { from, key: from, row: 1, to, token: "green.solid", x })),
    h(RowLabel, { row: 2 }, t("timelineRun")),
    started ? h(Bar, { from: started, row: 2, to: last, token: "blue.solid", x }) : null,
    expected && expected > last
      ? h(Bar, {
          from: last,
          opacity: 0.4,
          row: 2,
          to: expected,
          token: campaign.fits === false ? "orange.solid" : "blue.solid",
          x,
        })
      : null,
    axis(low, high, width, t.zone).map((instant) =>
      h(
        "text",
        {
          fill: color("fg.muted"),
          key: instant,
          style: SMALL,
          textAnchor: x(instant) > width - 40 ? "end" : x(instant) < 40 ? "start" : "middle",
          x: x(instant),
          y: height - 6,
        },
        high - low > 2 * DAY ? t.day(instant) : t.clock(instant),
      ),
    ),
    at >= low && at <= high
      ? h("line", { stroke: color("red.solid"), strokeWidth: 2, x1: x(at), x2: x(at), y1: 16, y2: height - 20 })
      : null,
    at >= low && at <= high
      ? h(
          "text",
          {
            fill: color("red.fg"),
            style: SMALL,
            textAnchor: x(at) > width - 30 ? "end" : "start",
            x: x(at) + (x(at) > width - 30 ? -5 : 5),
            y: 12,
          },
          t("now"),
        )
      : null,
  );
}

export function Timeline({ window, hours, zone, campaign, now, t }) {
  const [ref, width] = useWidth();
  const from = Date.parse(window.begin);
  const to = Date.parse(window.end);
  const spans = hours && zone ? callingSpans(hours, zone, from, to) : [];
  const perDay = t.words("weekday").map((name, weekday) => [
    name,
    (hours ?? [])
      .filter((hour) => hour.weekday === weekday)
      .map(({ begin, end }) => `${begin}–${end}`)
      .join(", ") || t("closed"),
  ]);
  return h(
    C.Box,
    { ref },
    h(C.Text, { fontSize: "sm", mb: "2" }, t("timelineSentence", { begin: t.time(window.begin), end: t.time(window.end) })),
    h(Drawing, { campaign, now, spans, t, width, window }),
    h(C.VisuallyHidden, null, t("timelineNow", { now: t.time(now) })),
    hours
      ? h(HiddenTable, { caption: t("hoursIn", { zone }), head: [t("time"), t("timelineHours")], rows: perDay })
      : h(C.Text, { color: "fg.muted", fontSize: "sm" }, t("noHours")),
  );
}
