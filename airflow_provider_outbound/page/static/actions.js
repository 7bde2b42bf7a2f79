/* Suspend, resume and cancel, each after a dialog that says how many people are affected. */

import { forget, get, post } from "./api.js";
import { Confirm } from "./dialog.js";
import { C, ErrorNotice, Notice, h, useEffect, useState } from "./ui.js";

/* How many people an action concerns; asked for anew each time the dialog opens. */
function useEffectOf(path) {
  const [state, setState] = useState({});
  useEffect(() => {
    setState({});
    if (!path) return undefined;
    const aborted = new AbortController();
    get(path, aborted.signal).then(
      (effect) => setState({ effect }),
      (error) => !aborted.signal.aborted && setState({ error }),
    );
    return () => aborted.abort();
  }, [path]);
  return state;
}

function EffectText({ action, effect, t }) {
  const count = effect.affected;
  const sentence = t(count === 1 ? `effect_one_${action}` : `effect_${action}`, { count: t.number(count) });
  return h(
    C.Stack,
    { gap: "3" },
    h(C.Text, null, sentence),
    effect.warning ? h(Notice, { status: "warning", title: effect.warning }) : null,
  );
}

export function Actions({ campaign, actions, onDone, t }) {
  const [action, setAction] = useState(null);
  const [shown, setShown] = useState("suspend"); // the closing dialog keeps its words
  const base = `campaigns/${encodeURIComponent(campaign.id)}`;
  const { effect, error } = useEffectOf(action ? `${base}/actions/${action}` : null);
  if (!campaign.can_edit) return null;
  const act = async () => {
    await post(`${base}/${action}`);
    forget();
    onDone(t(`did_${action}`, { name: campaign.name }));
  };
  return h(
    C.HStack,
    { flexWrap: "wrap", gap: "2" },
    actions.map((name) =>
      h(
        C.Button,
        {
          colorPalette: name === "cancel" ? "red" : "brand",
          key: name,
          onClick: () => {
            setShown(name);
            setAction(name);
          },
          size: "sm",
          variant: name === "cancel" ? "outline" : "solid",
        },
        t.of("action", name),
      ),
    ),
    h(
      Confirm,
      {
        act,
        button: t.of("action", shown),
        danger: shown === "cancel",
        onClose: () => setAction(null),
        open: action !== null,
        ready: effect !== undefined,
        t,
        title: t(`action_${shown}`, { name: campaign.name }),
      },
      effect ? h(EffectText, { action: shown, effect, t }) : null,
      error ? h(ErrorNotice, { error, t }) : null,
      !effect && !error ? h(C.Text, null, t("loading")) : null,
    ),
  );
}
