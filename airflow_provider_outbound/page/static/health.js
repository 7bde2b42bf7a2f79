/* Whether results arrive: collectors, topics, the ledger, and messages that could not be read. */

import { address, forget, post, usePolling } from "./api.js";
import { Confirm } from "./dialog.js";
import {
  Announcement,
  BackToList,
  C,
  ErrorNotice,
  Figure,
  Loading,
  Notice,
  Pager,
  Rows,
  Section,
  h,
  useFilters,
  useState,
} from "./ui.js";

function Muted({ children }) {
  return h(C.Text, { color: "fg.muted", fontSize: "sm" }, children);
}

function Figures({ health, t }) {
  const { ledger, quarantine, recovered, throttled } = health;
  const old = ledger.schema !== ledger.head;
  const delayText = ({ connection, delay_seconds: seconds }) => `${connection}: ${t("delay", { seconds: t.decimal(seconds) })}`;
  return h(
    C.Stack,
    { gap: "3" },
    health.no_messages ? h(Notice, { status: "warning", title: t("attention_no_messages_all") }, health.no_messages) : null,
    old ? h(Notice, { status: "error", title: t("schemaOld", { head: ledger.head, schema: ledger.schema }) }) : null,
    h(
      C.SimpleGrid,
      { columns: { base: 1, md: 2, xl: 4 }, gap: "3" },
      h(Figure, {
        label: t("ledger"),
        note: `${ledger.url_kind} · ${t("schema")} ${old ? ledger.schema : t("schemaOk", { schema: ledger.schema })}`,
        value: t.size(ledger.size_bytes),
      }),
      h(Figure, {
        label: t("recovered"),
        note: t("recoveredNote", { count: t.number(recovered.from_api), total: t.number(recovered.results) }),
        value: t.percent(recovered.share),
      }),
      h(Figure, {
        label: t("throttled"),
        note: throttled.length ? t("throttledNote") : null,
        value: throttled.length ? throttled.map(delayText).join(", ") : t("ok"),
      }),
      h(Figure, { label: t("quarantined"), value: t.number(quarantine) }),
    ),
  );
}

const collectorColumns = (t) => [
  { cell: (row) => row.host, key: "host", label: t("host") },
  { cell: (row) => row.process, end: true, key: "process", label: t("process") },
  { cell: (row) => t(row.is_running ? "runs" : "stopped"), key: "state", label: t("stateLabel") },
  { cell: (row) => row.subscription, key: "subscription", label: t("subscription") },
  { cell: (row) => t.time(row.since), key: "since", label: t("since") },
  { cell: (row) => t.time(row.last_answer), key: "answer", label: t("lastAnswer") },
  { cell: (row) => t.time(row.last_message), key: "message", label: t("lastMessage") },
  { cell: (row) => t.duration(row.lag_seconds), end: true, key: "lag", label: t("lag") },
  {
    cell: (row) => (row.trouble ? h(C.Text, { color: "red.fg" }, row.trouble) : t("ok")),
    key: "trouble",
    label: t("trouble"),
    wide: "12rem",
  },
];

const topicColumns = (t) => [
  { cell: (row) => row.topic, key: "topic", label: t("topic") },
  { cell: (row) => t.time(row.last_message), key: "message", label: t("lastMessage") },
];

function messageColumns(t, canEdit, ask) {
  const button = (message, action) =>
    h(
      C.Button,
      {
        "aria-label": t(`${action}Of`, { name: message.name.slice(0, 12) }),
        colorPalette: action === "drop" ? "red" : "brand",
        key: action,
        onClick: () => ask({ action, name: message.name }),
        size: "xs",
        variant: "outline",
      },
      t(action),
    );
  return [
    { cell: (row) => row.name.slice(0, 12), key: "name", label: t("messageId") },
    { cell: (row) => row.topic, key: "topic", label: t("topic") },
    { cell: (row) => row.reason, key: "reason", label: t("reasonLabel"), wide: "10rem" },
    { cell: (row) => t.time(row.received), key: "received", label: t("received") },
    { cell: (row) => t.number(row.size), end: true, key: "size", label: t("bytes") },
    {
      cell: (row) => h(C.Box, { as: "code", fontSize: "xs", overflowWrap: "anywhere" }, row.body),
      key: "content",
      label: t("body"),
      wide: "12rem",
    },
    canEdit && {
      cell: (row) => h(C.HStack, { gap: "2" }, button(row, "replay"), button(row, "drop")),
      key: "actions",
      label: "",
    },
  ].filter(Boolean);
}

function Quarantine({ canEdit, onDone, t }) {
  const [{ after }, change] = useFilters(["after"]);
  const { data, error, reload } = usePolling(address("quarantine", { after }));
  const [asked, setAsked] = useState(null);
  const [shown, setShown] = useState({ action: "replay", name: "" });
  const ask = (question) => {
    setShown(question);
    setAsked(question);
  };
  const act = async () => {
    await post(`quarantine/${encodeURIComponent(shown.name)}/${shown.action}`);
    forget();
    reload();
    onDone(t(`did_${shown.action}`));
  };
  return h(
    Section,
    { title: t("quarantine") },
    h(C.Box, { mb: "3" }, h(Muted, null, t(data && !data.messages.length ? "noQuarantine" : "quarantineAbout"))),
    error ? h(ErrorNotice, { error, t }) : null,
    data?.messages.length
      ? h(Rows, {
          columns: messageColumns(t, canEdit, ask),
          label: t("quarantine"),
          rowKey: (row) => row.name,
          rows: data.messages,
        })
      : null,
    data ? h(Pager, { after, next: data.next, onGo: (cursor) => change({ after: cursor }), t }) : null,
    h(
      Confirm,
      {
        act,
        button: t(shown.action),
        danger: shown.action === "drop",
        onClose: () => setAsked(null),
        open: asked !== null,
        t,
        title: t(`${shown.action}Title`, { name: shown.name.slice(0, 12) }),
      },
      h(C.Text, null, t(`${shown.action}Text`)),
    ),
  );
}

function Health({ health, onDone, t }) {
  const { collectors, topics } = health;
  return h(
    C.Stack,
    { gap: "4" },
    h(Figures, { health, t }),
    h(
      Section,
      { title: t("collectors") },
      collectors.length
        ? h(Rows, {
            columns: collectorColumns(t),
            label: t("collectors"),
            rowKey: (row) => `${row.host} ${row.process} ${row.subscription}`,
            rows: collectors,
          })
        : h(Muted, null, t("noCollectors")),
    ),
    h(
      Section,
      { title: t("topics") },
      topics.length
        ? h(Rows, { columns: topicColumns(t), label: t("topics"), rowKey: (row) => row.topic, rows: topics })
        : h(Muted, null, t("noTopics")),
    ),
    h(Quarantine, { canEdit: health.can_edit, onDone, t }),
  );
}

export function HealthPage({ t }) {
  const { data, error, reload } = usePolling("health");
  const [did, setDid] = useState("");
  const onDone = (sentence) => {
    setDid(sentence);
    reload();
  };
  return h(
    C.Stack,
    { gap: "4" },
    h(BackToList, { t }),
    h(C.Heading, { as: "h1", size: "lg" }, t("health")),
    h(Announcement, { text: did }),
    error?.status === 404 ? h(Notice, { status: "warning", title: t("noHealth") }) : error ? h(ErrorNotice, { error, t }) : null,
    !data && !error ? h(Loading, { t }) : null,
    data ? h(Health, { health: data, onDone, t }) : null,
  );
}
