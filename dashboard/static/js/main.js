// Puts the page together: one feed, and the panels that read from it.

import { mountCharts } from "./charts.js";
import { mountCluster } from "./cluster.js";
import { mountDemonstrations } from "./demonstrations.js";
import { mountEntries } from "./entries.js";
import { Feed } from "./feed.js";
import { mountGaps } from "./gaps.js";
import { pressOnce } from "./held_keys.js";
import { History } from "./history.js";
import { mountIssuing, showMatrix } from "./matrix.js";
import { isReadOnly } from "./mode.js";
import { mountRelease } from "./release.js";
import { mountReleaseMany } from "./release_many.js";
import { mountRibbon } from "./ribbon.js";
import { mountStrip } from "./strip.js";

const feed = new Feed();
const history = new History(feed); // before the panels that show its result

const release = isReadOnly ? null : mountRelease(feed);
mountStrip(feed, history);
mountRibbon(feed);
showMatrix(feed);
if (!isReadOnly) mountIssuing(feed, release, mountReleaseMany(feed));
mountEntries(feed, release);
mountGaps(feed);
mountCharts(feed, history);
mountDemonstrations(feed);
mountCluster(feed);
pressOnce();
feed.start();
