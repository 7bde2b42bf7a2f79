/* The page "Campaigns" and the tab on a DAG run: one component, chosen by the path and by Airflow's props. */

const NEEDED = {
  React: ["createElement", "useEffect", "useId", "useLayoutEffect", "useMemo", "useRef", "useState", "useSyncExternalStore"],
  ChakraUI: [
    "Alert",
    "Badge",
    "Box",
    "Button",
    "Dialog",
    "EmptyState",
    "Flex",
    "HStack",
    "Heading",
    "Input",
    "Link",
    "NativeSelect",
    "Portal",
    "SimpleGrid",
    "Skeleton",
    "Stack",
    "Stat",
    "Table",
    "Tabs",
    "Text",
    "VisuallyHidden",
  ],
  ReactRouterDOM: ["Link", "useNavigate", "useParams", "useSearchParams"],
};

/* Airflow calls its plugins' interface experimental: what it lacks is named instead of an empty page. */
const missing = Object.entries(NEEDED).flatMap(([library, names]) =>
  names.filter((name) => !globalThis[library]?.[name]).map((name) => `${library}.${name}`),
);

async function load() {
  if (missing.length === 0) return (await import("./pages.js")).Page;
  const { tooOld } = await import("./too_old.js");
  return () => tooOld(missing);
}

const Page = await load();
globalThis["Campaigns"] = Page; // Airflow takes the component that bears the react app's name
globalThis.AirflowPlugin = Page;
