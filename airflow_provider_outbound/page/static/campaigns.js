/* The list of campaigns, on its own page and on the tab of a DAG run. */

import { address, usePolling } from "./api.js";
import { dayBounds } from "./timeline.js";
import { PersonSearch } from "./person.js";
import { AttentionBadge, ExpectedEnd, Progress } from "./progress.js";
import {
  C,
  Choice,
  ClearFilters,
  Empty,
  ErrorNotice,
  Loading,
  NAV_ROUTE,
  PageLink,
  Pager,
  Rows,
  StateBadge,
  TextField,
  campaignUrl,
  h,
  useEffect,
  useFilters,
  useNavigate,
  useState,
} from "./ui.js";

const STATES = ["assigning", "waiting", "running", "suspended", "completed", "failed", "cancelled", "draft", "unknown"];
const FILTERS = ["state", "dag_id", "run_id", "task_id", "map_index", "from", "to", "text"];

export const isLive = (campaign) => campaign.state === "running" || campaign.state === "assigning";
const anyLive = (answer) => answer.campaigns.some(isLive);

export function RunLinks({ campaign, t }) {
  const { dag_id: dagId, run_id: runId } = campaign;
  if (!dagId) return t("none");
  const dag = `/dags/${encodeURIComponent(dagId)}`;
  return h(
    C.Stack,
    { gap: "0" },
    h(PageLink, { to: dag }, dagId),
    runId
      ? h(PageLink, { fontSize: "xs", overflowWrap: "anywhere", to: `${dag}/runs/${encodeURIComponent(runId)}` }, runId)
      : null,
  );
}

const columns = (t, withRun) =>
  [
    {
      key: "name",
      label: t("name"),
      wide: "14rem",
      cell: (campaign) =>
        h(
          C.Stack,
          { gap: "1" },
          h(PageLink, { fontWeight: "medium", to: campaignUrl(campaign.id) }, campaign.name || campaign.id),
          h(
            C.HStack,
            { flexWrap: "wrap", gap: "1" },
            h(StateBadge, { state: campaign.state, t }),
            h(AttentionBadge, { campaign, t }),
          ),
        ),
    },
    withRun && { key: "dag", label: t("dagAndRun"), wide: "10rem", cell: (campaign) => h(RunLinks, { campaign, t }) },
    { key: "progress", label: t("progress"), wide: "12rem", cell: (campaign) => h(Progress, { campaign, t }) },
    { key: "pace", label: t("pace"), end: true, cell: (campaign) => t.decimal(campaign.calls_per_minute) },
    { key: "end", label: t("ends"), cell: (campaign) => h(ExpectedEnd, { campaign, t }) },
    { key: "started", label: t("started"), cell: (campaign) => t.time(campaign.started) },
    { key: "ended", label: t("ended"), cell: (campaign) => t.time(campaign.ended) },
  ].filter(Boolean);

function Campaigns({ campaigns, t, withRun = true, label }) {
  return h(Rows, { columns: columns(t, withRun), label, rowKey: (campaign) => campaign.id, rows: campaigns });
}

/* A text field whose value reaches the address when typing pauses. */
function NameFilter({ value, change, t }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return undefined;
    const timer = setTimeout(() => change({ text: typed }, { replace: true }), 400);
    return () => clearTimeout(timer);
  }, [typed, value, change]);
  return h(TextField, { label: t("text"), onChange: (event) => setTyped(event.target.value), type: "search", value: typed });
}

function Filters({ values, change, dags, t }) {
  const set = (name) => (value) => change({ [name]: value });
  return h(
    C.Box,
    { "aria-label": t("filters"), as: "form", onSubmit: (event) => event.preventDefault(), role: "search" },
    h(
      C.SimpleGrid,
      { columns: { base: 2, md: 3, xl: 6 }, gap: "3" },
      h(NameFilter, { change, t, value: values.text }),
      h(Choice, {
        label: t("stateLabel"),
        onChange: set("state"),
        options: [["", t("anyState")], ...STATES.map((state) => [state, t.of("state", state)])],
        value: values.state,
      }),
      h(Choice, {
        label: t("dag"),
        onChange: (dagId) => change({ dag_id: dagId, map_index: "", run_id: "", task_id: "" }),
        options: [["", t("anyDag")], ...dags.map((dag) => [dag, dag])],
        value: values.dag_id,
      }),
      h(TextField, {
        label: t("from"),
        max: values.to || undefined,
        onChange: (event) => change({ from: event.target.value }),
        type: "date",
        value: values.from,
      }),
      h(TextField, {
        label: t("to"),
        min: values.from || undefined,
        onChange: (event) => change({ to: event.target.value }),
        type: "date",
        value: values.to,
      }),
      h(ClearFilters, { change, names: FILTERS, t, values }),
    ),
  );
}

/* A run or a task that a link named: what the list is limited to, in words. */
function Limits({ values, t }) {
  const { dag_id: dag, run_id: run, task_id: task } = values;
  if (!run && !task) return null;
  return h(C.Text, { fontSize: "sm", mt: "3", overflowWrap: "anywhere" }, t(task ? "onlyTask" : "onlyRun", { dag, run, task }));
}

function ListBody({ answer, t }) {
  if (answer.campaigns.length) return h(Campaigns, { campaigns: answer.campaigns, label: t("allCampaigns"), t });
  if (answer.empty)
    return h(
      Empty,
      { title: t(`empty_${answer.empty}`) },
      t(`empty_${answer.empty}_do`),
      answer.why ? h(C.Text, { mt: "2" }, answer.why) : null,
    );
  return h(Empty, { title: t("noMatch") });
}

/* A task's link means its campaign, so one that is alone is opened; "back" leads to the task. */
function useOnlyCampaign(values, answer) {
  const navigate = useNavigate();
  const only = values.task_id && !values.after && answer?.campaigns.length === 1 ? answer.campaigns[0].id : null;
  useEffect(() => {
    if (only) navigate(campaignUrl(only), { replace: true });
  }, [only, navigate]);
}

export function CampaignList({ t }) {
  const [values, change] = useFilters([...FILTERS, "after"]);
  const { data, error } = usePolling(address("campaigns", { ...values, ...dayBounds(values.from, values.to, t.zone) }), anyLive);
  const { data: me } = usePolling("me");
  const [dags, setDags] = useState([]);
  useOnlyCampaign(values, data);
  useEffect(() => {
    if (data) setDags(data.dags);
  }, [data]);
  return h(
    C.Stack,
    { gap: "4" },
    h(
      C.Flex,
      { align: "center", flexWrap: "wrap", gap: "3", justify: "space-between" },
      h(C.Heading, { as: "h1", size: "lg" }, t("title")),
      h(
        C.HStack,
        { gap: "3" },
        h(C.Text, { color: "fg.muted", fontSize: "sm" }, t("timesIn", { zone: t.zone })),
        h(PersonSearch, { t }),
        me?.can_see_health ? h(PageLink, { to: `${NAV_ROUTE}/health` }, t("health")) : null,
      ),
    ),
    h(C.Box, null, h(Filters, { change, dags, t, values }), h(Limits, { t, values })),
    error ? h(ErrorNotice, { error, t }) : null,
    data ? h(ListBody, { answer: data, t }) : error ? null : h(Loading, { t }),
    data ? h(Pager, { after: values.after, next: data.next, onGo: (after) => change({ after }), t }) : null,
  );
}

/* The tab is on every run of every DAG, so an empty one says what belongs there. */
export function RunCampaigns({ dagId, runId, t }) {
  const [values, change] = useFilters(["after"]);
  const { data, error } = usePolling(address("campaigns", { after: values.after, dag_id: dagId, run_id: runId }), anyLive);
  return h(
    C.Stack,
    { gap: "4" },
    h(C.Heading, { as: "h2", size: "md" }, t("thisRun")),
    error ? h(ErrorNotice, { error, t }) : null,
    !data && !error ? h(Loading, { t }) : null,
    data?.campaigns.length ? h(Campaigns, { campaigns: data.campaigns, label: t("thisRun"), t, withRun: false }) : null,
    data && !data.campaigns.length
      ? h(
          Empty,
          { title: t(data.empty === "no_ledger" ? "empty_no_ledger" : "empty_run") },
          t(data.empty === "no_ledger" ? "empty_no_ledger_do" : "empty_run_do"),
        )
      : null,
    data ? h(Pager, { after: values.after, next: data.next, onGo: (after) => change({ after }), t }) : null,
  );
}
