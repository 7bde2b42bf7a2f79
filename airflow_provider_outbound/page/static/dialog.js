/* Dialogs: Chakra keeps the focus inside, closes them with Esc, and gives the focus back. */

import { C, ErrorNotice, h, useEffect, useRef, useState } from "./ui.js";

/**
 * Chakra's portal: a dialog belongs to the page's body, above Airflow's navigation.
 *
 * @param {object} [first] ref of what has the focus first; an alert dialog of Chakra needs it, or it has no focus at all
 */
export function Dialog({ open, onClose, role, title, children, footer, first, t, size = "md" }) {
  return h(
    C.Dialog.Root,
    {
      ...(first ? { initialFocusEl: () => first.current } : {}),
      lazyMount: true,
      onOpenChange: (change) => !change.open && onClose(),
      open,
      placement: "center",
      role,
      scrollBehavior: "inside",
      size,
      unmountOnExit: true,
    },
    h(
      C.Portal,
      null,
      h(C.Dialog.Backdrop),
      h(
        C.Dialog.Positioner,
        null,
        h(
          C.Dialog.Content,
          { lang: t.locale, mx: "2" },
          h(C.Dialog.Header, null, h(C.Dialog.Title, { overflowWrap: "anywhere" }, title)),
          h(C.Dialog.Body, null, children),
          footer ? h(C.Dialog.Footer, null, footer) : null,
        ),
      ),
    ),
  );
}

/**
 * A question before something that cannot be taken back.
 *
 * @param {() => Promise<void>} act what the button does; its error is shown in the dialog, which stays open
 */
export function Confirm({ open, onClose, title, children, button, danger, ready = true, act, t }) {
  const [state, setState] = useState({ busy: false, error: null });
  useEffect(() => setState({ busy: false, error: null }), [open]);
  const confirm = async () => {
    setState({ busy: true, error: null });
    try {
      await act();
    } catch (error) {
      if (typeof error.text !== "function") throw error;
      setState({ busy: false, error });
      return;
    }
    onClose();
  };
  const harmless = useRef(null);
  const footer = [
    h(C.Button, { key: "no", onClick: onClose, ref: harmless, variant: "outline" }, t("doNothing")),
    h(
      C.Button,
      { colorPalette: danger ? "red" : "brand", disabled: !ready, key: "yes", loading: state.busy, onClick: confirm },
      button,
    ),
  ];
  return h(
    Dialog,
    { first: harmless, footer, onClose, open, role: "alertdialog", t, title },
    h(C.Stack, { gap: "3" }, children, state.error ? h(ErrorNotice, { error: state.error, t }) : null),
  );
}
