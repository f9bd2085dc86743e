// What changes while the page lives.

let consent; // none, limited or full
let visit; // as the server answered it
let view; // the page view that is told
let first; // the first one of this page
let page; // its address now
let resumed; // its visit began on an earlier page, a minute ago at most
let told = {}; // what the server knows, as JSON by name
let asking; // a page view is not answered yet
let failures = 0;
let confirmedAt, beatAt;
let timer, holdTimer, lookTimer;
let calm = 0; // about the seconds since the page was loaded
let late; // the page has had its time to render
let marked; // its HTML came from a framework
let turn = Promise.resolve(); // of requests
let waiting = []; // who wants to be called back
let withdrawn;
let shown = []; // the numbers on the page
let rules; // what looks like a number, and what is none of ours: {number, never, before, after, inline, other}
let observer,
  writes = 0,
  pause; // of changes of the page
let wrote, held, woken; // during one pass
let gtagAsked;
