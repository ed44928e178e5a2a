// The four demonstrations. One at a time: each checks the sequence as it leaves it.

import { offerCurl } from "./curl.js";
import { findAgain, Follower, isOver, startOf } from "./jobs.js";
import { awayNotice, jobView } from "./job_view.js";
import { isReadOnly } from "./mode.js";
import { mountBreaking } from "./breaking.js";
import { showProblem } from "./problems.js";

export function mountDemonstrations(feed) {
  const forms = new Map();
  for (const form of document.querySelectorAll("[data-demo]")) forms.set(form.dataset.demo, form);
  if (!forms.size) return; // this profile runs none
  const nodes = otherNodes(feed);
  const follow = mountForms(feed, forms, nodes);
  const followFailover = mountBreaking(feed, nodes);
  void findAgain().then((jobs) => {
    for (const job of jobs.reverse()) (job.name === "failover" ? followFailover : follow)(job);
  });
}

function mountForms(feed, forms, nodes) {
  const buttons = [...forms.values()].flatMap((form) => [...form.querySelectorAll("[type=submit]")]);
  const disable = (disabled) => buttons.forEach((button) => (button.disabled = disabled));
  const notice = awayNotice(document.getElementById("demo-away"), nodes);
  let update;
  let shown;
  const show = (job) => {
    const form = forms.get(job.name);
    if (!form) return;
    if (shown !== job.id) {
      shown = job.id;
      update = jobView(form.querySelector(".outcome"));
    }
    update(job);
    disable(!isOver(job));
    if (isOver(job)) feed.poke();
  };
  const follower = new Follower(show, (problem, id) => {
    notice(problem, id);
    if (problem?.status === 404) disable(false);
  });
  for (const [name, form] of isReadOnly ? [] : forms) {
    const describe = () => (form.reportValidity() ? startOf(name, numbersIn(form)) : null);
    offerCurl(form.querySelector("[data-curl]"), describe, `demonstration ${name}`);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (buttons[0].disabled) return;
      disable(true);
      form.querySelector(".problems").replaceChildren();
      try {
        await follower.start(name, numbersIn(form));
      } catch (problem) {
        disable(false);
        showProblem(form.querySelector(".problems"), problem);
      }
    });
  }
  return (job) => {
    show(job);
    if (!isOver(job)) follower.follow(job.id);
  };
}

const numbersIn = (form) =>
  Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, Number(value)]));

/** Returns a function that gives the other nodes, as they were when this one last told. */
function otherNodes(feed) {
  const own = document.getElementById("nodes").dataset.node;
  let known = [];
  feed.on("cluster", ({ nodes }) => {
    known = (nodes ?? []).filter((node) => node.nodeId !== own && /^https?:\/\//.test(node.url));
  });
  return () => known;
}
