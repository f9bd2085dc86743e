// Starts a page: <script src="/react-production.js" data-page="shop" data-root="#root" data-start="">. The start is "" (at once), a number
// of milliseconds after DOMContentLoaded, "asked" (when somebody calls window.begin), "transition" or "asked transition" (in slices, as
// Next.js does), or "client" (nothing was rendered by a server).

import { startTransition, useLayoutEffect } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { pages } from "./react-pages.jsx";

const { page, root, start } = document.currentScript.dataset;

function Announced({ children }) {
  useLayoutEffect(() => {
    window.hydrated = true;
  }, []);
  return children;
}

function begin() {
  const Page = pages[page];
  const content = (
    <Announced>
      <Page />
    </Announced>
  );
  const container = document.querySelector(root);
  if (start === "client") createRoot(container).render(content);
  else if (start.endsWith("transition"))
    startTransition(() => {
      hydrateRoot(container, content);
    });
  else hydrateRoot(container, content);
}

if (start.startsWith("asked")) window.begin = begin;
else if (Number(start)) addEventListener("DOMContentLoaded", () => setTimeout(begin, Number(start)));
else begin();
