// The pages of react-pages.jsx as companies write them in Vue.

import { defineAsyncComponent, onMounted, onUnmounted, ref } from "vue";

const own = "415-555-2671";
const link = "tel:+14155552671";

function useTick() {
  const tick = ref(0);
  let timer;
  onMounted(() => {
    timer = setInterval(() => {
      tick.value++;
    }, 200);
  });
  onUnmounted(() => clearInterval(timer));
  return tick;
}

const shop = {
  setup() {
    const count = ref(0);
    return { own, link, tick: useTick(), count };
  },
  computed: {
    towns() {
      return this.count % 2 ? ["reno", "boise", "ogden"] : ["ogden", "boise", "reno"];
    },
  },
  template: `
    <main>
      <h1>Shop</h1>
      <p id="plain">{{ own }}</p>
      <p id="adjacent">Call {{ own }} or <b>write</b></p>
      <p id="nested"><span><strong>415-555-2671</strong></span></p>
      <a id="link" :href="link">{{ own }}</a>
      <p id="chosen" class="phone">Call us</p>
      <p id="ticking">Offer {{ tick }}: {{ own }}</p>
      <p id="again" :key="tick">{{ own }}</p>
      <p id="counting">{{ count }} people called {{ own }}</p>
      <ul><li v-for="town in towns" :key="town" :id="town">{{ town }}: {{ own }}</li></ul>
      <button @click="count++">Clicked {{ count }}</button>
      <output id="ticks">{{ tick }}</output>
    </main>`,
};

const panel = {
  setup() {
    onMounted(() => {
      window.panelHydrated = true;
    });
    return { own };
  },
  template: `<p id="inside">{{ own }}</p>`,
};

// In the browser the panel's code arrives when the test says so.
const boundary = {
  components: { Panel: defineAsyncComponent(() => (globalThis.panelArrives || Promise.resolve()).then(() => panel)) },
  setup: () => ({ own }),
  template: `<main><p id="outside">{{ own }}</p><Panel /></main>`,
};

const article = {
  setup: () => ({ own, html: `<p>Call <b>${own}</b></p>` }),
  template: `<main><p id="plain">{{ own }}</p><article id="raw" v-html="html"></article></main>`,
};

const contact = {
  setup: () => ({ own, link, tick: useTick() }),
  template: `<section><p id="contact" :key="tick">{{ own }}</p><a id="call" :href="link">Call {{ own }}</a><output id="ticks">{{ tick }}</output></section>`,
};

const routes = {
  components: { Contact: contact },
  setup() {
    const path = ref(location.pathname);
    addEventListener("popstate", () => {
      path.value = location.pathname;
    });
    const go = (to) => {
      history.pushState({}, "", to);
      path.value = to;
    };
    return { own, path, go };
  },
  template: `
    <main>
      <nav><button id="to-contact" @click="go('/contact')">Contact</button> <button id="to-home" @click="go('/')">Home</button></nav>
      <Contact v-if="path === '/contact'" /><p v-else id="home">Call {{ own }}</p>
    </main>`,
};

export const pages = { shop, boundary, article, routes };
export const serverRendered = ["shop", "boundary", "article"];
