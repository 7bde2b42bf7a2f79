/* What all modules share: Airflow's React and Chakra, and small pieces drawn with them. */

const React = globalThis.React;

export const C = globalThis.ChakraUI;
export const { Link: RouterLink, useNavigate, useParams, useSearchParams } = globalThis.ReactRouterDOM;
export const { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } = React;
export const h = React.createElement;

/* Colours are Airflow's tokens, so that they follow light and dark. */
export const color = (token) => `var(--chakra-colors-${token.replaceAll(".", "-")})`;

export const OUTCOMES = ["answered", "unanswered", "not_dialled", "other"];

const OUTCOME_COLORS = {
  answered: "green.solid",
  unanswered: "amber.solid",
  not_dialled: "purple.solid",
  other: "gray.solid",
  open: "border.emphasized",
};
export const outcomeColor = (key) => OUTCOME_COLORS[key] ?? "blue.solid";

const STATE_PALETTES = {
  assigning: "blue",
  waiting: "blue",
  running: "green",
  suspended: "orange",
  completed: "gray",
  failed: "red",
  cancelled: "gray",
  draft: "gray",
  unknown: "gray",
};

export const NAV_ROUTE = "/plugin/outbound";
export const campaignUrl = (id, query) => {
  const parameters = query ? `?${new URLSearchParams(query)}` : "";
  return `${NAV_ROUTE}/campaign/${encodeURIComponent(id)}${parameters}`;
};

export function PageLink({ to, children, ...props }) {
  return h(C.Link, { asChild: true, color: "fg.info", textDecoration: "underline", ...props }, h(RouterLink, { to }, children));
}

export function StateBadge({ state, t }) {
  return h(C.Badge, { colorPalette: STATE_PALETTES[state] ?? "gray", variant: "surface" }, t.of("state", state));
}

export function OutcomeLabel({ outcome, t }) {
  const key = outcome ?? "open";
  return h(
    C.HStack,
    { as: "span", display: "inline-flex", gap: "1.5", whiteSpace: "nowrap" },
    h(Swatch, { token: outcomeColor(key) }),
    t.of("outcome", key),
  );
}

export function Swatch({ token }) {
  const edge = token === OUTCOME_COLORS.open ? { borderColor: "fg.subtle", borderWidth: "1px" } : {}; // it is the colour of the ground
  return h(C.Box, { as: "span", "aria-hidden": true, bg: token, borderRadius: "sm", boxSize: "2.5", flexShrink: 0, ...edge });
}

/* Colours in words; `series`: {key, label, token}. */
export function Legend({ series }) {
  return h(
    C.HStack,
    { flexWrap: "wrap", fontSize: "sm", gap: "4", mb: "2" },
    series.map(({ key, label, token }) => h(C.HStack, { as: "span", gap: "1.5", key }, h(Swatch, { token }), label)),
  );
}

/* The message of an error in the colour of its kind; `error.fix` says what to do. */
export function Notice({ status = "info", title, children, ...props }) {
  return h(
    C.Alert.Root,
    { role: status === "error" ? "alert" : undefined, status, ...props },
    h(C.Alert.Indicator),
    h(
      C.Alert.Content,
      { minW: 0 },
      h(C.Alert.Title, { overflowWrap: "anywhere" }, title),
      children ? h(C.Alert.Description, { overflowWrap: "anywhere" }, children) : null,
    ),
  );
}

export function ErrorNotice({ error, t }) {
  return h(Notice, { status: "error", title: error.text(t) }, error.fixText(t));
}

export function Section({ title, aside, children, ...props }) {
  const id = useId();
  return h(
    C.Box,
    { as: "section", "aria-labelledby": id, borderRadius: "lg", borderWidth: "1px", minW: 0, p: "4", ...props },
    h(
      C.Flex,
      { align: "baseline", flexWrap: "wrap", gap: "2", justify: "space-between", mb: "3" },
      h(C.Heading, { as: "h2", id, size: "sm" }, title),
      aside ? h(C.Text, { color: "fg.muted", fontSize: "sm" }, aside) : null,
    ),
    children,
  );
}

/* One number with its name; `note` says what it is about. */
export function Figure({ label, value, note, warn }) {
  return h(
    C.Stat.Root,
    { borderRadius: "lg", borderWidth: "1px", minW: 0, p: "3", size: "sm" },
    h(C.Stat.Label, null, label),
    h(C.Stat.ValueText, { fontSize: "lg", overflowWrap: "anywhere" }, value),
    note ? h(C.Stat.HelpText, { as: "dd", color: warn ? "red.fg" : "fg.muted", m: 0, overflowWrap: "anywhere" }, note) : null,
  );
}

export function Loading({ t }) {
  return h(
    C.Stack,
    { gap: "3", role: "status" },
    h(C.VisuallyHidden, null, t("loading")),
    h(C.Skeleton, { height: "10" }),
    h(C.Skeleton, { height: "10" }),
    h(C.Skeleton, { height: "10" }),
  );
}

export function Empty({ title, children }) {
  return h(
    C.EmptyState.Root,
    { size: "md" },
    h(
      C.EmptyState.Content,
      null,
      h(C.EmptyState.Title, null, title),
      children ? h(C.EmptyState.Description, { maxW: "2xl", textAlign: "center" }, children) : null,
    ),
  );
}

/* A labelled select: `options` are pairs of value and label; the first one stands for "all". */
export function Choice({ label, value, options, onChange }) {
  const id = useId();
  const known = options.some(([key]) => key === value) ? options : [...options, [value, value]];
  return h(
    C.Box,
    { minW: "0" },
    h(C.Text, { as: "label", color: "fg.muted", display: "block", fontSize: "xs", htmlFor: id, mb: "1" }, label),
    h(
      C.NativeSelect.Root,
      { size: "sm" },
      h(
        C.NativeSelect.Field,
        { id, onChange: (event) => onChange(event.target.value), value },
        known.map(([key, text]) => h("option", { key, value: key }, text)),
      ),
      h(C.NativeSelect.Indicator),
    ),
  );
}

export function TextField({ label, hint, ...props }) {
  const id = useId();
  return h(
    C.Box,
    { minW: "0" },
    h(C.Text, { as: "label", color: "fg.muted", display: "block", fontSize: "xs", htmlFor: id, mb: "1" }, label),
    h(C.Input, { "aria-describedby": hint ? `${id}-hint` : undefined, id, size: "sm", ...props }),
    hint ? h(C.Text, { color: "fg.muted", fontSize: "xs", id: `${id}-hint`, mt: "1" }, hint) : null,
  );
}

/* Next page and back to the first one; the cursor is part of the address, so the browser's back button works. */
export function Pager({ next, after, onGo, t }) {
  if (!next && !after) return null;
  return h(
    C.HStack,
    { as: "nav", "aria-label": t("pages"), justify: "flex-end", mt: "3" },
    h(C.Button, { disabled: !after, onClick: () => onGo(""), size: "sm", variant: "outline" }, t("firstPage")),
    h(C.Button, { disabled: !next, onClick: () => onGo(next), size: "sm", variant: "outline" }, t("nextPage")),
  );
}

/* The query string as filters: an empty value is absent, and each change starts at the first page again. */
export function useFilters(names) {
  const [parameters, setParameters] = useSearchParams();
  const values = Object.fromEntries(names.map((name) => [name, parameters.get(name) ?? ""]));
  const change = useCallback(
    (changes, options) =>
      setParameters((previous) => {
        const next = new URLSearchParams(previous);
        if (!("after" in changes)) next.delete("after");
        for (const [name, value] of Object.entries(changes)) {
          if (value) next.set(name, value);
          else next.delete(name);
        }
        return next;
      }, options),
    [setParameters],
  );
  return [values, change];
}

const NARROW = globalThis.matchMedia("(max-width: 999px)");

function watchWidth(changed) {
  NARROW.addEventListener("change", changed);
  return () => NARROW.removeEventListener("change", changed);
}

/* Rows as a table where there is room, and as cards on a phone. `columns`: {key, label, cell, end, wide}. */
export function Rows({ label, columns, rows, rowKey, highlight }) {
  const narrow = useSyncExternalStore(watchWidth, () => NARROW.matches);
  if (narrow) {
    return h(
      C.Stack,
      { "aria-label": label, as: "ul", gap: "3", listStyleType: "none" },
      rows.map((row) =>
        h(
          C.Box,
          {
            as: "li",
            bg: highlight?.(row) ? "bg.muted" : undefined,
            borderRadius: "md",
            borderWidth: "1px",
            key: rowKey(row),
            p: "3",
          },
          h(C.Box, { fontWeight: "medium", mb: "2", overflowWrap: "anywhere" }, columns[0].cell(row)),
          h(
            C.Box,
            {
              as: "dl",
              columnGap: "3",
              display: "grid",
              fontSize: "sm",
              gridTemplateColumns: "auto minmax(0, 1fr)",
              rowGap: "1",
            },
            columns
              .slice(1)
              .flatMap((column) => [
                h(C.Box, { as: "dt", color: "fg.muted", key: `${column.key}-label` }, column.label),
                h(C.Box, { as: "dd", key: column.key, overflowWrap: "anywhere" }, column.cell(row)),
              ]),
          ),
        ),
      ),
    );
  }
  return h(
    C.Table.ScrollArea,
    { borderRadius: "lg", borderWidth: "1px", tabIndex: 0, role: "region", "aria-label": label },
    h(
      C.Table.Root,
      { size: "sm", "aria-label": label },
      h(
        C.Table.Header,
        null,
        h(
          C.Table.Row,
          { bg: "bg.subtle" },
          columns.map((column) =>
            h(
              C.Table.ColumnHeader,
              { key: column.key, scope: "col", textAlign: column.end ? "end" : "start", whiteSpace: "nowrap" },
              column.label,
            ),
          ),
        ),
      ),
      h(
        C.Table.Body,
        null,
        rows.map((row) =>
          h(
            C.Table.Row,
            { bg: highlight?.(row) ? "bg.muted" : undefined, key: rowKey(row) },
            columns.map((column) =>
              h(
                C.Table.Cell,
                {
                  key: column.key,
                  minW: column.wide,
                  textAlign: column.end ? "end" : "start",
                  verticalAlign: "top",
                  whiteSpace: column.wide ? "normal" : "nowrap",
                },
                column.cell(row),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

/* A button that empties the filters with these names. */
export function ClearFilters({ change, names, t, values }) {
  return h(
    C.Flex,
    { align: "flex-end" },
    h(
      C.Button,
      {
        disabled: names.every((name) => !values[name]),
        onClick: () => change(Object.fromEntries(names.map((name) => [name, ""]))),
        size: "sm",
        variant: "outline",
      },
      t("clear"),
    ),
  );
}

/* The first line of a page below the list: the way back, and the time zone of all times. */
export function BackToList({ t }) {
  return h(
    C.Flex,
    { flexWrap: "wrap", gap: "2", justify: "space-between" },
    h(PageLink, { fontSize: "sm", to: NAV_ROUTE }, t("allCampaigns")),
    h(C.Text, { color: "fg.muted", fontSize: "sm" }, t("timesIn", { zone: t.zone })),
  );
}

/* What an action did; a screen reader says it when it appears. */
export function Announcement({ text }) {
  const notice = text ? h(Notice, { status: "success", title: text }) : null;
  return h(C.Box, { "aria-live": "polite", mt: text ? "0" : "-4" }, notice);
}
