/* A campaign in charts: when people were called and answered, why not, and what came of it. */

import { BarTable, ColumnChart } from "./charts.js";
import { Timeline } from "./timeline.js";
import { C, PageLink, Rows, Section, campaignUrl, h, outcomeColor } from "./ui.js";

const callSeries = (t) => [
  { key: "answered", label: t.of("outcome", "answered"), token: outcomeColor("answered") },
  { key: "unanswered", label: t("notAnswered"), token: outcomeColor("unanswered") },
  { key: "open", label: t.of("call", "Executing"), token: outcomeColor("open") },
];

/* People who are done may not have been dialled, and people who were dialled may not be done. */
const FUNNEL = ["assigned", "finished", "dialled", "answered"];

function Nothing({ children }) {
  return h(C.Text, { color: "fg.muted", fontSize: "sm" }, children);
}

function OverTime({ answer, t }) {
  const points = answer.per_minute;
  const days = points.length ? new Date(points.at(-1).at) - new Date(points[0].at) > 86_400_000 : false;
  const sum = (values) => values.reduce((all, one) => all + one, 0);
  const sentence = ({ values }) => t("hourRow", { answered: t.number(values[0]), calls: t.number(sum(values)) });
  const items = points.map(({ at, calls, ended, answered }) => ({
    key: at,
    label: days ? t.time(at) : t.clock(at),
    title: t.time(at),
    values: [answered, ended - answered, calls - ended],
  }));
  return h(
    Section,
    {
      aside: points.length ? t("overTimeAside", { bucket: t.duration(answer.bucket_seconds ?? 60) }) : null,
      gridColumn: { xl: "span 2" },
      title: t("overTime"),
    },
    points.length
      ? h(ColumnChart, {
          describe: sentence,
          format: t.number,
          hint: t("chartKeys", { title: t("overTime") }),
          items,
          labelRoom: days ? 110 : 56,
          series: callSeries(t),
          table: {
            head: [t("time"), t("callsLabel"), t.of("outcome", "answered")],
            row: ({ title, values }) => [title, t.number(sum(values)), t.number(values[0])],
          },
          title: t("overTime"),
        })
      : h(Nothing, null, t("noCalls")),
  );
}

function ByHour({ answer, t }) {
  const hours = answer.by_hour;
  const clock = (hour) => `${String(hour).padStart(2, "0")}:00`;
  const rate = ({ answered, calls }) => (calls ? answered / calls : 0);
  const items = hours.map((row) => ({ key: row.hour, label: clock(row.hour), row, title: clock(row.hour), values: [rate(row)] }));
  const sentence = (row) => t("hourRow", { answered: t.number(row.answered), calls: t.number(row.calls) });
  return h(
    Section,
    { aside: answer.time_zone ? t("byHourAside", { zone: answer.time_zone }) : null, title: t("byHour") },
    hours.length
      ? h(ColumnChart, {
          describe: ({ row }) => `${t.percent(rate(row))}. ${sentence(row)}`,
          format: t.percent,
          hint: t("chartKeys", { title: t("byHour") }),
          items,
          max: 1,
          series: [{ key: "rate", label: t("answerRate"), token: outcomeColor("answered") }],
          table: {
            head: [t("hour"), t("answerRate"), t("callsLabel")],
            row: ({ title, row }) => [title, t.percent(rate(row)), sentence(row)],
          },
          title: t("byHour"),
        })
      : h(Nothing, null, t("noCalls")),
  );
}

function When({ answer, t }) {
  const { campaign, window, now } = answer;
  return h(
    Section,
    { aside: t("timesIn", { zone: t.zone }), title: t("when") },
    window?.begin && window?.end
      ? h(Timeline, { campaign, hours: answer.calling_hours, now, t, window, zone: answer.time_zone })
      : h(Nothing, null, t("noWindow")),
  );
}

function Bars({ title, name, rows, total, empty, token, t }) {
  const named = rows.map(({ key, count }) => ({ count, key, label: name ? name(key) : key, token: token?.(key) }));
  return h(
    Section,
    { title },
    rows.length
      ? h(BarTable, { caption: title, head: [title, `${t("count")} · ${t("share")}`], rows: named, t, total })
      : h(Nothing, null, empty),
  );
}

/* The latest campaigns of the same DAG beside each other: answer rate, duration, and calls for one answer. */
function Siblings({ answer, t }) {
  const { campaign, siblings } = answer;
  if (siblings.length === 0) return null;
  const seconds = (row) => (row.started && row.ended ? (Date.parse(row.ended) - Date.parse(row.started)) / 1000 : null);
  const columns = [
    {
      cell: (row) =>
        row.id === campaign.id ? `${row.name} (${t("thisCampaign")})` : h(PageLink, { to: campaignUrl(row.id) }, row.name),
      key: "name",
      label: t("name"),
      wide: "12rem",
    },
    { cell: (row) => t.time(row.started), key: "started", label: t("started") },
    { cell: (row) => t.duration(seconds(row)), key: "duration", label: t("duration") },
    { cell: (row) => t.number(row.total), end: true, key: "people", label: t("people") },
    {
      cell: (row) => `${t.number(row.answered)} · ${t.percent(row.dialled ? row.answered / row.dialled : null)}`,
      end: true,
      key: "answered",
      label: t.of("outcome", "answered"),
    },
    { cell: (row) => t.number(row.calls), end: true, key: "calls", label: t("callsLabel") },
    {
      cell: (row) => t.decimal(row.answered ? row.calls / row.answered : null),
      end: true,
      key: "cost",
      label: t("callsPerAnswer"),
    },
  ];
  return h(
    Section,
    { gridColumn: { xl: "span 2" }, title: t("siblings") },
    h(Rows, {
      columns,
      highlight: (row) => row.id === campaign.id,
      label: t("siblings"),
      rowKey: (row) => row.id,
      rows: siblings,
    }),
  );
}

export function Overview({ answer, t }) {
  const { campaign, funnel, outcomes, reasons, tags } = answer;
  return h(
    C.SimpleGrid,
    { columns: { base: 1, xl: 2 }, gap: "4" },
    h(OverTime, { answer, t }),
    h(When, { answer, t }),
    h(ByHour, { answer, t }),
    h(Bars, {
      empty: t("nothingYet"),
      name: (key) => t.of("funnel", key),
      rows: FUNNEL.map((key) => funnel.find((row) => row.key === key)).filter(Boolean),
      t,
      title: t("funnelTitle"),
      total: campaign.total,
    }),
    h(Bars, {
      empty: t("nothingYet"),
      name: (key) => t.of("outcome", key),
      rows: outcomes,
      t,
      title: t("outcomes"),
      token: outcomeColor,
      total: campaign.total,
    }),
    h(Bars, { empty: t("noReasons"), name: t.reason, rows: reasons, t, title: t("reasons"), total: campaign.total }),
    h(Bars, { empty: t("noTags"), rows: tags, t, title: t("tags"), total: campaign.answered }),
    h(Siblings, { answer, t }),
  );
}
