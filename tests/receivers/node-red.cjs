// Node-RED with one flow: http-in, which always parses JSON; a function that checks the signature of what JSON.stringify makes of it; and
// the answer.

const { Webhook } = require("standardwebhooks");

module.exports = {
  uiHost: "127.0.0.1",
  httpAdminRoot: false,
  functionGlobalContext: { verifier: new Webhook(process.env.WEBHOOK_SECRET) },
  logging: { console: { level: "warn" } },
  editorTheme: { projects: { enabled: false } },
  telemetry: { enabled: false, updateNotification: false },
  externalModules: { autoInstall: false },
};
