// Options of the page: attributes of the script element, else the query of its address, else page variables (tag managers drop attributes).

const ownScript = document.currentScript || document.querySelector('script[src*="/tag/' + settings.key + '.js"]');
const pageOptions = Object(window.routerTag);

function option(name) {
  const attribute = ownScript && ownScript.getAttribute("data-" + name);
  return attribute || queryValue(String(ownScript && ownScript.src), name) || pageOptions[name];
}

function queryValue(address, name) {
  const query = address.split("#")[0].split("?")[1];
  return new URLSearchParams(query || "").get(name);
}

// The scenarios that this page is limited to; undefined: all of them.
function chosenScenarios() {
  const chosen = option("scenarios") || window.roistatCalltrackingScripts;
  if (chosen === undefined || chosen === null || chosen === "") return undefined;
  return [].concat(chosen).join().split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0);
}
