// Pages as companies write them in React. What the tests read of a page has an id.

import { lazy, Suspense, useEffect, useState } from "react";

const OWN = "415-555-2671";
const LINK = "tel:+14155552671";

export function useTick() {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((before) => before + 1), 200);
    return () => clearInterval(timer);
  }, []);
  return tick;
}

// The number in every place that React treats in its own way.
function Shop() {
  const [count, setCount] = useState(0);
  const tick = useTick();
  const towns = count % 2 ? ["reno", "boise", "ogden"] : ["ogden", "boise", "reno"];
  return (
    <main>
      <h1>Shop</h1>
      <p id="plain">{OWN}</p>
      <p id="adjacent">
        Call {OWN} or <b>write</b>
      </p>
      <p id="nested">
        <span>
          <strong>{OWN}</strong>
        </span>
      </p>
      <a id="link" href={LINK}>
        {OWN}
      </a>
      <p id="chosen" className="phone">
        {"Call us"}
      </p>
      <p id="ticking">{`Offer ${tick}: ${OWN}`}</p>
      <p id="again" key={tick}>
        {OWN}
      </p>
      <p id="counting">
        {count} people called {OWN}
      </p>
      <ul>
        {towns.map((town) => (
          <li key={town} id={town}>
            {town}: {OWN}
          </li>
        ))}
      </ul>
      <button onClick={() => setCount(count + 1)}>{`Clicked ${count}`}</button>
      <output id="ticks">{tick}</output>
    </main>
  );
}

// In the browser the code of such a part arrives when the test says so.
function late(content) {
  return lazy(() => (globalThis.panelArrives || Promise.resolve()).then(() => ({ default: content })));
}

const Panel = late(PanelContent);

function PanelContent() {
  useEffect(() => {
    window.panelHydrated = true;
  }, []);
  return <p id="inside">{OWN}</p>;
}

function Boundary() {
  return (
    <main>
      <p id="outside">{OWN}</p>
      <Suspense fallback={<p>Loading</p>}>
        <Panel />
      </Suspense>
    </main>
  );
}

// Text of a content management system, which React does not look into.
function Article() {
  return (
    <main>
      <p id="plain">{OWN}</p>
      <article id="raw" dangerouslySetInnerHTML={{ __html: `<p>Call <b>${OWN}</b></p>` }} />
    </main>
  );
}

// Long enough that React hydrates it in several slices, between which other scripts run.
function Line({ index }) {
  const until = performance.now() + 2;
  while (globalThis.document && performance.now() < until);
  return <li id={`line${index}`}>{OWN}</li>;
}

function Long() {
  const [count, setCount] = useState(0);
  useEffect(() => {
    window.panelHydrated = true;
  }, []);
  return (
    <section>
      <ol>
        {Array.from({ length: 60 }, (_, index) => (
          <Line key={index} index={index} />
        ))}
      </ol>
      <button onClick={() => setCount(count + 1)}>{`Clicked ${count}`}</button>
    </section>
  );
}

const LateLong = late(Long);

function LongBoundary() {
  return (
    <main>
      <p id="outside">{OWN}</p>
      <Suspense fallback={<p>Loading</p>}>
        <LateLong />
      </Suspense>
    </main>
  );
}

function usePath() {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const moved = () => setPath(location.pathname);
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  return [
    path,
    (to) => {
      history.pushState({}, "", to);
      setPath(to);
    },
  ];
}

// Without a server: routes that unmount and mount.
function Routes() {
  const [path, go] = usePath();
  return (
    <main>
      <nav>
        <button id="to-contact" onClick={() => go("/contact")}>
          Contact
        </button>{" "}
        <button id="to-home" onClick={() => go("/")}>
          Home
        </button>
      </nav>
      {path === "/contact" ? <Contact /> : <p id="home">Call {OWN}</p>}
    </main>
  );
}

function Contact() {
  const tick = useTick();
  return (
    <section>
      <p id="contact" key={tick}>
        {OWN}
      </p>
      <a id="call" href={LINK}>
        Call {OWN}
      </a>
      <output id="ticks">{tick}</output>
    </section>
  );
}

export const pages = {
  shop: Shop,
  boundary: Boundary,
  article: Article,
  long: () => (
    <main>
      <Long />
    </main>
  ),
  longBoundary: LongBoundary,
  routes: Routes,
};
export const serverRendered = ["shop", "boundary", "article", "long", "longBoundary"];
