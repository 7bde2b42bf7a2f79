/* The jobs of a campaign: filters and pages by the server, search by number or reference id, and one job. */

import { address, post, usePolling } from "./api.js";
import { isLive } from "./campaigns.js";
import { JobPage } from "./job.js";
import {
  C,
  Choice,
  ClearFilters,
  Empty,
  ErrorNotice,
  Loading,
  OUTCOMES,
  OutcomeLabel,
  PageLink,
  Pager,
  Rows,
  TextField,
  campaignUrl,
  h,
  useFilters,
  useState,
} from "./ui.js";

const FILTERS = ["outcome", "status", "reason", "tag", "attempts"];

export const Tags = ({ tags, t }) =>
  tags.length
    ? h(
        C.HStack,
        { flexWrap: "wrap", gap: "1" },
        tags.map((tag) => h(C.Badge, { key: tag, variant: "surface" }, tag)),
      )
    : t("none");

export const jobUrl = (campaign, job) => campaignUrl(campaign.id, { job: job.reference_id, tab: "jobs" });

const columns = (campaign, t) => [
  { cell: (job) => h(PageLink, { to: jobUrl(campaign, job) }, job.reference_id), key: "reference", label: t("reference") },
  { cell: (job) => job.phone, key: "phone", label: t("phone") },
  { cell: (job) => h(OutcomeLabel, { outcome: job.outcome, t }), key: "outcome", label: t("outcomeLabel") },
  { cell: (job) => t.of("jobStatus", job.status), key: "status", label: t("statusLabel") },
  { cell: (job) => t.detail(job), key: "reason", label: t("detail") },
  { cell: (job) => t.number(job.attempts), end: true, key: "attempts", label: t("attempts") },
  { cell: (job) => h(Tags, { t, tags: job.tags }), key: "tags", label: t("tags") },
  { cell: (job) => t.time(job.last_call), key: "last", label: t("lastCall") },
  { cell: (job) => t.duration(job.talk_seconds), end: true, key: "talk", label: t("talk") },
];

function JobRows({ campaign, jobs, t }) {
  return h(Rows, { columns: columns(campaign, t), label: t("jobsTitle"), rowKey: (job) => job.reference_id, rows: jobs });
}

function JobFilters({ answer, values, change, t }) {
  const any = ["", t("any")];
  const choice = (name, label, options) =>
    h(Choice, {
      key: name,
      label,
      onChange: (value) => change({ [name]: value }),
      options: [any, ...options],
      value: values[name],
    });
  return h(
    C.Box,
    { "aria-label": t("filters"), role: "group" },
    h(
      C.SimpleGrid,
      { columns: { base: 2, md: 3, xl: 6 }, gap: "3" },
      choice(
        "outcome",
        t("outcomeLabel"),
        [...OUTCOMES, "open"].map((key) => [key, t.of("outcome", key)]),
      ),
      choice(
        "status",
        t("statusLabel"),
        answer.statuses.map(({ key }) => [key, t.of("jobStatus", key)]),
      ),
      choice(
        "reason",
        t("reasonLabel"),
        answer.reasons.map(({ key }) => [key, t.reason(key)]),
      ),
      choice(
        "tag",
        t("tagLabel"),
        answer.tags.map(({ key }) => [key, key]),
      ),
      choice(
        "attempts",
        t("attempts"),
        ["0", "1", "2", "3", "4", "5"].map((key) => [key, key]),
      ),
      h(ClearFilters, { change, names: FILTERS, t, values }),
    ),
  );
}

/* What somebody looks for may be a phone number: it stays out of the address. */
function JobSearch({ campaign, t }) {
  const [typed, setTyped] = useState("");
  const [state, setState] = useState({});
  const search = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const { jobs } = await post(`campaigns/${encodeURIComponent(campaign.id)}/jobs/search`, { text: typed.trim() });
      setState({ jobs });
    } catch (error) {
      if (typeof error.text !== "function") throw error;
      setState({ error });
    }
  };
  return h(
    C.Stack,
    { gap: "3" },
    h(
      C.Flex,
      { align: "flex-start", as: "form", gap: "2", onSubmit: search },
      h(
        C.Box,
        { flex: "1", maxW: "md", minW: 0 },
        h(TextField, {
          autoComplete: "off",
          hint: t("searchJobHint"),
          label: t("searchJob"),
          onChange: (event) => setTyped(event.target.value),
          value: typed,
        }),
      ),
      h(
        C.Button,
        { disabled: !typed.trim(), loading: state.busy, mt: "5", size: "sm", type: "submit", variant: "outline" },
        t("search"),
      ),
    ),
    h(
      C.Box,
      { "aria-live": "polite" },
      state.error ? h(ErrorNotice, { error: state.error, t }) : null,
      state.jobs
        ? h(
            C.Text,
            { fontSize: "sm", mb: "2" },
            state.jobs.length ? t("found", { count: t.number(state.jobs.length) }) : t("notFound"),
          )
        : null,
      state.jobs?.length ? h(JobRows, { campaign, jobs: state.jobs, t }) : null,
    ),
  );
}

function JobList({ answer, values, change, t }) {
  const { campaign } = answer;
  const path = `campaigns/${encodeURIComponent(campaign.id)}/jobs`;
  const filters = Object.fromEntries([...FILTERS, "after"].map((name) => [name, values[name]]));
  const { data, error } = usePolling(address(path, filters), () => isLive(campaign));
  const filtered = FILTERS.some((name) => values[name]);
  return h(
    C.Stack,
    { gap: "4" },
    h(JobSearch, { campaign, t }),
    h(JobFilters, { answer, change, t, values }),
    error ? h(ErrorNotice, { error, t }) : null,
    !data && !error ? h(Loading, { t }) : null,
    data && data.total_matching != null
      ? h(C.Text, { color: "fg.muted", fontSize: "sm" }, t("matching", { count: t.number(data.total_matching) }))
      : null,
    data?.jobs.length ? h(JobRows, { campaign, jobs: data.jobs, t }) : null,
    data && !data.jobs.length ? h(Empty, { title: t(filtered ? "noJobs" : "noJobsYet") }) : null,
    data ? h(Pager, { after: values.after, next: data.next, onGo: (after) => change({ after }), t }) : null,
  );
}

export function JobsTab({ answer, t }) {
  const [values, change] = useFilters([...FILTERS, "job", "after"]);
  const { campaign } = answer;
  if (values.job) return h(JobPage, { campaign, reference: values.job, t });
  return h(JobList, { answer, change, t, values });
}
