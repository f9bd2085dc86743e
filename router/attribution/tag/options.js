// Options of the page: attributes of the script element (data-scenarios="14,13"), else the query of its address (?scenarios=14,13), else
// page variables, because tag managers drop attributes: window.routerTag = {scenarios: [14, 13]}, or the old roistatCalltrackingScripts.
//   scenarios    ids of the scenarios that this page is limited to
//   measurement  the GA4 measurement id, when a page has several

const ownScript = document.currentScript || document.querySelector('script[src*="/tag/' + settings.key + '.js"]');
const pageOptions = Object(window.routerTag);

function option(name) {
  return ownScript?.getAttribute("data-" + name) || queryValue(String(ownScript?.src), name) || pageOptions[name];
}

function queryValue(address, name) {
  return new URLSearchParams(address.split("#")[0].split("?")[1]).get(name);
}

// The scenarios that this page is limited to; undefined: all of them.
function chosenScenarios() {
  const chosen = option("scenarios") || window.roistatCalltrackingScripts;
  if (!chosen) return undefined;
  return [].concat(chosen).join().split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0).slice(0, 100);
}
