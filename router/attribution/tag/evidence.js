// What tells where a visit came from. The server reads UTM out of the page's address.

const CLICK_IDS = ["gclid", "gbraid", "wbraid", "yclid", "msclkid", "fbclid", "ttclid"];

function pageAddress() {
  return location.href.split("#")[0];
}

function clickIds(page) {
  const found = {};
  CLICK_IDS.forEach((name) => {
    const value = queryValue(page, name);
    if (value) found[name] = value;
  });
  return Object.keys(found)[0] && found;
}
