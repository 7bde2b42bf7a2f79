/* Which page a path means: the list, one campaign, or the health of ledger and collectors. */

import { CampaignPage } from "./campaign.js";
import { CampaignList, RunCampaigns } from "./campaigns.js";
import { HealthPage } from "./health.js";
import { useText } from "./text.js";
import { C, h, useParams } from "./ui.js";

export function Page({ dagId, runId }) {
  const t = useText();
  const path = useParams()["*"] ?? "";
  const [kind, ...rest] = path.split("/");
  let page = h(CampaignList, { t });
  if (runId) page = h(RunCampaigns, { dagId, runId, t });
  else if (kind === "campaign" && rest.length) page = h(CampaignPage, { id: rest.join("/"), key: path, t });
  else if (kind === "health") page = h(HealthPage, { t });
  return h(C.Box, { "data-page": "outbound", lang: t.locale, maxW: "full", minW: 0, p: { base: "2", md: "4" } }, page);
}
