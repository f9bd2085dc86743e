// What React's server makes of each page.

import { renderToReadableStream } from "react-dom/server.edge";
import { pages, serverRendered } from "./react-pages.jsx";

async function render(name) {
  const Page = pages[name];
  const stream = await renderToReadableStream(<Page />);
  await stream.allReady;
  return [name, await new Response(stream).text()];
}

export async function rendered() {
  return Object.fromEntries(await Promise.all(serverRendered.map(render)));
}
