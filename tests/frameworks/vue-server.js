// What Vue's server makes of each page.

import { renderToString } from "@vue/server-renderer";
import { createSSRApp } from "vue";
import { pages, serverRendered } from "./vue-pages.js";

export async function rendered() {
  return Object.fromEntries(
    await Promise.all(serverRendered.map(async (name) => [name, await renderToString(createSSRApp(pages[name]))])),
  );
}
