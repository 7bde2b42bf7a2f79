/* Stacked columns with a crosshair, drawn as SVG. The same numbers stand in a table for who cannot see them. */

import { C, Legend, color, h, useId, useLayoutEffect, useRef, useState } from "./ui.js";

export const SMALL = { fontSize: "11px" };
const HEIGHT = 200;
const WIDEST = 64;
const MARGIN = { bottom: 22, left: 44, right: 6, top: 8 };

/* The width of an element, so that text in a drawing keeps its size on a phone. */
export function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    setWidth(Math.max(200, ref.current.getBoundingClientRect().width));
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(200, entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/* Round values of an axis from 0 to at least `max`: 1, 2 or 5 times a power of ten apart. */
export function axisTicks(max, count = 4) {
  const rough = Math.max(max, 1e-9) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const last = Math.ceil(max / step - 1e-9);
  return Array.from({ length: last + 1 }, (_, index) => index * step);
}

export function HiddenTable({ caption, head, rows }) {
  return h(
    C.VisuallyHidden,
    null,
    h(
      "table",
      null,
      h("caption", null, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((text) => h("th", { key: text, scope: "col" }, text)),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row, index) =>
          h(
            "tr",
            { key: index },
            row.map((cell, place) => h(place ? "td" : "th", { key: place, scope: place ? undefined : "row" }, cell)),
          ),
        ),
      ),
    ),
  );
}

function Axis({ ticks, y, width, format }) {
  return ticks.map((value) =>
    h(
      "g",
      { key: value },
      h("line", { stroke: color("border.muted"), x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      h(
        "text",
        { dominantBaseline: "middle", fill: color("fg.muted"), style: SMALL, textAnchor: "end", x: MARGIN.left - 6, y: y(value) },
        format(value),
      ),
    ),
  );
}

function Column({ item, series, x, width, y, faded }) {
  let below = 0;
  return h(
    "g",
    { opacity: faded ? 0.55 : 1 },
    series.map(({ key, token }, place) => {
      const value = item.values[place];
      const top = y(below + value);
      const height = y(below) - top;
      below += value;
      return height > 0 ? h("rect", { fill: color(token), height, key, width, x, y: top }) : null;
    }),
  );
}

/* Labels under the columns, as many as fit; `room` is the width that one needs. */
function labelled(items, plotWidth, room) {
  const every = Math.max(1, Math.ceil(items.length / Math.max(1, Math.floor(plotWidth / room))));
  return items.map((item, index) => ({ index, text: item.label })).filter(({ index }) => index % every === 0);
}

function useCrosshair(count, locate) {
  const [at, setAt] = useState(null);
  const move = { ArrowLeft: -1, ArrowRight: 1 };
  return [
    at !== null && at < count ? at : null,
    {
      onBlur: () => setAt(null),
      onKeyDown: (event) => {
        const known = event.key in move || event.key === "Home" || event.key === "End" || event.key === "Escape";
        if (!known || !count) return;
        event.preventDefault();
        setAt((previous) => {
          if (event.key === "Escape") return null;
          if (event.key === "Home" || previous === null) return 0;
          if (event.key === "End") return count - 1;
          return Math.min(count - 1, Math.max(0, previous + move[event.key]));
        });
      },
      onPointerLeave: () => setAt(null),
      onPointerMove: (event) => setAt(locate(event)),
    },
  ];
}

/**
 * @param {{key: string, label: string, title: string, values: number[]}[]} items columns, in order
 * @param {{key: string, label: string, token: string}[]} series parts of a column, from below
 * @param {(item: object) => string} describe the sentence of one column, for the crosshair
 * @param {{head: string[], row: (item: object) => string[]}} table the same numbers in words
 */
export function ColumnChart({ title, hint, items, series, describe, table, max, format, labelRoom = 56 }) {
  const [ref, width] = useWidth();
  const status = useId();
  const plot = width - MARGIN.left - MARGIN.right;
  const step = plot / Math.max(1, items.length);
  const ticks = axisTicks(max ?? Math.max(1, ...items.map((item) => item.values.reduce((sum, value) => sum + value, 0))));
  const top = ticks.at(-1);
  const y = (value) => HEIGHT - MARGIN.bottom - (value / top) * (HEIGHT - MARGIN.bottom - MARGIN.top);
  const locate = (event) => {
    const index = Math.floor((event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left) / step);
    return index >= 0 && index < items.length ? index : null;
  };
  const [at, handlers] = useCrosshair(items.length, locate);
  const middle = at === null ? 0 : MARGIN.left + (at + 0.5) * step;
  return h(
    C.Box,
    null,
    series.length > 1 ? h(Legend, { series }) : null,
    h(
      C.Box,
      { "aria-describedby": status, "aria-label": hint, position: "relative", ref, role: "group", tabIndex: 0, ...handlers },
      h(
        "svg",
        { "aria-hidden": true, height: HEIGHT, style: { display: "block", touchAction: "pan-y" }, width: "100%" },
        h(Axis, { format, ticks, width, y }),
        items.map((item, index) => {
          const gap = step > 6 ? Math.min(step * 0.2, 8) : 0;
          const wide = Math.min(WIDEST, Math.max(0.5, step - gap));
          return h(Column, {
            faded: at !== null && at !== index,
            item,
            key: item.key,
            series,
            width: wide,
            x: MARGIN.left + index * step + (step - wide) / 2,
            y,
          });
        }),
        labelled(items, plot, labelRoom).map(({ index, text }) =>
          h(
            "text",
            {
              fill: color("fg.muted"),
              key: index,
              style: SMALL,
              textAnchor: "middle",
              x: Math.max(MARGIN.left + 10, MARGIN.left + (index + 0.5) * step),
              y: HEIGHT - 6,
            },
            text,
          ),
        ),
        at === null
          ? null
          : h("line", {
              stroke: color("fg"),
              strokeDasharray: "3 3",
              x1: middle,
              x2: middle,
              y1: MARGIN.top,
              y2: HEIGHT - MARGIN.bottom,
            }),
      ),
      h(
        C.Box,
        { "aria-live": "polite", fontSize: "sm", id: status, minH: "6" },
        at === null ? "" : `${items[at].title}: ${describe(items[at])}`,
      ),
    ),
    h(HiddenTable, { caption: title, head: table.head, rows: items.map(table.row) }),
  );
}

/* Shares as horizontal bars. It is a table itself, so it needs no hidden one. */
export function BarTable({ caption, head, rows, total, t }) {
  return h(
    C.Box,
    { as: "table", fontSize: "sm", tableLayout: "fixed", w: "full" },
    h(C.VisuallyHidden, { as: "caption" }, caption),
    h(
      "thead",
      null,
      h(
        C.VisuallyHidden,
        { as: "tr" },
        head.map((text) => h("th", { key: text, scope: "col" }, text)),
      ),
    ),
    h(
      "tbody",
      null,
      rows.map(({ key, label, count, token }) =>
        h(
          "tr",
          { key },
          h(
            C.Box,
            {
              as: "th",
              fontWeight: "normal",
              overflowWrap: "anywhere",
              pe: "3",
              py: "1",
              scope: "row",
              textAlign: "start",
              w: "38%",
            },
            label,
          ),
          h(
            C.Box,
            { as: "td", py: "1" },
            h(
              C.Flex,
              { align: "center", gap: "2" },
              h(
                C.Box,
                { "aria-hidden": true, flex: "1", h: "3.5", minW: "4" },
                h(C.Box, {
                  bg: token ?? "blue.solid",
                  borderRadius: "sm",
                  h: "full",
                  minW: count ? "2px" : "0",
                  w: `${total ? Math.min(100, (count / total) * 100) : 0}%`,
                }),
              ),
              h(
                C.Text,
                { as: "span", fontVariantNumeric: "tabular-nums", whiteSpace: "nowrap" },
                `${t.number(count)} · ${t.percent(total ? count / total : 0)}`,
              ),
            ),
          ),
        ),
      ),
    ),
  );
}
