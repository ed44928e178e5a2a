// Puts the page of series and documents together.

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
const reserve = mountReserve(shelf);
const adjust = mountCount(shelf);
const { edit, create } = mountEditor(shelf);
mountReservations(shelf, lookUp);
mountOverride(shelf, lookUp);
mountImport(shelf);
mountSeries(shelf, { edit, create, reserve, adjust });
shelf.start();
