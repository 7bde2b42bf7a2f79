/* One person's history across campaigns. The number is sent in a body, and lives only while the dialog is open. */

import { post } from "./api.js";
import { Dialog } from "./dialog.js";
import { C, ErrorNotice, OutcomeLabel, PageLink, TextField, campaignUrl, h, useState } from "./ui.js";

function Histories({ found, t }) {
  if (found.length === 0) return h(C.Text, null, t("personNotFound"));
  return h(
    C.Stack,
    { as: "ul", gap: "3", listStyleType: "none" },
    found.map(({ campaign, job }) =>
      h(
        C.Box,
        { as: "li", borderTopWidth: "1px", key: `${campaign.id} ${job.reference_id}`, pt: "3" },
        h(
          PageLink,
          { fontWeight: "medium", to: campaignUrl(campaign.id, { job: job.reference_id, tab: "jobs" }) },
          campaign.name,
        ),
        h(
          C.HStack,
          { flexWrap: "wrap", fontSize: "sm", gap: "3" },
          h(OutcomeLabel, { outcome: job.outcome, t }),
          h("span", null, job.phone),
          h("span", null, `${t("attempts")}: ${t.number(job.attempts)}`),
          h("span", null, t.time(job.last_call ?? job.assigned)),
        ),
      ),
    ),
  );
}

function SearchForm({ t }) {
  const [number, setNumber] = useState("");
  const [state, setState] = useState({});
  const search = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const { campaigns } = await post("person/search", { phone_number: number.trim() });
      setState({ found: campaigns });
    } catch (error) {
      if (typeof error.text !== "function") throw error;
      setState({ error });
    }
  };
  return h(
    C.Stack,
    { gap: "4" },
    h(C.Text, { fontSize: "sm" }, t("findPersonText")),
    h(
      C.Stack,
      { as: "form", gap: "3", onSubmit: search },
      h(TextField, {
        autoComplete: "off",
        hint: t("phoneHint"),
        inputMode: "tel",
        label: t("phone"),
        onChange: (event) => setNumber(event.target.value),
        required: true,
        value: number,
      }),
      h(
        C.Box,
        null,
        h(
          C.Button,
          { colorPalette: "brand", disabled: !number.trim(), loading: state.busy, size: "sm", type: "submit" },
          t("search"),
        ),
      ),
    ),
    h(
      C.Box,
      { "aria-live": "polite" },
      state.found ? h(Histories, { found: state.found, t }) : null,
      state.error ? h(ErrorNotice, { error: state.error, t }) : null,
    ),
  );
}

export function PersonSearch({ t }) {
  const [open, setOpen] = useState(false);
  return h(
    C.Box,
    null,
    h(C.Button, { onClick: () => setOpen(true), size: "sm", variant: "outline" }, t("findPerson")),
    h(
      Dialog,
      {
        footer: h(C.Button, { onClick: () => setOpen(false), variant: "outline" }, t("close")),
        onClose: () => setOpen(false),
        open,
        t,
        title: t("findPerson"),
      },
      h(SearchForm, { t }),
    ),
  );
}
