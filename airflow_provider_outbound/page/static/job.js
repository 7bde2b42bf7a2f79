/* One job: its attempts with their times, and its tags. */

import { usePolling } from "./api.js";
import { C, Empty, ErrorNotice, Loading, OutcomeLabel, PageLink, Rows, Section, campaignUrl, h } from "./ui.js";

function Fact({ label, children }) {
  return h(
    C.Box,
    { minW: 0 },
    h(C.Text, { as: "dt", color: "fg.muted", fontSize: "xs" }, label),
    h(C.Box, { as: "dd", overflowWrap: "anywhere" }, children),
  );
}

function Facts({ job, t }) {
  return h(
    C.SimpleGrid,
    { as: "dl", columns: { base: 2, md: 4 }, fontSize: "sm", gap: "3" },
    h(Fact, { label: t("outcomeLabel") }, h(OutcomeLabel, { outcome: job.outcome, t })),
    h(Fact, { label: t("statusLabel") }, t.of("jobStatus", job.status)),
    h(Fact, { label: t("detail") }, t.detail(job)),
    h(Fact, { label: t("phone") }, job.phone),
    h(Fact, { label: t("assigned") }, t.fullTime(job.assigned)),
    h(Fact, { label: t("ended") }, t.fullTime(job.ended)),
    h(Fact, { label: t("talk") }, t.duration(job.talk_seconds)),
    h(Fact, { label: t("tags") }, job.tags.length ? job.tags.join(", ") : t("none")),
  );
}

const callColumns = (t) => [
  { cell: (call) => t.number(call.attempt), key: "attempt", label: t("attempt") },
  { cell: (call) => t.of("call", call.status), key: "status", label: t("statusLabel") },
  { cell: (call) => t.fullTime(call.started), key: "started", label: t("started") },
  { cell: (call) => t.fullTime(call.ended), key: "ended", label: t("ended") },
  { cell: (call) => t.duration(call.seconds), end: true, key: "seconds", label: t("duration") },
  { cell: (call) => call.hung_up_by ?? t("none"), key: "side", label: t("hungUpBy") },
  { cell: (call) => call.reason ?? t("none"), key: "reason", label: t("endReason") },
  { cell: (call) => call.caller ?? t("none"), key: "caller", label: t("caller") },
];

function JobDetail({ answer, t }) {
  const { calls, job } = answer;
  return h(
    C.Stack,
    { gap: "4" },
    h(C.Heading, { as: "h2", overflowWrap: "anywhere", size: "md" }, t("jobTitle", { reference: job.reference_id })),
    h(Facts, { job, t }),
    h(
      Section,
      { title: t("calls") },
      calls.length
        ? h(Rows, { columns: callColumns(t), label: t("calls"), rowKey: (call) => call.attempt, rows: calls })
        : h(C.Text, { color: "fg.muted", fontSize: "sm" }, t("neverCalled")),
    ),
  );
}

export function JobPage({ campaign, reference, t }) {
  const path = `campaigns/${encodeURIComponent(campaign.id)}/jobs/${encodeURIComponent(reference)}`;
  const { data, error } = usePolling(path, (answer) => answer.job.outcome === null);
  return h(
    C.Stack,
    { gap: "4" },
    h(PageLink, { alignSelf: "flex-start", fontSize: "sm", to: campaignUrl(campaign.id, { tab: "jobs" }) }, t("backToJobs")),
    error ? h(ErrorNotice, { error, t }) : null,
    !data && !error ? h(Loading, { t }) : null,
    data ? h(JobDetail, { answer: data, t }) : null,
  );
}
