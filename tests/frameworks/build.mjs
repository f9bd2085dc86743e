// node build.mjs FOLDER: the pages' scripts for the browser, in production and development builds, and pages.json, what a server would
// have rendered of each page: {"react": {"shop": "<main>…"}, "vue": {…}}.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

const folder = process.argv[2];

const shared = {
  absWorkingDir: import.meta.dirname,
  bundle: true,
  jsx: "automatic",
  logLevel: "error",
  alias: { vue: "vue/dist/vue.esm-bundler.js" }, // compiles the templates, as a build of a real site does
};

function mode(name) {
  return {
    minify: name === "production",
    define: {
      "process.env.NODE_ENV": JSON.stringify(name),
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
  };
}

function forBrowsers(framework, name) {
  return build({
    ...shared,
    ...mode(name),
    entryPoints: [`${framework}-client.js${framework === "react" ? "x" : ""}`],
    outfile: join(folder, `${framework}-${name}.js`),
  });
}

async function rendered(framework) {
  const outfile = join(folder, `${framework}-server.mjs`);
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" };
  await build({
    ...shared,
    ...mode("production"),
    entryPoints: [`${framework}-server.js${framework === "react" ? "x" : ""}`],
    outfile,
    banner,
    platform: "node",
    format: "esm",
  });
  return (await import(pathToFileURL(outfile))).rendered();
}

const [react, vue] = await Promise.all([
  rendered("react"),
  rendered("vue"),
  ...["react", "vue"].flatMap((framework) => ["production", "development"].map((name) => forBrowsers(framework, name))),
]);
await writeFile(join(folder, "pages.json"), JSON.stringify({ react, vue }));
