// Options of the page: page variables, window.routerTag = {scenarios: [14, 13]}, which also tag managers leave alone; else attributes of the
// script element (data-scenarios="14,13"), else the query of its address (?scenarios=14,13); or the old roistatCalltrackingScripts.
//   scenarios    ids of the scenarios that this page is limited to
//   measurement  the GA4 measurement id, when a page has several
//   consent      none, limited or full: what the visitor has chosen already
//   params       (page variable only) own fields of the visit
//   ready        (page variable only) called back when the numbers are there

const ownScript = document.currentScript || document.querySelector('script[src*="/tag/' + settings.key + '.js"]');
const pageOptions = Object(window.routerTag);

const attempt = (action) => {
  try {
    return action();
  } catch (refused) {}
};

const safely = (action) => (event) => attempt(() => action(event));

const option = (name) => pageOptions[name] || ownScript?.dataset[name] || queryValue(ownScript?.src, name);

const queryValue = (address, name) => new URL(address, location).searchParams.get(name);

// The scenarios that this page is limited to; undefined: all of them.
const chosenScenarios = () => {
  const chosen = option("scenarios") || window.roistatCalltrackingScripts;
  return chosen && ((chosen + "").match(/\d+/g) || []).map(Number);
};
