// Puts the page of series and documents together.

import { pressOnce } from "../held_keys.js";
import { isReadOnly } from "../mode.js";
import { mountCount, mountOverride } from "./by_hand.js";
import { mountEditor } from "./editor.js";
import { fillSelects } from "./fields.js";
import { mountImport } from "./import.js";
import { mountLookup } from "./lookup.js";
import { mountReservations } from "./reservations.js";
import { mountReserve } from "./reserve.js";
import { mountSeries } from "./series.js";
import { Shelf } from "./shelf.js";

const shelf = new Shelf();
shelf.on("templates", fillSelects); // before the panels that look at what is chosen

const lookUp = mountLookup(shelf);
const reserve = isReadOnly ? null : mountReserve(shelf);
const adjust = isReadOnly ? null : mountCount(shelf);
const { edit, create } = mountEditor(shelf);
mountReservations(shelf, lookUp);
if (!isReadOnly) {
  mountOverride(shelf, lookUp);
  mountImport(shelf);
}
mountSeries(shelf, { edit, create, reserve, adjust });
pressOnce();
shelf.start();
