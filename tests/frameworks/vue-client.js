// Starts a page, as react-client.jsx does.

import { createApp, createSSRApp } from "vue";
import { pages } from "./vue-pages.js";

const { page, root, start } = document.currentScript.dataset;

function begin() {
  const app = (start === "client" ? createApp : createSSRApp)(pages[page]);
  app.mount(root);
  window.hydrated = true;
}

if (start === "asked") window.begin = begin;
else if (Number(start)) addEventListener("DOMContentLoaded", () => setTimeout(begin, Number(start)));
else begin();
