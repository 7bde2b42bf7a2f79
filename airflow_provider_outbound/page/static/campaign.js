/* One campaign: its head, an overview in figures and charts, and its jobs. */

import { Actions } from "./actions.js";
import { usePolling } from "./api.js";
import { RunLinks, isLive } from "./campaigns.js";
import { JobsTab } from "./jobs.js";
import { Overview } from "./overview.js";
import { Attention, ProgressBar } from "./progress.js";
import {
  Announcement,
  BackToList,
  C,
  ErrorNotice,
  Figure,
  Legend,
  Loading,
  OUTCOMES,
  StateBadge,
  h,
  outcomeColor,
  useFilters,
  useState,
} from "./ui.js";

function Figures({ campaign, t }) {
  const { answered, done, not_dialled: notDialled, total } = campaign;
  const dialled = done - notDialled;
  const late = campaign.fits === false;
  const ended = campaign.ended !== null;
  const seconds = campaign.started
    ? (Date.parse(campaign.ended ?? campaign.changed) - Date.parse(campaign.started)) / 1000
    : null;
  return h(
    C.SimpleGrid,
    { columns: { base: 2, md: 3, xl: 6 }, gap: "3" },
    h(Figure, { label: t("people"), value: t.number(total) }),
    h(Figure, { label: t("doneLabel"), note: total ? t.percent(done / total) : null, value: t.number(done) }),
    h(Figure, {
      label: t("answerRate"),
      note: t("answerRateNote", { answered: t.number(answered), dialled: t.number(dialled) }),
      value: dialled > 0 ? t.percent(answered / dialled) : t("none"),
    }),
    ended
      ? h(Figure, { label: t("duration"), value: t.duration(seconds) })
      : h(Figure, { label: t("pace"), value: t.decimal(campaign.calls_per_minute) }),
    h(Figure, { label: t("started"), value: t.time(campaign.started) }),
    ended
      ? h(Figure, { label: t("ended"), value: t.time(campaign.ended) })
      : h(Figure, {
          label: t("ends"),
          note: campaign.expected_end && campaign.window_end ? t(late ? "tooLate" : "inTime") : null,
          value: t.time(campaign.expected_end),
          warn: late,
        }),
  );
}

/* Where the campaign comes from, in one line. */
function Origin({ campaign, t }) {
  const parts = [
    campaign.task_id && [t("task"), campaign.map_index >= 0 ? `${campaign.task_id} [${campaign.map_index}]` : campaign.task_id],
    campaign.instance_id && [t("instance"), campaign.instance_id],
    campaign.conn_id && [t("connection"), campaign.conn_id],
  ].filter(Boolean);
  return h(
    C.Flex,
    { columnGap: "5", flexWrap: "wrap", fontSize: "sm", rowGap: "1" },
    campaign.dag_id ? h(RunLinks, { campaign, t }) : null,
    parts.map(([label, value]) =>
      h(
        C.Box,
        { key: label, minW: 0 },
        h(C.Text, { color: "fg.muted", fontSize: "xs" }, label),
        h(C.Text, { overflowWrap: "anywhere" }, value),
      ),
    ),
  );
}

function Head({ answer, onDone, t }) {
  const { campaign } = answer;
  return h(
    C.Stack,
    { gap: "3" },
    h(
      C.Flex,
      { align: "center", flexWrap: "wrap", gap: "3", justify: "space-between" },
      h(
        C.HStack,
        { flexWrap: "wrap", gap: "3", minW: 0 },
        h(C.Heading, { as: "h1", overflowWrap: "anywhere", size: "lg" }, campaign.name || campaign.id),
        h(StateBadge, { state: campaign.state, t }),
      ),
      h(Actions, { actions: answer.actions, campaign, onDone, t }),
    ),
    h(Origin, { campaign, t }),
  );
}

function OutcomeBar({ campaign, t }) {
  const series = OUTCOMES.map((key) => ({
    key,
    label: `${t.of("outcome", key)} ${t.number(campaign[key])}`,
    token: outcomeColor(key),
  }));
  return h(
    C.Box,
    null,
    h(C.Box, { mb: "2" }, h(ProgressBar, { campaign, height: "3", t })),
    h(Legend, {
      series: [
        ...series,
        {
          key: "open",
          label: `${t.of("outcome", "open")} ${t.number(Math.max(0, campaign.total - campaign.done))}`,
          token: outcomeColor("open"),
        },
      ],
    }),
  );
}

function CampaignTabs({ answer, t }) {
  const [{ tab }, change] = useFilters(["tab"]);
  const show = (value) =>
    change({ attempts: "", job: "", outcome: "", reason: "", status: "", tab: value === "overview" ? "" : value, tag: "" });
  return h(
    C.Tabs.Root,
    {
      lazyMount: true,
      onValueChange: (details) => show(details.value),
      unmountOnExit: true,
      value: tab === "jobs" ? "jobs" : "overview",
    },
    h(
      C.Tabs.List,
      null,
      h(C.Tabs.Trigger, { value: "overview" }, t("overview")),
      h(C.Tabs.Trigger, { value: "jobs" }, t("jobs")),
    ),
    h(C.Tabs.Content, { value: "overview" }, h(Overview, { answer, t })),
    h(C.Tabs.Content, { value: "jobs" }, h(JobsTab, { answer, t })),
  );
}

export function CampaignPage({ id, t }) {
  const { data, error, reload } = usePolling(`campaigns/${encodeURIComponent(id)}`, (answer) => isLive(answer.campaign));
  const [did, setDid] = useState("");
  const onDone = (sentence) => {
    setDid(sentence);
    reload();
  };
  return h(
    C.Stack,
    { gap: "4" },
    h(BackToList, { t }),
    h(Announcement, { text: did }),
    error ? h(ErrorNotice, { error, t }) : null,
    !data && !error ? h(Loading, { t }) : null,
    data
      ? [
          h(Head, { answer: data, key: "head", onDone, t }),
          h(Attention, { campaign: data.campaign, key: "attention", t }),
          h(Figures, { campaign: data.campaign, key: "figures", t }),
          h(OutcomeBar, { campaign: data.campaign, key: "outcomes", t }),
          h(CampaignTabs, { answer: data, key: "tabs", t }),
        ]
      : null,
  );
}
